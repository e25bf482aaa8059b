#include "tests/support/fault_store.h"

namespace sqlite_s3 {
namespace {

constexpr StoreOp kAllOps[] = {StoreOp::kPut,    StoreOp::kPutIfAbsent, StoreOp::kPutIfMatch,
                               StoreOp::kGet,    StoreOp::kHead,        StoreOp::kList,
                               StoreOp::kDelete, StoreOp::kDeleteMany};

}  // namespace

FaultStore::FaultStore(std::shared_ptr<ObjectStore> inner) : inner_(std::move(inner)) {}

void FaultStore::FailCall(StoreOp op, int n, StatusCode code, FaultWhen when) {
  std::lock_guard lock(mutex_);
  at_call_.insert_or_assign({op, counts_[op] + n}, Fault{code, when});
}

void FaultStore::FailAll(StoreOp op, StatusCode code, FaultWhen when) {
  std::lock_guard lock(mutex_);
  always_.insert_or_assign(op, Fault{code, when});
}

void FaultStore::FailEverything(StatusCode code, FaultWhen when) {
  for (StoreOp op : kAllOps) {
    FailAll(op, code, when);
  }
}

void FaultStore::Heal() {
  std::lock_guard lock(mutex_);
  at_call_.clear();
  always_.clear();
}

void FaultStore::SetHook(Hook hook) {
  std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

void FaultStore::SetConditionalPut(bool supported) {
  std::lock_guard lock(mutex_);
  conditional_put_ = supported;
}

bool FaultStore::SupportsConditionalPut() const {
  std::lock_guard lock(mutex_);
  return conditional_put_ ? *conditional_put_ : inner_->SupportsConditionalPut();
}

void FaultStore::Block(std::optional<StoreOp> op) {
  std::lock_guard lock(mutex_);
  block_all_ = !op.has_value();
  blocked_op_ = op;
}

void FaultStore::Release() {
  std::lock_guard lock(mutex_);
  block_all_ = false;
  blocked_op_.reset();
  changed_.notify_all();
}

void FaultStore::WaitUntilBlocked(int n) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return blocked_ >= n; });
}

int FaultStore::Count(StoreOp op) const {
  std::lock_guard lock(mutex_);
  auto it = counts_.find(op);
  return it == counts_.end() ? 0 : it->second;
}

int FaultStore::TotalCount() const {
  int total = 0;
  for (StoreOp op : kAllOps) {
    total += Count(op);
  }
  return total;
}

void FaultStore::ResetCounts() {
  std::lock_guard lock(mutex_);
  // Pending faults keep their distance.
  std::map<std::pair<StoreOp, int>, Fault> moved;
  for (const auto& [call, fault] : at_call_) {
    moved.insert({{call.first, call.second - counts_[call.first]}, fault});
  }
  at_call_ = std::move(moved);
  counts_.clear();
}

template <typename F>
auto FaultStore::Run(StoreOp op, std::string_view key, F call) -> decltype(call()) {
  std::optional<Fault> fault;
  Hook hook;
  int n = 0;
  {
    std::unique_lock lock(mutex_);
    n = ++counts_[op];
    if (auto it = at_call_.find({op, n}); it != at_call_.end()) {
      fault = it->second;
      at_call_.erase(it);
    }
    hook = hook_;
    if (IsBlocked(op)) {
      ++blocked_;
      changed_.notify_all();
      changed_.wait(lock, [&] { return !IsBlocked(op); });
      --blocked_;
    }
    // Looked up after blocking: a test may change its mind meanwhile.
    if (auto it = always_.find(op); !fault && it != always_.end()) {
      fault = it->second;
    }
    changed_.notify_all();
  }
  if (hook) {
    RETURN_IF_ERROR(hook(op, key, n));
  }
  Status injected = fault ? Status(fault->code, "injected into call " + std::to_string(n) +
                                                    " for " + std::string(key))
                          : Status();
  if (!injected.ok() && fault->when == FaultWhen::kBeforeEffect) {
    return injected;
  }
  auto result = call();
  if (!injected.ok()) {
    return injected;
  }
  return result;
}

Result<PutResult> FaultStore::Put(std::string_view key, ByteSpan body) {
  return Run(StoreOp::kPut, key, [&] { return inner_->Put(key, body); });
}

Result<PutResult> FaultStore::PutIfAbsent(std::string_view key, ByteSpan body) {
  return Run(StoreOp::kPutIfAbsent, key, [&] { return inner_->PutIfAbsent(key, body); });
}

Result<PutResult> FaultStore::PutIfMatch(std::string_view key, ByteSpan body,
                                         std::string_view etag) {
  return Run(StoreOp::kPutIfMatch, key, [&] { return inner_->PutIfMatch(key, body, etag); });
}

Result<Bytes> FaultStore::Get(std::string_view key, uint64_t max_bytes,
                              std::optional<ByteRange> range) {
  return Run(StoreOp::kGet, key, [&] { return inner_->Get(key, max_bytes, range); });
}

Result<ObjectInfo> FaultStore::Head(std::string_view key) {
  return Run(StoreOp::kHead, key, [&] { return inner_->Head(key); });
}

Result<std::vector<ObjectInfo>> FaultStore::List(std::string_view prefix,
                                                 std::string_view start_after, int max_keys) {
  return Run(StoreOp::kList, prefix, [&] { return inner_->List(prefix, start_after, max_keys); });
}

Status FaultStore::Delete(std::string_view key) {
  return Run(StoreOp::kDelete, key, [&] { return inner_->Delete(key); });
}

Result<std::vector<DeleteFailure>> FaultStore::DeleteMany(std::span<const std::string> keys) {
  return Run(StoreOp::kDeleteMany, keys.empty() ? std::string_view() : keys.front(),
             [&] { return inner_->DeleteMany(keys); });
}

}  // namespace sqlite_s3

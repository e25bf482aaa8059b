#include "common/store/throttled_store.h"

#include <algorithm>
#include <utility>

#include "common/base/cancellation.h"

namespace sqlite_s3 {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr milliseconds kLongestWait{100};  // between two looks whether to go on

thread_local PaidScope* innermost = nullptr;

}  // namespace

PaidScope::PaidScope(Throttle::Turn& turn) : turn_(&turn), outer_(innermost) { innermost = this; }

PaidScope::~PaidScope() { innermost = outer_; }

Throttle::Turn* PaidScope::Take() {
  return innermost == nullptr ? nullptr : std::exchange(innermost->turn_, nullptr);
}

ThrottledStore::ThrottledStore(std::shared_ptr<ObjectStore> inner,
                               std::shared_ptr<Throttle> throttle, RetryWaiter waiter,
                               std::function<void()> count)
    : inner_(std::move(inner)),
      throttle_(std::move(throttle)),
      waiter_(std::move(waiter)),
      count_(std::move(count)) {}

Status ThrottledStore::AwaitTurn(uint64_t bytes) {
  Throttle::Turn turn(*throttle_, RequestKind::kLog, bytes);
  for (microseconds wait = turn.Ask(); wait.count() > 0; wait = turn.Ask()) {
    const auto rounded = std::chrono::ceil<milliseconds>(wait);
    if (CancelScope::Cancelled() || !waiter_(std::min(rounded, kLongestWait))) {
      return CancelledError("cancelled while it waited for its turn under the rate limits");
    }
  }
  turn.Use(bytes);
  return Status::Ok();
}

Status ThrottledStore::BeforePut(ByteSpan body) {
  if (Throttle::Turn* paid = PaidScope::Take()) {
    paid->Use(body.size());
  } else {
    RETURN_IF_ERROR(AwaitTurn(body.size()));
  }
  if (count_) {
    count_();
  }
  return Status::Ok();
}

Result<PutResult> ThrottledStore::Put(std::string_view key, ByteSpan body) {
  RETURN_IF_ERROR(BeforePut(body));
  return inner_->Put(key, body);
}

Result<PutResult> ThrottledStore::PutIfAbsent(std::string_view key, ByteSpan body) {
  RETURN_IF_ERROR(BeforePut(body));
  return inner_->PutIfAbsent(key, body);
}

Result<PutResult> ThrottledStore::PutIfMatch(std::string_view key, ByteSpan body,
                                             std::string_view etag) {
  RETURN_IF_ERROR(BeforePut(body));
  return inner_->PutIfMatch(key, body, etag);
}

Result<Bytes> ThrottledStore::Get(std::string_view key, uint64_t max_bytes,
                                  std::optional<ByteRange> range) {
  RETURN_IF_ERROR(AwaitTurn(0));
  return inner_->Get(key, max_bytes, range);
}

Result<ObjectInfo> ThrottledStore::Head(std::string_view key) {
  RETURN_IF_ERROR(AwaitTurn(0));
  return inner_->Head(key);
}

Result<std::vector<ObjectInfo>> ThrottledStore::List(std::string_view prefix,
                                                     std::string_view start_after, int max_keys) {
  RETURN_IF_ERROR(AwaitTurn(0));
  if (count_) {
    count_();
  }
  return inner_->List(prefix, start_after, max_keys);
}

Status ThrottledStore::Delete(std::string_view key) {
  RETURN_IF_ERROR(AwaitTurn(0));
  return inner_->Delete(key);
}

Result<std::vector<DeleteFailure>> ThrottledStore::DeleteMany(std::span<const std::string> keys) {
  RETURN_IF_ERROR(AwaitTurn(0));
  return inner_->DeleteMany(keys);
}

}  // namespace sqlite_s3

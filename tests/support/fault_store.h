#pragma once
// FaultStore: an ObjectStore that fails, blocks and counts as a test wants it.

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "common/store/object_store.h"

namespace sqlite_s3 {

enum class StoreOp {
  kPut,
  kPutIfAbsent,
  kPutIfMatch,
  kGet,
  kHead,
  kList,
  kDelete,
  kDeleteMany,
};

enum class FaultWhen {
  kBeforeEffect,  // the inner store is not called
  kAfterEffect,   // the inner store does it, and its answer is lost
};

// Thread-safe. Calls are counted from 1, per operation, from construction or ResetCounts.
class FaultStore : public ObjectStore {
 public:
  // Runs before a call, on the calling thread, without locks held: it may use the store. A status
  // that is not OK fails the call before its effect.
  using Hook = std::function<Status(StoreOp op, std::string_view key, int n)>;

  explicit FaultStore(std::shared_ptr<ObjectStore> inner);

  // The n-th call of `op` from now on (1 = the next) fails. Several may be pending.
  void FailCall(StoreOp op, int n, StatusCode code, FaultWhen when = FaultWhen::kBeforeEffect);
  // Every call of `op` fails, or every call at all, until Heal.
  void FailAll(StoreOp op, StatusCode code, FaultWhen when = FaultWhen::kBeforeEffect);
  void FailEverything(StatusCode code, FaultWhen when = FaultWhen::kBeforeEffect);
  // Forgets every fault. Does not release what is blocked.
  void Heal();

  void SetHook(Hook hook);
  // Overrides SupportsConditionalPut().
  void SetConditionalPut(bool supported);

  // From now on calls (of `op`, or all) wait before they do anything, until Release.
  void Block(std::optional<StoreOp> op = std::nullopt);
  void Release();
  // Waits until at least n calls are blocked.
  void WaitUntilBlocked(int n = 1);

  // Calls begun, blocked and failed ones included.
  int Count(StoreOp op) const;
  int TotalCount() const;
  void ResetCounts();

  std::string Describe() const override { return inner_->Describe(); }
  bool SupportsConditionalPut() const override;
  Result<PutResult> Put(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfAbsent(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfMatch(std::string_view key, ByteSpan body, std::string_view etag) override;
  Result<Bytes> Get(std::string_view key, uint64_t max_bytes,
                    std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(std::string_view key) override;
  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       int max_keys) override;
  Status Delete(std::string_view key) override;
  // Hooks are given the first key.
  Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) override;

 private:
  struct Fault {
    StatusCode code;
    FaultWhen when;
  };
  template <typename F>
  auto Run(StoreOp op, std::string_view key, F call) -> decltype(call());
  bool IsBlocked(StoreOp op) const { return block_all_ || blocked_op_ == op; }

  const std::shared_ptr<ObjectStore> inner_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // All guarded by mutex_.
  std::map<StoreOp, int> counts_;
  std::map<std::pair<StoreOp, int>, Fault> at_call_;
  std::map<StoreOp, Fault> always_;
  Hook hook_;
  std::optional<bool> conditional_put_;
  bool block_all_ = false;
  std::optional<StoreOp> blocked_op_;
  int blocked_ = 0;
};

}  // namespace sqlite_s3

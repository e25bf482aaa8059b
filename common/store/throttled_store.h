#pragma once
// ThrottledStore: an ObjectStore under a Throttle. Requests wait on the caller's thread for their
// turn, unless a PaidScope says that they have it.

#include <functional>
#include <memory>

#include "common/store/object_store.h"
#include "common/store/rate_limiter.h"
#include "common/store/retrying_store.h"

namespace sqlite_s3 {

// While it lives, the first request of this thread to a ThrottledStore that sends an object uses
// this turn, which Ask has said 0 of: for callers that wait without a thread. Scopes nest.
class PaidScope {
 public:
  explicit PaidScope(Throttle::Turn& turn);
  ~PaidScope();
  PaidScope(const PaidScope&) = delete;
  PaidScope& operator=(const PaidScope&) = delete;

  // Null when there is none, or it was used.
  static Throttle::Turn* Take();

 private:
  Throttle::Turn* turn_;
  PaidScope* const outer_;
};

// Below the retries: each try takes its turn. A wait ends with kCancelled, and nothing was sent,
// when the waiter says so or the thread's CancelScope (common/base/cancellation.h) does, which is
// asked ten times a second. Thread-safe if the inner store and the waiter are.
class ThrottledStore : public ObjectStore {
 public:
  // `count`, which may be empty, is called before each request that a store charges as a PUT: all
  // kinds of Put, and List.
  ThrottledStore(std::shared_ptr<ObjectStore> inner, std::shared_ptr<Throttle> throttle,
                 RetryWaiter waiter, std::function<void()> count = {});

  std::string Describe() const override { return inner_->Describe(); }
  bool SupportsConditionalPut() const override { return inner_->SupportsConditionalPut(); }
  Result<PutResult> Put(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfAbsent(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfMatch(std::string_view key, ByteSpan body, std::string_view etag) override;
  Result<Bytes> Get(std::string_view key, uint64_t max_bytes,
                    std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(std::string_view key) override;
  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       int max_keys) override;
  Status Delete(std::string_view key) override;
  Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) override;

 private:
  Status AwaitTurn(uint64_t bytes);
  Status BeforePut(ByteSpan body);

  const std::shared_ptr<ObjectStore> inner_;
  const std::shared_ptr<Throttle> throttle_;
  const RetryWaiter waiter_;
  const std::function<void()> count_;
};

}  // namespace sqlite_s3

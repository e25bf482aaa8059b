#pragma once
// RetryingStore: the only place that repeats requests.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <random>

#include "common/base/clock.h"
#include "common/store/object_store.h"

namespace sqlite_s3 {

struct RetryPolicy {
  // The wait before the n-th retry is random within [0, min(max, initial * 2^(n-1))]: full jitter,
  // so that many agents do not come back in step after an outage.
  std::chrono::milliseconds initial{100};
  std::chrono::milliseconds max{10'000};
  // Of one call, from its start: no try begins after it. 0 = no retries.
  std::chrono::milliseconds deadline{60'000};
};

// Waits for the time given; false = stop now (shutting down). Called on the caller's thread,
// possibly by several at once.
using RetryWaiter = std::function<bool(std::chrono::milliseconds)>;

// Requests sent to the inner store, every try counted.
struct RequestCounts {
  uint64_t puts = 0;  // of all kinds
  uint64_t gets = 0;
  uint64_t heads = 0;
  uint64_t lists = 0;
  uint64_t deletes = 0;  // of one object, or of many
  uint64_t retries = 0;  // of all the above, those that were not the first try
  uint64_t Total() const { return puts + gets + heads + lists + deletes; }
};

// Repeats a call while it says kUnavailable and the deadline allows; every other answer is handed
// on as it is. When time is over: kUnavailable, with how many tries there were. When the waiter
// says stop: kCancelled. PutIfAbsent is repeated too: after an answer that was lost, the retry
// finds the object of the first try and says kAlreadyExists, so the caller compares; PutIfMatch
// likewise, with kAborted. DeleteMany is repeated for the keys alone that may still go. Thread-safe
// if the inner store and the waiter are.
class RetryingStore : public ObjectStore {
 public:
  // `clock` must outlive the store; its monotonic time measures the deadline.
  RetryingStore(std::shared_ptr<ObjectStore> inner, RetryPolicy policy, RetryWaiter waiter,
                const Clock& clock = Clock::Real());

  RequestCounts counts() const;
  // Whether that is, with context perhaps, how the last call that failed ended: what comes from
  // elsewhere than from the store is told apart.
  bool HasSaid(const Status& status) const;

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
  template <typename F>
  auto Retry(std::atomic<uint64_t>& counter, F call) -> decltype(call());
  std::chrono::milliseconds Backoff(int retry);
  void NoteFailure(const Status& status);

  const std::shared_ptr<ObjectStore> inner_;
  const RetryPolicy policy_;
  const RetryWaiter waiter_;
  const Clock& clock_;
  mutable std::mutex mutex_;  // the next two
  std::minstd_rand random_;
  std::string last_failure_;
  std::atomic<uint64_t> puts_{0}, gets_{0}, heads_{0}, lists_{0}, deletes_{0}, retries_{0};
};

}  // namespace sqlite_s3

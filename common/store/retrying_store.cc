#include "common/store/retrying_store.h"

#include <algorithm>
#include <iterator>

#include "common/base/hash.h"

namespace sqlite_s3 {
namespace {

const Status& StatusOf(const Status& status) { return status; }
template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

}  // namespace

RetryingStore::RetryingStore(std::shared_ptr<ObjectStore> inner, RetryPolicy policy,
                             RetryWaiter waiter, const Clock& clock)
    : inner_(std::move(inner)), policy_(policy), waiter_(std::move(waiter)), clock_(clock) {
  uint8_t seed[4] = {1};
  (void)FillRandom(seed);  // jitter need not be secret, and without it all still works
  random_.seed(LoadLe32(seed));
}

RequestCounts RetryingStore::counts() const {
  return {puts_, gets_, heads_, lists_, deletes_, retries_};
}

std::chrono::milliseconds RetryingStore::Backoff(int retry) {
  int64_t bound_ms = std::max<int64_t>(policy_.initial.count(), 0);
  for (int i = 0; i < retry && bound_ms < policy_.max.count(); ++i) {
    bound_ms *= 2;
  }
  bound_ms = std::clamp<int64_t>(bound_ms, 0, std::max<int64_t>(policy_.max.count(), 0));
  std::lock_guard lock(mutex_);
  return std::chrono::milliseconds(std::uniform_int_distribution<int64_t>(0, bound_ms)(random_));
}

void RetryingStore::NoteFailure(const Status& status) {
  std::lock_guard lock(mutex_);
  last_failure_ = status.message();
}

bool RetryingStore::HasSaid(const Status& status) const {
  std::lock_guard lock(mutex_);
  return !last_failure_.empty() && status.message().find(last_failure_) != std::string::npos;
}

template <typename F>
auto RetryingStore::Retry(std::atomic<uint64_t>& counter, F call) -> decltype(call()) {
  const int64_t start_us = clock_.MonotonicMicros();
  int64_t waited_ms = 0;  // counts as well: a clock that stands still must not retry for ever
  for (int retry = 0;; ++retry) {
    ++counter;
    auto result = call();
    Status status = StatusOf(result);
    if (!status.ok()) {
      NoteFailure(status);
    }
    if (status.code() != StatusCode::kUnavailable) {
      return result;
    }
    int64_t elapsed_ms = (clock_.MonotonicMicros() - start_us) / 1000;
    int64_t left_ms = policy_.deadline.count() - std::max(elapsed_ms, waited_ms);
    auto wait = Backoff(retry);
    // A wait that would end beyond the deadline is not begun: the try after it is not allowed.
    if (left_ms <= 0 || wait.count() >= left_ms) {
      return status.WithContext("gave up after " + std::to_string(retry + 1) + " tries");
    }
    if (!waiter_(wait)) {
      return CancelledError("cancelled between tries: " + status.message());
    }
    waited_ms += wait.count();
    ++retries_;
  }
}

Result<PutResult> RetryingStore::Put(std::string_view key, ByteSpan body) {
  return Retry(puts_, [&] { return inner_->Put(key, body); });
}

Result<PutResult> RetryingStore::PutIfAbsent(std::string_view key, ByteSpan body) {
  return Retry(puts_, [&] { return inner_->PutIfAbsent(key, body); });
}

Result<PutResult> RetryingStore::PutIfMatch(std::string_view key, ByteSpan body,
                                            std::string_view etag) {
  return Retry(puts_, [&] { return inner_->PutIfMatch(key, body, etag); });
}

Result<Bytes> RetryingStore::Get(std::string_view key, uint64_t max_bytes,
                                 std::optional<ByteRange> range) {
  return Retry(gets_, [&] { return inner_->Get(key, max_bytes, range); });
}

Result<ObjectInfo> RetryingStore::Head(std::string_view key) {
  return Retry(heads_, [&] { return inner_->Head(key); });
}

Result<std::vector<ObjectInfo>> RetryingStore::List(std::string_view prefix,
                                                    std::string_view start_after, int max_keys) {
  return Retry(lists_, [&] { return inner_->List(prefix, start_after, max_keys); });
}

Status RetryingStore::Delete(std::string_view key) {
  return Retry(deletes_, [&] { return inner_->Delete(key); });
}

Result<std::vector<DeleteFailure>> RetryingStore::DeleteMany(std::span<const std::string> keys) {
  std::vector<std::string> left(keys.begin(), keys.end());
  std::vector<DeleteFailure> final_failures;  // of keys for which another try is of no use
  std::vector<DeleteFailure> unavailable;     // of the last try that had an answer
  auto done = Retry(deletes_, [&]() -> Status {
    ASSIGN_OR_RETURN(std::vector<DeleteFailure> failures, inner_->DeleteMany(left));
    left.clear();
    unavailable.clear();
    for (DeleteFailure& failure : failures) {
      if (failure.status.code() == StatusCode::kUnavailable) {
        left.push_back(failure.key);
        unavailable.push_back(std::move(failure));
      } else {
        final_failures.push_back(std::move(failure));
      }
    }
    return unavailable.empty() ? Status::Ok() : unavailable.front().status;
  });
  if (!done.ok() && (unavailable.empty() || done.code() != StatusCode::kUnavailable)) {
    return done;  // no try had an answer, or the last one is no matter of single keys
  }
  std::move(unavailable.begin(), unavailable.end(), std::back_inserter(final_failures));
  return final_failures;
}

}  // namespace sqlite_s3

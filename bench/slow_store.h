#pragma once
// SlowStore: a store at a distance. Every request takes a round trip more; all of them fail while
// it is away. It really waits: it is for benchmarks, tests have fakes.

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/store/object_store.h"

namespace sqlite_s3::bench {

class SlowStore : public ObjectStore {
 public:
  SlowStore(std::shared_ptr<ObjectStore> inner, std::chrono::microseconds round_trip)
      : inner_(std::move(inner)), round_trip_(round_trip) {}

  void SetAway(bool away) { away_ = away; }
  void SetRoundTrip(std::chrono::microseconds round_trip) { round_trip_ = round_trip; }
  uint64_t requests() const { return requests_; }

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
  Status Travel();
  std::shared_ptr<ObjectStore> inner_;
  std::atomic<std::chrono::microseconds> round_trip_;
  std::atomic<bool> away_{false};
  std::atomic<uint64_t> requests_{0};
};

}  // namespace sqlite_s3::bench

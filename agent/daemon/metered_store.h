#pragma once
// MeteredStore: counts what goes to the store and what it answers. Below the retries, so each try
// counts; the parts of one large object are one request here.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "common/base/clock.h"
#include "common/store/object_store.h"

namespace sqlite_s3 {

enum class StoreOperation : uint8_t { kPut, kGet, kHead, kList, kDelete };
inline constexpr size_t kStoreOperations = 5;
inline constexpr size_t kStatusCodes = static_cast<size_t>(StatusCode::kInternal) + 1;
const char* StoreOperationName(StoreOperation operation);  // "put", "get", ...

struct StoreTraffic {
  std::array<uint64_t, kStoreOperations> requests{};
  std::array<uint64_t, kStatusCodes> errors{};  // by StatusCode; of no use below kInvalidArgument
  uint64_t bytes_sent = 0;                      // of objects
  uint64_t bytes_received = 0;
  int64_t last_success_us = 0;  // wall clock; 0: never

  uint64_t Requests() const;
  uint64_t Of(StoreOperation operation) const { return requests[static_cast<size_t>(operation)]; }
};
// Counts add up; the later success counts.
StoreTraffic operator+(const StoreTraffic& a, const StoreTraffic& b);

// The counts of one database, longer lived than its stores. Thread-safe.
class StoreMeter {
 public:
  explicit StoreMeter(const Clock& clock = Clock::Real()) : clock_(clock) {}
  // An object that is not there, is there already or is another by now: an answer and no error.
  void Note(StoreOperation operation, StatusCode code, uint64_t sent, uint64_t received);
  StoreTraffic Read() const;

 private:
  const Clock& clock_;
  std::array<std::atomic<uint64_t>, kStoreOperations> requests_{};
  std::array<std::atomic<uint64_t>, kStatusCodes> errors_{};
  std::atomic<uint64_t> sent_{0}, received_{0};
  std::atomic<int64_t> last_success_us_{0};
};

class MeteredStore : public ObjectStore {
 public:
  MeteredStore(std::shared_ptr<ObjectStore> inner, std::shared_ptr<StoreMeter> meter)
      : inner_(std::move(inner)), meter_(std::move(meter)) {}

  std::string Describe() const override { return inner_->Describe(); }
  bool SupportsConditionalPut() const override { return inner_->SupportsConditionalPut(); }
  Result<PutResult> Put(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfAbsent(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfMatch(std::string_view key, ByteSpan body, std::string_view etag) override;
  Result<Bytes> Get(std::string_view key, uint64_t max_bytes,
                    std::optional<ByteRange> range) override;
  Result<ObjectInfo> Head(std::string_view key) override;
  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       int max_keys) override;
  Status Delete(std::string_view key) override;
  Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) override;

 private:
  const std::shared_ptr<ObjectStore> inner_;
  const std::shared_ptr<StoreMeter> meter_;
};

}  // namespace sqlite_s3

#include "bench/slow_store.h"

#include <thread>

namespace sqlite_s3::bench {

Status SlowStore::Travel() {
  ++requests_;
  const std::chrono::microseconds round_trip = round_trip_;
  if (round_trip.count() > 0) {
    std::this_thread::sleep_for(round_trip);
  }
  return away_ ? UnavailableError("the store is away") : Status::Ok();
}

Result<PutResult> SlowStore::Put(std::string_view key, ByteSpan body) {
  RETURN_IF_ERROR(Travel());
  return inner_->Put(key, body);
}

Result<PutResult> SlowStore::PutIfAbsent(std::string_view key, ByteSpan body) {
  RETURN_IF_ERROR(Travel());
  return inner_->PutIfAbsent(key, body);
}

Result<PutResult> SlowStore::PutIfMatch(std::string_view key, ByteSpan body,
                                        std::string_view etag) {
  RETURN_IF_ERROR(Travel());
  return inner_->PutIfMatch(key, body, etag);
}

Result<Bytes> SlowStore::Get(std::string_view key, uint64_t max_bytes,
                             std::optional<ByteRange> range) {
  RETURN_IF_ERROR(Travel());
  return inner_->Get(key, max_bytes, range);
}

Result<ObjectInfo> SlowStore::Head(std::string_view key) {
  RETURN_IF_ERROR(Travel());
  return inner_->Head(key);
}

Result<std::vector<ObjectInfo>> SlowStore::List(std::string_view prefix,
                                                std::string_view start_after, int max_keys) {
  RETURN_IF_ERROR(Travel());
  return inner_->List(prefix, start_after, max_keys);
}

Status SlowStore::Delete(std::string_view key) {
  RETURN_IF_ERROR(Travel());
  return inner_->Delete(key);
}

Result<std::vector<DeleteFailure>> SlowStore::DeleteMany(std::span<const std::string> keys) {
  RETURN_IF_ERROR(Travel());
  return inner_->DeleteMany(keys);
}

}  // namespace sqlite_s3::bench

#include "agent/daemon/metered_store.h"

#include <algorithm>
#include <numeric>

namespace sqlite_s3 {

const char* StoreOperationName(StoreOperation operation) {
  constexpr const char* kNames[kStoreOperations] = {"put", "get", "head", "list", "delete"};
  return kNames[static_cast<size_t>(operation)];
}

uint64_t StoreTraffic::Requests() const {
  return std::accumulate(requests.begin(), requests.end(), uint64_t{0});
}

StoreTraffic operator+(const StoreTraffic& a, const StoreTraffic& b) {
  StoreTraffic sum = a;
  for (size_t i = 0; i < kStoreOperations; ++i) {
    sum.requests[i] += b.requests[i];
  }
  for (size_t i = 0; i < kStatusCodes; ++i) {
    sum.errors[i] += b.errors[i];
  }
  sum.bytes_sent += b.bytes_sent;
  sum.bytes_received += b.bytes_received;
  sum.last_success_us = std::max(a.last_success_us, b.last_success_us);
  return sum;
}

void StoreMeter::Note(StoreOperation operation, StatusCode code, uint64_t sent, uint64_t received) {
  ++requests_[static_cast<size_t>(operation)];
  if (code == StatusCode::kOk || code == StatusCode::kNotFound ||
      code == StatusCode::kAlreadyExists || code == StatusCode::kAborted) {
    last_success_us_ = clock_.WallMicros();
    received_ += received;
  } else {
    ++errors_[static_cast<size_t>(code)];
  }
  sent_ += sent;
}

StoreTraffic StoreMeter::Read() const {
  StoreTraffic traffic;
  for (size_t i = 0; i < kStoreOperations; ++i) {
    traffic.requests[i] = requests_[i];
  }
  for (size_t i = 0; i < kStatusCodes; ++i) {
    traffic.errors[i] = errors_[i];
  }
  traffic.bytes_sent = sent_;
  traffic.bytes_received = received_;
  traffic.last_success_us = last_success_us_;
  return traffic;
}

Result<PutResult> MeteredStore::Put(std::string_view key, ByteSpan body) {
  auto result = inner_->Put(key, body);
  meter_->Note(StoreOperation::kPut, result.code(), body.size(), 0);
  return result;
}

Result<PutResult> MeteredStore::PutIfAbsent(std::string_view key, ByteSpan body) {
  auto result = inner_->PutIfAbsent(key, body);
  meter_->Note(StoreOperation::kPut, result.code(), body.size(), 0);
  return result;
}

Result<PutResult> MeteredStore::PutIfMatch(std::string_view key, ByteSpan body,
                                           std::string_view etag) {
  auto result = inner_->PutIfMatch(key, body, etag);
  meter_->Note(StoreOperation::kPut, result.code(), body.size(), 0);
  return result;
}

Result<Bytes> MeteredStore::Get(std::string_view key, uint64_t max_bytes,
                                std::optional<ByteRange> range) {
  auto result = inner_->Get(key, max_bytes, range);
  meter_->Note(StoreOperation::kGet, result.code(), 0, result.ok() ? result->size() : 0);
  return result;
}

Result<ObjectInfo> MeteredStore::Head(std::string_view key) {
  auto result = inner_->Head(key);
  meter_->Note(StoreOperation::kHead, result.code(), 0, 0);
  return result;
}

Result<std::vector<ObjectInfo>> MeteredStore::List(std::string_view prefix,
                                                   std::string_view start_after, int max_keys) {
  auto result = inner_->List(prefix, start_after, max_keys);
  meter_->Note(StoreOperation::kList, result.code(), 0, 0);
  return result;
}

Status MeteredStore::Delete(std::string_view key) {
  Status status = inner_->Delete(key);
  meter_->Note(StoreOperation::kDelete, status.code(), 0, 0);
  return status;
}

Result<std::vector<DeleteFailure>> MeteredStore::DeleteMany(std::span<const std::string> keys) {
  auto result = inner_->DeleteMany(keys);
  meter_->Note(StoreOperation::kDelete, result.code(), 0, 0);
  return result;
}

}  // namespace sqlite_s3

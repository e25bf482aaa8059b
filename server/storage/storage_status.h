#pragma once
// StorageStatus and StorageResult<T>: a Status with the reason that an S3 error code is made from.
//
// The reason is what HTTP answers by; the Status inside says what happened, for logs. Values: safe
// to use as values are.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "common/base/status.h"

namespace sqlite_s3::server {

// One per S3 error code that storage can cause; the code is in the comment.
enum class Reason : uint8_t {
  kOk = 0,
  kNoSuchBucket,         // 404 NoSuchBucket
  kBucketAlreadyExists,  // 409 BucketAlreadyOwnedByYou or BucketAlreadyExists: the owner decides
  kBucketNotEmpty,       // 409 BucketNotEmpty
  kInvalidBucketName,    // 400 InvalidBucketName
  kNoSuchKey,            // 404 NoSuchKey
  kDeleteMarker,        // 404 NoSuchKey and x-amz-delete-marker: true; version_id() is the marker's
  kIsDeleteMarker,      // 405 MethodNotAllowed: that version was asked for by id and is a marker
  kNoSuchVersion,       // 404 NoSuchVersion
  kNoSuchUpload,        // 404 NoSuchUpload
  kNoSuchDocument,      // 404 NoSuchCORSConfiguration, NoSuchTagSet, ...: whoever asked knows
  kInvalidPart,         // 400 InvalidPart
  kInvalidPartOrder,    // 400 InvalidPartOrder
  kEntityTooSmall,      // 400 EntityTooSmall
  kEntityTooLarge,      // 400 EntityTooLarge
  kKeyTooLong,          // 400 KeyTooLongError
  kInvalidArgument,     // 400 InvalidArgument
  kPreconditionFailed,  // 412 PreconditionFailed
  kNotModified,         // 304 on reads, 412 as a copy's condition
  kInvalidBucketState,  // 409 InvalidBucketState
  kReadOnly,            // 403 AccessDenied: the server or the bucket is read-only
  kDiskFull,            // 507 or 500 with a message; nothing was published
  kBusy,                // 503 SlowDown: may succeed if sent again
  kCorrupt,             // 500 InternalError: this bucket's file is damaged
  kInternal,            // 500 InternalError
};

// "NoSuchKey", ... for logs and tests. Never null.
const char* ReasonName(Reason reason);

class [[nodiscard]] StorageStatus {
 public:
  StorageStatus() = default;  // OK
  // The reason of a failure below: kDiskFull, kCorrupt, kBusy, kReadOnly or kInternal by its code.
  StorageStatus(Status status);  // NOLINT: implicit by design
  StorageStatus(Reason reason, std::string message);

  bool ok() const { return reason_ == Reason::kOk; }
  Reason reason() const { return reason_; }
  const Status& status() const { return status_; }
  // Of kDeleteMarker and kIsDeleteMarker: the marker's version id and time; else empty and 0.
  const std::string& version_id() const { return version_id_; }
  int64_t modified_us() const { return modified_us_; }
  StorageStatus WithMarker(std::string version_id, int64_t modified_us) &&;
  // "NoSuchKey: not found: ...".
  std::string ToString() const;

 private:
  Reason reason_ = Reason::kOk;
  Status status_;
  std::string version_id_;
  int64_t modified_us_ = 0;
};

// Either a T or a StorageStatus that is not OK. Works with ASSIGN_OR_RETURN.
template <typename T>
class [[nodiscard]] StorageResult {
 public:
  StorageResult(T value)
      : state_(std::in_place_index<1>, std::move(value)) {}  // NOLINT: implicit by design
  StorageResult(StorageStatus status)                        // NOLINT: implicit by design
      : state_(std::in_place_index<0>, std::move(status)) {
    if (std::get<0>(state_).ok()) {
      state_.template emplace<0>(InternalError("a StorageResult was made from an OK status"));
    }
  }
  StorageResult(Result<T> result)  // NOLINT: implicit by design
      : StorageResult(result.ok() ? StorageResult(std::move(result).value())
                                  : StorageResult(StorageStatus(result.status()))) {}
  StorageResult(Status status) : StorageResult(StorageStatus(std::move(status))) {}  // NOLINT

  bool ok() const { return state_.index() == 1; }
  StorageStatus status() const { return ok() ? StorageStatus() : std::get<0>(state_); }
  Reason reason() const { return ok() ? Reason::kOk : std::get<0>(state_).reason(); }

  // REQUIRES: ok(). Throws std::bad_variant_access otherwise, which is our bug.
  T& value() & { return std::get<1>(state_); }
  const T& value() const& { return std::get<1>(state_); }
  T&& value() && { return std::get<1>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<StorageStatus, T> state_;
};

// RETURN_IF_ERROR that keeps the reason.
#define RETURN_IF_STORAGE_ERROR(expr)                                  \
  do {                                                                 \
    ::sqlite_s3::server::StorageStatus return_if_storage_error_(expr); \
    if (!return_if_storage_error_.ok()) {                              \
      return return_if_storage_error_;                                 \
    }                                                                  \
  } while (false)

}  // namespace sqlite_s3::server

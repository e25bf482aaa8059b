#include "server/storage/storage_status.h"

namespace sqlite_s3::server {
namespace {

Reason ReasonOf(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return Reason::kOk;
    case StatusCode::kInvalidArgument:
      return Reason::kInvalidArgument;
    case StatusCode::kResourceExhausted:
      return Reason::kDiskFull;
    case StatusCode::kUnavailable:
      return Reason::kBusy;
    case StatusCode::kPermissionDenied:
      return Reason::kReadOnly;
    case StatusCode::kCorruption:
      return Reason::kCorrupt;
    default:
      return Reason::kInternal;
  }
}

StatusCode CodeOf(Reason reason) {
  switch (reason) {
    case Reason::kOk:
      return StatusCode::kOk;
    case Reason::kNoSuchBucket:
    case Reason::kNoSuchKey:
    case Reason::kDeleteMarker:
    case Reason::kIsDeleteMarker:
    case Reason::kNoSuchVersion:
    case Reason::kNoSuchUpload:
    case Reason::kNoSuchDocument:
      return StatusCode::kNotFound;
    case Reason::kBucketAlreadyExists:
      return StatusCode::kAlreadyExists;
    case Reason::kBucketNotEmpty:
    case Reason::kPreconditionFailed:
    case Reason::kNotModified:
    case Reason::kInvalidBucketState:
      return StatusCode::kFailedPrecondition;
    case Reason::kReadOnly:
      return StatusCode::kPermissionDenied;
    case Reason::kDiskFull:
      return StatusCode::kResourceExhausted;
    case Reason::kBusy:
      return StatusCode::kUnavailable;
    case Reason::kCorrupt:
      return StatusCode::kCorruption;
    case Reason::kInternal:
      return StatusCode::kInternal;
    default:
      return StatusCode::kInvalidArgument;
  }
}

}  // namespace

const char* ReasonName(Reason reason) {
  static constexpr const char* kNames[] = {"Ok",
                                           "NoSuchBucket",
                                           "BucketAlreadyExists",
                                           "BucketNotEmpty",
                                           "InvalidBucketName",
                                           "NoSuchKey",
                                           "DeleteMarker",
                                           "IsDeleteMarker",
                                           "NoSuchVersion",
                                           "NoSuchUpload",
                                           "NoSuchDocument",
                                           "InvalidPart",
                                           "InvalidPartOrder",
                                           "EntityTooSmall",
                                           "EntityTooLarge",
                                           "KeyTooLong",
                                           "InvalidArgument",
                                           "PreconditionFailed",
                                           "NotModified",
                                           "InvalidBucketState",
                                           "ReadOnly",
                                           "DiskFull",
                                           "Busy",
                                           "Corrupt",
                                           "Internal"};
  static_assert(std::size(kNames) == static_cast<size_t>(Reason::kInternal) + 1);
  auto index = static_cast<size_t>(reason);
  return index < std::size(kNames) ? kNames[index] : "Unknown";
}

StorageStatus::StorageStatus(Status status)
    : reason_(ReasonOf(status.code())), status_(std::move(status)) {}

StorageStatus::StorageStatus(Reason reason, std::string message)
    : reason_(reason), status_(CodeOf(reason), std::move(message)) {}

StorageStatus StorageStatus::WithMarker(std::string version_id, int64_t modified_us) && {
  version_id_ = std::move(version_id);
  modified_us_ = modified_us;
  return std::move(*this);
}

std::string StorageStatus::ToString() const {
  return std::string(ReasonName(reason_)) + ": " + status_.ToString();
}

}  // namespace sqlite_s3::server

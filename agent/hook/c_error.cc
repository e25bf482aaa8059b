#include "agent/hook/c_error.h"

#include <algorithm>
#include <cstring>

namespace sqlite_s3 {
namespace {

// Not a std::string: setting it must not fail, and a thread's end must run no destructor of ours.
thread_local char last_error[1024] = "";

int Code(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return SQLITE_S3_OK;
    case StatusCode::kInvalidArgument:
      return SQLITE_S3_INVALID;
    case StatusCode::kNotFound:
      return SQLITE_S3_NOT_FOUND;
    case StatusCode::kAlreadyExists:
      return SQLITE_S3_EXISTS;
    case StatusCode::kUnavailable:
      return SQLITE_S3_UNAVAILABLE;
    case StatusCode::kAborted:
      return SQLITE_S3_FENCED;
    case StatusCode::kFailedPrecondition:
      return SQLITE_S3_PRECONDITION;
    case StatusCode::kPermissionDenied:
      return SQLITE_S3_PERMISSION;
    case StatusCode::kResourceExhausted:
      return SQLITE_S3_FULL;
    case StatusCode::kCorruption:
      return SQLITE_S3_CORRUPT;
    case StatusCode::kIoError:
      return SQLITE_S3_IO;
    case StatusCode::kCancelled:
      return SQLITE_S3_CANCELLED;
    case StatusCode::kDeadlineExceeded:
      return SQLITE_S3_TIMEOUT;
    case StatusCode::kUnimplemented:
      return SQLITE_S3_UNSUPPORTED;
    case StatusCode::kInternal:
      return SQLITE_S3_INTERNAL;
  }
  return SQLITE_S3_INTERNAL;
}

}  // namespace

int FailWith(int code, const char* message) noexcept {
  size_t size = std::min(std::strlen(message), sizeof last_error - 1);
  // Cut between characters, not inside one.
  while (size < std::strlen(message) && size > 0 && (message[size] & 0xc0) == 0x80) {
    --size;
  }
  std::memcpy(last_error, message, size);
  last_error[size] = '\0';
  return code;
}

int FailWith(const Status& status) noexcept {
  return FailWith(Code(status.code()), status.message().c_str());
}

const char* LastError() noexcept { return last_error; }

}  // namespace sqlite_s3

#include "common/os/errno_status.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace sqlite_s3 {
namespace {

// glibc's strerror_r returns the text, POSIX's fills the buffer: whichever the C library has fits
// one of these.
[[maybe_unused]] const char* ErrorText(const char* text, const char*) { return text; }
[[maybe_unused]] const char* ErrorText(int failed, const char* buffer) {
  return failed ? "unknown error" : buffer;
}

}  // namespace

StatusCode ErrnoCode(int error) {
  switch (error) {
    case 0:
      return StatusCode::kInternal;
    case ENOENT:
    case ENOTDIR:
      return StatusCode::kNotFound;
    case EEXIST:
      return StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EFBIG:
      return StatusCode::kResourceExhausted;
    case EISDIR:
    case ENOTEMPTY:
    case EXDEV:
    case ELOOP:
    case EBUSY:
    case ETXTBSY:
      return StatusCode::kFailedPrecondition;
    case ENAMETOOLONG:
      return StatusCode::kInvalidArgument;
    case EAGAIN:
    case EINTR:
    case ESTALE:
    case ETIMEDOUT:
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
      return StatusCode::kUnavailable;
    case ENOSYS:
    case EOPNOTSUPP:
      return StatusCode::kUnimplemented;
    case ECANCELED:
      return StatusCode::kCancelled;
    default:
      return StatusCode::kIoError;
  }
}

Status ErrnoStatus(int error, std::string_view action, std::string_view path) {
  char buffer[256] = "";
  std::string message = "cannot ";
  message += action;
  if (!path.empty()) {
    message += ' ';
    message += path;
  }
  message += ": ";
  message += ErrorText(strerror_r(error, buffer, sizeof(buffer)), buffer);
  return Status(ErrnoCode(error), std::move(message));
}

}  // namespace sqlite_s3

#pragma once
// The one place where errno becomes a Status. Thread-safe.

#include <string_view>

#include "common/base/status.h"

namespace sqlite_s3 {

// The code for `error`: what the caller does next.
//   kNotFound            ENOENT ENOTDIR
//   kAlreadyExists       EEXIST
//   kPermissionDenied    EACCES EPERM EROFS
//   kResourceExhausted   ENOSPC EDQUOT EMFILE ENFILE ENOMEM EFBIG
//   kFailedPrecondition  EISDIR ENOTEMPTY EXDEV ELOOP EBUSY ETXTBSY
//   kInvalidArgument     ENAMETOOLONG
//   kUnavailable         EAGAIN EINTR ESTALE ETIMEDOUT, and a socket whose peer is away
//   kUnimplemented       ENOSYS EOPNOTSUPP
//   kCancelled           ECANCELED
//   kIoError             EIO and everything else
StatusCode ErrnoCode(int error);

// "cannot <action> <path>: <strerror text>", with ErrnoCode's code. `path` may be empty.
// REQUIRES: error is an errno value of a failed call, not 0 (0 yields kInternal).
Status ErrnoStatus(int error, std::string_view action, std::string_view path);

}  // namespace sqlite_s3

#include "common/os/errno_status.h"

#include <cerrno>

#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

TEST(ErrnoStatusTest, EachErrorNamesWhatTheCallerDoesNext) {
  const struct {
    int error;
    StatusCode code;
  } kCases[] = {
      {ENOENT, StatusCode::kNotFound},
      {ENOTDIR, StatusCode::kNotFound},
      {EEXIST, StatusCode::kAlreadyExists},
      {EACCES, StatusCode::kPermissionDenied},
      {EPERM, StatusCode::kPermissionDenied},
      {EROFS, StatusCode::kPermissionDenied},
      {ENOSPC, StatusCode::kResourceExhausted},
      {EDQUOT, StatusCode::kResourceExhausted},
      {EMFILE, StatusCode::kResourceExhausted},
      {ENFILE, StatusCode::kResourceExhausted},
      {ENOMEM, StatusCode::kResourceExhausted},
      {EFBIG, StatusCode::kResourceExhausted},
      {EISDIR, StatusCode::kFailedPrecondition},
      {ENOTEMPTY, StatusCode::kFailedPrecondition},
      {EXDEV, StatusCode::kFailedPrecondition},
      {ELOOP, StatusCode::kFailedPrecondition},
      {EBUSY, StatusCode::kFailedPrecondition},
      {ENAMETOOLONG, StatusCode::kInvalidArgument},
      {EAGAIN, StatusCode::kUnavailable},
      {ESTALE, StatusCode::kUnavailable},
      {ECONNREFUSED, StatusCode::kUnavailable},
      {ENOSYS, StatusCode::kUnimplemented},
      {EOPNOTSUPP, StatusCode::kUnimplemented},
      {ECANCELED, StatusCode::kCancelled},
      {EIO, StatusCode::kIoError},
      {EINVAL, StatusCode::kIoError},
      {EBADF, StatusCode::kIoError},
      {99999, StatusCode::kIoError},
      {0, StatusCode::kInternal},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(ErrnoCode(c.error), c.code) << c.error;
    EXPECT_STATUS(ErrnoStatus(c.error, "open", "/x"), c.code);
  }
}

TEST(ErrnoStatusTest, TheMessageHasWhatFailedThePathAndTheReason) {
  EXPECT_EQ(ErrnoStatus(ENOENT, "open", "/x/y").message(),
            "cannot open /x/y: No such file or directory");
  EXPECT_EQ(ErrnoStatus(EIO, "wait", "").message(), "cannot wait: Input/output error");
}

}  // namespace
}  // namespace sqlite_s3

#pragma once
// FileLock: one holder of a path, among processes and within one.

#include <sys/types.h>

#include <string>

#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

// An open-file-description lock (fcntl(2), F_OFD_SETLK). Unlike a POSIX lock it is not lost when
// another part of the process closes the same file, and two holders in one process exclude each
// other. Released on destruction and when the process dies. Not kept across exec (O_CLOEXEC); a
// child of fork that lives on without exec keeps it held. The file stays: unlinking a lock file
// would let two processes hold locks on two files of one name.
class FileLock {
 public:
  // Never waits. Creates the file if absent. kFailedPrecondition when somebody else holds the lock;
  // kUnimplemented or kIoError on filesystems without locks; a symlink at `path` is refused.
  static Result<FileLock> TryAcquire(const std::string& path, mode_t mode = 0600);

  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = default;

  // The locked file, to keep notes in.
  const Fd& fd() const { return fd_; }

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace sqlite_s3

#include "common/os/file_lock.h"

#include <fcntl.h>

#include <cerrno>

#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {

Result<FileLock> FileLock::TryAcquire(const std::string& path, mode_t mode) {
  ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode));
  struct flock lock = {};  // l_pid must be 0 for F_OFD_SETLK; length 0: the whole file
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  while (::fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) {
      return FailedPreconditionError("another process holds the lock " + path);
    }
    if (errno != EINTR) {
      return ErrnoStatus(errno, "lock", path);
    }
  }
  return FileLock(std::move(fd));
}

}  // namespace sqlite_s3

#include "common/os/file_lock.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "common/os/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

TEST(FileLockTest, OneHolderWithinAProcess) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(std::optional<FileLock> first, FileLock::TryAcquire(dir.File("lock")));
  EXPECT_STATUS(FileLock::TryAcquire(dir.File("lock")), StatusCode::kFailedPrecondition);
  EXPECT_OK(FileLock::TryAcquire(dir.File("other")));
  FileLock moved = std::move(*first);
  first.reset();
  EXPECT_STATUS(FileLock::TryAcquire(dir.File("lock")), StatusCode::kFailedPrecondition);
}

TEST(FileLockTest, ReleasedOnDestruction) {
  TempDir dir;
  { ASSERT_OK(FileLock::TryAcquire(dir.File("lock"))); }
  EXPECT_OK(FileLock::TryAcquire(dir.File("lock")));
}

TEST(FileLockTest, ClosingAnotherDescriptorOfTheFileDoesNotLoseIt) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(FileLock lock, FileLock::TryAcquire(dir.File("lock")));
  { ASSERT_OK(OpenFile(dir.File("lock"), O_RDWR)); }
  EXPECT_STATUS(FileLock::TryAcquire(dir.File("lock")), StatusCode::kFailedPrecondition);
}

TEST(FileLockTest, OneHolderAmongProcessesAndReleasedWhenItDies) {
  TempDir dir;
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Result<FileLock> lock = FileLock::TryAcquire(dir.File("lock"));
    char answer = lock.ok() ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) {
      ::_exit(1);
    }
    for (;;) {
      ::pause();
    }
  }
  char answer = 0;
  EXPECT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_STATUS(FileLock::TryAcquire(dir.File("lock")), StatusCode::kFailedPrecondition);
  ::kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_OK(FileLock::TryAcquire(dir.File("lock")));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(FileLockTest, ASymlinkIsRefused) {
  TempDir dir;
  ASSERT_EQ(::symlink(dir.File("target").c_str(), dir.File("lock").c_str()), 0);
  EXPECT_STATUS(FileLock::TryAcquire(dir.File("lock")), StatusCode::kFailedPrecondition);
  EXPECT_STATUS(FileLock::TryAcquire(dir.File("no/dir")), StatusCode::kNotFound);
}

TEST(FileLockTest, TheDescriptorIsNotKeptAcrossExec) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(FileLock lock, FileLock::TryAcquire(dir.File("lock")));
  EXPECT_NE(::fcntl(lock.fd().get(), F_GETFD) & FD_CLOEXEC, 0);
}

}  // namespace
}  // namespace sqlite_s3

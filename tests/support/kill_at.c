// kill_at: kills a program at, or fails, its k-th file system call. Preloaded, so that product code
// needs no test seam:
//
//   LD_PRELOAD=.../lib/libsqlite_s3_kill_at.so KILL_AT=7 some-program ...
//
// (tests/support/run_program.h sets this up.) Calls are counted from 1 over all threads of a
// process; a child process counts for itself. What is counted, by operation name:
//
//   creat      open, openat with O_CREAT or O_TRUNC      link       link, linkat
//   write      write, writev                             rename     rename, renameat
//   pwrite     pwrite                                    renameat2  renameat2
//   fsync      fsync                                     unlink     unlink, unlinkat
//   fdatasync  fdatasync                                 rmdir      rmdir, unlinkat(AT_REMOVEDIR)
//   truncate   truncate, ftruncate                       mkdir      mkdir, mkdirat
//   fallocate  fallocate, posix_fallocate
// and, only when KILL_AT_OPS names them, because they change nothing:
//   open       every other open                          read       read, pread
//
// Calls on descriptors 0-2 are never counted: a program reports its progress there.
//
// Environment:
//   KILL_AT=k       the k-th call does not happen: the process dies by SIGKILL instead.
//   KILL_AT_TORN=1  with KILL_AT: of a write or pwrite, half of the bytes are written first.
//   FAIL_AT=k       the k-th call does not happen and fails with FAIL_ERRNO. "k+": that one and all
//                   later ones.
//   FAIL_ERRNO=e    a number, or EIO (default), ENOSPC, EDQUOT, EPERM, EACCES, EROFS, EINVAL,
//                   EOPNOTSUPP, ENOSYS, EINTR, EMFILE, EEXIST, EXDEV.
//   KILL_AT_OPS     comma-separated operation names; others are not counted. Default: all that
//                   change something.
//   KILL_AT_PATH    only calls whose path holds this text count. The path of a descriptor is what
//                   /proc/self/fd says; a name relative to a directory is joined to it; of two
//                   paths either may match.
//   KILL_AT_LOG     a file to which "k operation path\n" is appended for every counted call, before
//                   the call.
//
// Not seen: io_uring, mmap, and what libc does inside itself (fwrite, std::ofstream). System calls
// are made directly, so 64-bit only; cancellation points are lost. A program built with
// AddressSanitizer needs ASAN_OPTIONS=verify_asan_link_order=0.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "arguments are passed to system calls as on 64-bit machines");

static int g_ready;  // calls before our constructor (other libraries' constructors) do not count
static long g_kill_at;
static int g_torn;
static long g_fail_at;
static int g_fail_onwards;
static int g_fail_errno = EIO;
static const char* g_ops;
static const char* g_path;
static int g_log = -1;
static atomic_long g_count;

static int ParseErrno(const char* text) {
  static const struct {
    const char* name;
    int value;
  } kNames[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT},
                {"EPERM", EPERM},   {"EACCES", EACCES}, {"EROFS", EROFS},
                {"EINVAL", EINVAL}, {"ENOSYS", ENOSYS}, {"EOPNOTSUPP", EOPNOTSUPP},
                {"EINTR", EINTR},   {"EMFILE", EMFILE}, {"EEXIST", EEXIST},
                {"EXDEV", EXDEV}};
  for (size_t i = 0; i < sizeof(kNames) / sizeof(kNames[0]); ++i) {
    if (strcmp(text, kNames[i].name) == 0) {
      return kNames[i].value;
    }
  }
  int value = atoi(text);
  if (value <= 0) {
    static const char kMessage[] = "kill_at: FAIL_ERRNO is not known\n";
    syscall(SYS_write, 2, kMessage, sizeof(kMessage) - 1);
    _exit(125);  // a test that injects nothing must not pass
  }
  return value;
}

__attribute__((constructor)) static void Start(void) {
  const char* text = getenv("KILL_AT");
  g_kill_at = text ? atol(text) : 0;
  g_torn = getenv("KILL_AT_TORN") != NULL;
  text = getenv("FAIL_AT");
  if (text != NULL) {
    g_fail_at = atol(text);
    g_fail_onwards = strchr(text, '+') != NULL;
  }
  text = getenv("FAIL_ERRNO");
  if (text != NULL) {
    g_fail_errno = ParseErrno(text);
  }
  g_ops = getenv("KILL_AT_OPS");
  g_path = getenv("KILL_AT_PATH");
  text = getenv("KILL_AT_LOG");
  if (text != NULL) {
    g_log =
        (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  }
  g_ready = 1;
}

static int OpCounts(const char* op) {
  if (g_ops == NULL || *g_ops == '\0') {
    return strcmp(op, "open") != 0 && strcmp(op, "read") != 0;
  }
  size_t length = strlen(op);
  for (const char* at = g_ops; (at = strstr(at, op)) != NULL; at += length) {
    if ((at == g_ops || at[-1] == ',') && (at[length] == ',' || at[length] == '\0')) {
      return 1;
    }
  }
  return 0;
}

// The path of a descriptor, or "" if there is none.
static void PathOfFd(int fd, char* out, size_t size) {
  char link[64];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  long n = syscall(SYS_readlinkat, AT_FDCWD, link, out, size - 1);
  out[n > 0 ? n : 0] = '\0';
}

static void PathAt(int dirfd, const char* path, char* out, size_t size) {
  if (path == NULL || path[0] == '/' || dirfd == AT_FDCWD) {
    snprintf(out, size, "%s", path == NULL ? "" : path);
    return;
  }
  PathOfFd(dirfd, out, size);
  size_t used = strlen(out);
  snprintf(out + used, size - used, "/%s", path);
}

static _Noreturn void Die(void) {
  for (;;) {
    syscall(SYS_kill, getpid(), SIGKILL);
  }
}

// Counts a call. 0: go on. -1: errno is set, the call must fail. 1: die after a torn write.
static int Count(const char* op, const char* path, const char* other) {
  if (g_path != NULL && strstr(path, g_path) == NULL &&
      (other == NULL || strstr(other, g_path) == NULL)) {
    return 0;
  }
  long k = atomic_fetch_add(&g_count, 1) + 1;
  if (g_log >= 0) {
    char line[3 * PATH_MAX];
    int n = snprintf(line, sizeof(line), "%ld %s %s%s%s\n", k, op, path, other ? " " : "",
                     other ? other : "");
    syscall(SYS_write, g_log, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
  }
  if (k == g_kill_at) {
    if (g_torn && strstr(op, "write") != NULL) {
      return 1;
    }
    Die();
  }
  if (g_fail_at > 0 && (g_fail_onwards ? k >= g_fail_at : k == g_fail_at)) {
    errno = g_fail_errno;
    return -1;
  }
  return 0;
}

static int CountFd(const char* op, int fd) {
  if (!g_ready || (fd >= 0 && fd <= 2) || !OpCounts(op)) {
    return 0;
  }
  int saved = errno;
  char path[2 * PATH_MAX];
  PathOfFd(fd, path, sizeof(path));
  errno = saved;
  return Count(op, path, NULL);
}

static int CountAt(const char* op, int dirfd, const char* name) {
  if (!g_ready || !OpCounts(op)) {
    return 0;
  }
  int saved = errno;
  char path[2 * PATH_MAX];
  PathAt(dirfd, name, path, sizeof(path));
  errno = saved;
  return Count(op, path, NULL);
}

static int CountTwo(const char* op, int dirfd, const char* name, int other_dirfd,
                    const char* other_name) {
  if (!g_ready || !OpCounts(op)) {
    return 0;
  }
  int saved = errno;
  char path[2 * PATH_MAX];
  char other[2 * PATH_MAX];
  PathAt(dirfd, name, path, sizeof(path));
  PathAt(other_dirfd, other_name, other, sizeof(other));
  errno = saved;
  return Count(op, path, other);
}

#define RETURN_IF_INJECTED(counted) \
  do {                              \
    if ((counted) != 0) {           \
      return -1;                    \
    }                               \
  } while (0)

// --- open ---

static int OpenAt(int dirfd, const char* path, int flags, mode_t mode) {
  RETURN_IF_INJECTED(CountAt(flags & (O_CREAT | O_TRUNC) ? "creat" : "open", dirfd, path));
  return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

#define MODE_OF(flags, mode)                                        \
  mode_t mode = 0;                                                  \
  if (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE) { \
    va_list args;                                                   \
    va_start(args, flags);                                          \
    mode = va_arg(args, mode_t);                                    \
    va_end(args);                                                   \
  }

int open(const char* path, int flags, ...) {
  MODE_OF(flags, mode)
  return OpenAt(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  MODE_OF(flags, mode)
  return OpenAt(AT_FDCWD, path, flags, mode);
}
int openat(int dirfd, const char* path, int flags, ...) {
  MODE_OF(flags, mode)
  return OpenAt(dirfd, path, flags, mode);
}
int openat64(int dirfd, const char* path, int flags, ...) {
  MODE_OF(flags, mode)
  return OpenAt(dirfd, path, flags, mode);
}

// --- read ---

ssize_t read(int fd, void* buffer, size_t n) {
  RETURN_IF_INJECTED(CountFd("read", fd));
  return syscall(SYS_read, fd, buffer, n);
}
ssize_t pread(int fd, void* buffer, size_t n, off_t offset) {
  RETURN_IF_INJECTED(CountFd("read", fd));
  return syscall(SYS_pread64, fd, buffer, n, offset);
}
ssize_t pread64(int fd, void* buffer, size_t n, off64_t offset) {
  return pread(fd, buffer, n, offset);
}

// --- write ---

ssize_t write(int fd, const void* buffer, size_t n) {
  int injected = CountFd("write", fd);
  if (injected == 1) {
    syscall(SYS_write, fd, buffer, n / 2);
    Die();
  }
  return injected ? -1 : syscall(SYS_write, fd, buffer, n);
}
ssize_t pwrite(int fd, const void* buffer, size_t n, off_t offset) {
  int injected = CountFd("pwrite", fd);
  if (injected == 1) {
    syscall(SYS_pwrite64, fd, buffer, n / 2, offset);
    Die();
  }
  return injected ? -1 : syscall(SYS_pwrite64, fd, buffer, n, offset);
}
ssize_t pwrite64(int fd, const void* buffer, size_t n, off64_t offset) {
  return pwrite(fd, buffer, n, offset);
}
ssize_t writev(int fd, const struct iovec* parts, int n) {
  int injected = CountFd("write", fd);
  if (injected == 1) {
    Die();  // no half of these: nobody here writes so
  }
  return injected ? -1 : syscall(SYS_writev, fd, parts, n);
}

// --- sync, size ---

int fsync(int fd) {
  RETURN_IF_INJECTED(CountFd("fsync", fd));
  return (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
  RETURN_IF_INJECTED(CountFd("fdatasync", fd));
  return (int)syscall(SYS_fdatasync, fd);
}
int ftruncate(int fd, off_t size) {
  RETURN_IF_INJECTED(CountFd("truncate", fd));
  return (int)syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
int truncate(const char* path, off_t size) {
  RETURN_IF_INJECTED(CountAt("truncate", AT_FDCWD, path));
  return (int)syscall(SYS_truncate, path, size);
}
int truncate64(const char* path, off64_t size) { return truncate(path, size); }
int fallocate(int fd, int mode, off_t offset, off_t size) {
  RETURN_IF_INJECTED(CountFd("fallocate", fd));
  return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
  return fallocate(fd, mode, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  // Returns the error, where the others set it.
  return fallocate(fd, 0, offset, size) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
  return posix_fallocate(fd, offset, size);
}

// --- names ---

int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) {
  RETURN_IF_INJECTED(CountTwo("link", from_dir, from, to_dir, to));
  return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}
int link(const char* from, const char* to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_dir, const char* from, int to_dir, const char* to) {
  RETURN_IF_INJECTED(CountTwo("rename", from_dir, from, to_dir, to));
  return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}
int rename(const char* from, const char* to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned int flags) {
  RETURN_IF_INJECTED(CountTwo("renameat2", from_dir, from, to_dir, to));
  return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}
int unlinkat(int dirfd, const char* path, int flags) {
  RETURN_IF_INJECTED(CountAt(flags & AT_REMOVEDIR ? "rmdir" : "unlink", dirfd, path));
  return (int)syscall(SYS_unlinkat, dirfd, path, flags);
}
int unlink(const char* path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char* path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int dirfd, const char* path, mode_t mode) {
  RETURN_IF_INJECTED(CountAt("mkdir", dirfd, path));
  return (int)syscall(SYS_mkdirat, dirfd, path, mode);
}
int mkdir(const char* path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

// A library for LD_PRELOAD: a process whose own limit of file descriptors (RLIMIT_NOFILE) is too
// low for what is to be measured keeps the files of its databases in tables of other threads.
//
// A thread that left the process's table (unshare(CLONE_FILES)) has one of its own, with the same
// limit, and shares the memory: what it maps, all threads see. So each call on such a file is made
// by the thread that has it. POSIX locks belong to a table, and all files of one database are in
// the same one: locks, and that a close drops them, are as without this library. The databases are
// those of bench/sidecar_scale.py: N.db, N.db-wal, N.db-shm, N.db-s3/lock.

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>

namespace {

constexpr int kTables = 4;
// Numbers that no descriptor has: 1 << 30, the table, the descriptor in it.
constexpr int kOurs = 1 << 30, kTableShift = 24, kDescriptorMask = (1 << kTableShift) - 1;

class FileTable {
 public:
  FileTable() {
    std::thread([this] { Serve(); }).detach();
  }

  // `call` sets errno where it fails.
  template <typename Call>
  auto Do(Call call) -> decltype(call()) {
    decltype(call()) result{};
    int error = 0;
    std::lock_guard one_at_a_time(callers_);
    std::unique_lock lock(mutex_);
    call_ = [&] {
      errno = 0;
      result = call();
      error = errno;
    };
    changed_.notify_all();
    changed_.wait(lock, [&] { return !call_; });
    errno = error;
    return result;
  }

 private:
  void Serve() {
    // Copies of what is open now would keep pipes and locks of others.
    if (unshare(CLONE_FILES) != 0 || close_range(3, ~0U, 0) != 0) {
      std::perror("file_tables");
      std::abort();
    }
    pthread_setname_np(pthread_self(), "file_table");  // bench/sidecar_scale.py looks for it
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return call_ != nullptr; });
      call_();
      call_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex callers_, mutex_;
  std::condition_variable changed_;
  std::function<void()> call_;
};

FileTable& TableOf(int index) {
  static auto* tables = new FileTable[kTables];  // its threads live as long as the process
  return tables[index];
}

// The number of the database that the file belongs to, -1: of none.
int DatabaseOf(const char* path) {
  std::string_view rest = path;
  for (std::string_view suffix : {"-wal", "-shm", "-s3/lock", ""}) {
    if (rest.size() > suffix.size() && rest.substr(rest.size() - suffix.size()) == suffix) {
      rest.remove_suffix(suffix.size());
      break;
    }
  }
  if (rest.size() < 4 || rest.substr(rest.size() - 3) != ".db") {
    return -1;
  }
  const size_t slash = rest.rfind('/');
  return std::atoi(path + (slash == std::string_view::npos ? 0 : slash + 1));
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int Open(const char* path, int flags, mode_t mode) {
  static auto* next = Next<int(const char*, int, ...)>("open");
  const int database = DatabaseOf(path);
  if (database < 0) {
    return next(path, flags, mode);
  }
  const int table = database % kTables;
  // An open that is refused for the limit says so: EMFILE.
  const int fd = TableOf(table).Do([&] { return next(path, flags, mode); });
  return fd < 0 ? fd : kOurs | table << kTableShift | fd;
}

// `call` with the descriptor, in the thread that has it.
template <typename Call>
auto On(int fd, Call call) -> decltype(call(fd)) {
  if (fd < kOurs) {
    return call(fd);
  }
  return TableOf((fd & ~kOurs) >> kTableShift).Do([&] { return call(fd & kDescriptorMask); });
}

}  // namespace

#define SQLITE_S3_NEXT(name) static auto* next = Next<decltype(name)>(#name)

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return Open(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return Open(path, flags, mode);
}

// The third argument is a number or a pointer; both go in a register, whole.
int fcntl(int fd, int command, ...) {
  SQLITE_S3_NEXT(fcntl);
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return On(fd, [&](int at) { return next(at, command, argument); });
}

int fcntl64(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return fcntl(fd, command, argument);
}

int close(int fd) {
  SQLITE_S3_NEXT(close);
  return On(fd, [&](int at) { return next(at); });
}
int flock(int fd, int operation) noexcept {
  SQLITE_S3_NEXT(flock);
  return On(fd, [&](int at) { return next(at, operation); });
}
int fsync(int fd) {
  SQLITE_S3_NEXT(fsync);
  return On(fd, [&](int at) { return next(at); });
}
int fdatasync(int fd) {
  SQLITE_S3_NEXT(fdatasync);
  return On(fd, [&](int at) { return next(at); });
}
int fstat(int fd, struct stat* st) noexcept {
  SQLITE_S3_NEXT(fstat);
  return On(fd, [&](int at) { return next(at, st); });
}
int fstat64(int fd, struct stat64* st) noexcept {
  SQLITE_S3_NEXT(fstat64);
  return On(fd, [&](int at) { return next(at, st); });
}
int fchmod(int fd, mode_t mode) noexcept {
  SQLITE_S3_NEXT(fchmod);
  return On(fd, [&](int at) { return next(at, mode); });
}
int fchown(int fd, uid_t user, gid_t group) noexcept {
  SQLITE_S3_NEXT(fchown);
  return On(fd, [&](int at) { return next(at, user, group); });
}
int ftruncate(int fd, off_t size) noexcept {
  SQLITE_S3_NEXT(ftruncate);
  return On(fd, [&](int at) { return next(at, size); });
}
int ftruncate64(int fd, off64_t size) noexcept { return ftruncate(fd, size); }
int posix_fallocate(int fd, off_t offset, off_t size) {
  SQLITE_S3_NEXT(posix_fallocate);
  return On(fd, [&](int at) { return next(at, offset, size); });
}
ssize_t read(int fd, void* to, size_t size) {
  SQLITE_S3_NEXT(read);
  return On(fd, [&](int at) { return next(at, to, size); });
}
ssize_t write(int fd, const void* from, size_t size) {
  SQLITE_S3_NEXT(write);
  return On(fd, [&](int at) { return next(at, from, size); });
}
ssize_t pread(int fd, void* to, size_t size, off_t offset) {
  SQLITE_S3_NEXT(pread);
  return On(fd, [&](int at) { return next(at, to, size, offset); });
}
ssize_t pread64(int fd, void* to, size_t size, off64_t offset) {
  return pread(fd, to, size, offset);
}
ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  SQLITE_S3_NEXT(pwrite);
  return On(fd, [&](int at) { return next(at, from, size, offset); });
}
ssize_t pwrite64(int fd, const void* from, size_t size, off64_t offset) {
  return pwrite(fd, from, size, offset);
}
void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  SQLITE_S3_NEXT(mmap);
  return On(fd, [&](int at) { return next(address, size, protection, flags, at, offset); });
}
void* mmap64(void* address, size_t size, int protection, int flags, int fd,
             off64_t offset) noexcept {
  return mmap(address, size, protection, flags, fd, offset);
}

// What the tables have together.
int getrlimit(__rlimit_resource_t resource, struct rlimit* limit) noexcept {
  static auto* next = Next<int(__rlimit_resource_t, struct rlimit*)>("getrlimit");
  const int result = next(resource, limit);
  if (result == 0 && resource == RLIMIT_NOFILE) {
    limit->rlim_cur *= kTables;
    limit->rlim_max *= kTables;
  }
  return result;
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit* limit) noexcept {
  static auto* next = Next<int(__rlimit_resource_t, const struct rlimit*)>("setrlimit");
  struct rlimit each = *limit;
  if (resource == RLIMIT_NOFILE) {
    each.rlim_cur /= kTables;
    each.rlim_max /= kTables;
  }
  return next(resource, &each);
}

}  // extern "C"

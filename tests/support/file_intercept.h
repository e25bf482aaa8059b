#pragma once
// FileIntercept: stands before some methods of a file that SQLite has open, for as long as both
// live. On the threads that use the file.

#include <functional>
#include <utility>

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

class FileIntercept {
 public:
  // `which`: SQLITE_FCNTL_FILE_POINTER, the main database's file, or SQLITE_FCNTL_JOURNAL_POINTER,
  // its WAL once it is open. A failure of the test when there is none.
  FileIntercept(sqlite3* db, int which);
  ~FileIntercept();
  FileIntercept(const FileIntercept&) = delete;
  FileIntercept& operator=(const FileIntercept&) = delete;

  // In place of a sync: whether it may be made. SQLITE_OK, or the error that it ends with.
  void BeforeSync(std::function<int()> before) { before_sync_ = std::move(before); }
  // Before a lock of the shared memory is taken or let go; arguments as of xShmLock.
  void BeforeShmLock(std::function<void(int offset, int n, int flags)> before) {
    before_shm_lock_ = std::move(before);
  }

 private:
  static FileIntercept& Of(sqlite3_file* file);
  static FileIntercept* Known(sqlite3_file* file, FileIntercept* is, bool forget);
  static int Sync(sqlite3_file* file, int flags);
  static int ShmLock(sqlite3_file* file, int offset, int n, int flags);
  static int Close(sqlite3_file* file);

  sqlite3_file* file_ = nullptr;
  const sqlite3_io_methods* real_ = nullptr;
  sqlite3_io_methods methods_{};
  std::function<int()> before_sync_;
  std::function<void(int, int, int)> before_shm_lock_;
};

}  // namespace sqlite_s3

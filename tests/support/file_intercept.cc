#include "tests/support/file_intercept.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>

namespace sqlite_s3 {

FileIntercept* FileIntercept::Known(sqlite3_file* file, FileIntercept* is, bool forget) {
  static std::mutex mutex;
  static std::map<sqlite3_file*, FileIntercept*> known;
  std::lock_guard lock(mutex);
  if (forget) {
    known.erase(file);
    return nullptr;
  }
  FileIntercept*& found = known[file];
  return found = is != nullptr ? is : found;
}

FileIntercept::FileIntercept(sqlite3* db, int which) {
  sqlite3_file* file = nullptr;
  EXPECT_EQ(sqlite3_file_control(db, "main", which, &file), SQLITE_OK);
  if (file == nullptr || file->pMethods == nullptr) {
    ADD_FAILURE() << "there is no such file";
    return;
  }
  file_ = file;
  real_ = file->pMethods;
  methods_ = *real_;
  methods_.xSync = Sync;
  methods_.xShmLock = ShmLock;
  methods_.xClose = Close;
  Known(file, this, false);
  file->pMethods = &methods_;
}

FileIntercept::~FileIntercept() {
  if (file_ != nullptr) {
    file_->pMethods = real_;
    Known(file_, nullptr, true);
  }
}

// Not by the file's methods: others may stand before these for a while, with a copy of them.
FileIntercept& FileIntercept::Of(sqlite3_file* file) { return *Known(file, nullptr, false); }

int FileIntercept::Sync(sqlite3_file* file, int flags) {
  FileIntercept& self = Of(file);
  const int rc = self.before_sync_ ? self.before_sync_() : SQLITE_OK;
  return rc == SQLITE_OK ? self.real_->xSync(file, flags) : rc;
}

int FileIntercept::ShmLock(sqlite3_file* file, int offset, int n, int flags) {
  FileIntercept& self = Of(file);
  if (self.before_shm_lock_) {
    self.before_shm_lock_(offset, n, flags);
  }
  return self.real_->xShmLock(file, offset, n, flags);
}

// SQLite frees the file after this: there is nothing to put back then.
int FileIntercept::Close(sqlite3_file* file) {
  FileIntercept& self = Of(file);
  file->pMethods = self.real_;
  self.file_ = nullptr;
  Known(file, nullptr, true);
  return self.real_->xClose(file);
}

}  // namespace sqlite_s3

#include "common/sqlite/checkpoint.h"

#include <cstddef>
#include <cstring>

namespace sqlite_s3 {
namespace {

constexpr int kCheckpointLock = 1;  // sqlite.org/walformat.html, section 2.3.1

// While a checkpoint runs, its connection's file has these methods: SQLite has no callback for the
// moment that we need, but it asks the file for each lock.
struct Watched {
  sqlite3_io_methods methods;
  const sqlite3_io_methods* own;
  const std::function<void()>* begun;
};

thread_local Watched* watched = nullptr;

int LockAndTell(sqlite3_file* file, int first, int count, int flags) {
  const int rc = watched->own->xShmLock(file, first, count, flags);
  if (rc == SQLITE_OK && first == kCheckpointLock && watched->begun != nullptr &&
      flags == (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE)) {
    const std::function<void()>& begun = *watched->begun;
    watched->begun = nullptr;
    // Whatever it does to other connections' files, theirs have methods of their own.
    begun();
  }
  return rc;
}

}  // namespace

PassiveCheckpoint RunPassiveCheckpoint(sqlite3* db, const std::function<void()>& begun) {
  PassiveCheckpoint result;
  sqlite3_file* file = nullptr;
  result.rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (result.rc != SQLITE_OK) {
    return result;
  }
  if (file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2) {
    result.rc = SQLITE_MISUSE;
    return result;
  }
  Watched now{{}, file->pMethods, &begun};
  std::memcpy(&now.methods, now.own,
              now.own->iVersion >= 3 ? sizeof(now.methods) : offsetof(sqlite3_io_methods, xFetch));
  now.methods.xShmLock = &LockAndTell;
  Watched* const before = watched;
  watched = &now;
  file->pMethods = &now.methods;
  result.rc = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_PASSIVE, &result.wal_frames,
                                        &result.backfilled);
  file->pMethods = now.own;
  watched = before;
  return result;
}

}  // namespace sqlite_s3

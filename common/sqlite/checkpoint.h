#pragma once
// A PASSIVE checkpoint that tells when it has begun.

#include <functional>

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

struct PassiveCheckpoint {
  int rc = 0;          // SQLite's; SQLITE_BUSY: another connection is in a checkpoint
  int wal_frames = 0;  // in the WAL, when it was looked at
  int backfilled = 0;  // of them
};

// Of database main. `begun` is called on this thread at most once, when the connection has the
// checkpoint lock (nobody else begins one until this returns) and has not yet looked at readers;
// with SQLITE_BUSY it is not called. It must not use `db`, nor throw. REQUIRES: `db` has read
// the database (else there is no WAL for it, and nothing happens), no transaction is open on it,
// and no other thread uses it.
PassiveCheckpoint RunPassiveCheckpoint(sqlite3* db, const std::function<void()>& begun);

}  // namespace sqlite_s3

#pragma once
// What the hook layer asks its host: the application's SQLite and the application's connection.
// Everything here runs on the thread that uses the connection, perhaps inside one of its
// statements, and leaves it as it was.
//
// A trap: a statement of ours that reads the database, run inside a writing statement of the
// application that has not begun its transaction yet (a trace callback), leaves its read
// transaction to it. The application would then get SQLITE_BUSY at once, without its busy handler,
// where it would have waited (sqlite3_busy_handler, about deadlocks).

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "common/base/status.h"
#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

// Oldest host. 3.31 has SQLITE_DIRECTONLY, and every entry of the API table that is used without
// asking for the version. What is newer is asked for: see InWriteTransaction.
inline constexpr int kOldestSqlite = 3'031'000;

// A file, however it is spelled.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  auto operator<=>(const FileIdentity&) const = default;
};

// A database file as the host sees it.
struct HostDatabase {
  std::string path;  // absolute, as SQLite names it
  std::string vfs;   // name of the connection's VFS
  FileIdentity file;
};

// Reads which file `path` is, with stat(2): opening and closing a database file would drop SQLite's
// locks. kNotFound when there is none.
Result<FileIdentity> IdentifyFile(const std::string& path);

// kFailedPrecondition when this SQLite is too old or single-threaded.
Status CheckHost();

// The "main" database of a connection, checked: kFailedPrecondition when it is in memory or
// temporary, not in WAL mode, opened read-only, or in locking_mode=EXCLUSIVE.
Result<HostDatabase> InspectConnection(sqlite3* db);

// Path of the "main" database; empty when it has no file. Cheap; runs no statement.
std::string MainDatabasePath(sqlite3* db);

// What "PRAGMA wal_autocheckpoint" reads: N while SQLite's own hook is installed, and 0 when
// another hook, or none, is.
Result<int> AutocheckpointPages(sqlite3* db);

// True when the statement that runs now, or the transaction around it, holds the write lock of
// "main". A host before 3.34 cannot tell; there, any transaction opened with BEGIN counts.
bool InWriteTransaction(sqlite3* db);

// Counts write transactions that this very connection committed to "main"; only differences mean
// something (modulo 2^32). Write transactions that changed nothing count too. Empty when SQLite
// does not say.
std::optional<uint32_t> OwnCommits(sqlite3* db);

}  // namespace sqlite_s3

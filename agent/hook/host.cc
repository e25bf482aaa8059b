#include "agent/hook/host.h"

#include <sys/stat.h>

#include <cerrno>

#include "common/os/errno_status.h"
#include "common/sqlite/connection.h"

namespace sqlite_s3 {
namespace {

Result<Statement> Prepare(sqlite3* db, const char* sql) {
  sqlite3_stmt* stmt = nullptr;
  int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, nullptr);
  if (rc != SQLITE_OK) {
    return SqliteStatus(rc, sql, db);
  }
  return Statement(db, stmt);
}

Result<int64_t> QueryInt(sqlite3* db, const char* sql) {
  ASSIGN_OR_RETURN(Statement statement, Prepare(db, sql));
  return statement.Run();
}

Result<std::string> QueryText(sqlite3* db, const char* sql) {
  ASSIGN_OR_RETURN(Statement statement, Prepare(db, sql));
  return statement.RunText();
}

bool InsideWritingStatement(sqlite3* db) {
  for (sqlite3_stmt* stmt = sqlite3_next_stmt(db, nullptr); stmt != nullptr;
       stmt = sqlite3_next_stmt(db, stmt)) {
    if (sqlite3_stmt_busy(stmt) != 0 && sqlite3_stmt_readonly(stmt) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<FileIdentity> IdentifyFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return ErrnoStatus(errno, "find database", path);
  }
  return FileIdentity{info.st_dev, info.st_ino};
}

Status CheckHost() {
  if (sqlite3_libversion_number() < kOldestSqlite) {
    return FailedPreconditionError(std::string("this process uses SQLite ") + sqlite3_libversion() +
                                   ", hint: 3.31.0 is the oldest that can be shipped from");
  }
  if (sqlite3_threadsafe() == 0) {
    return FailedPreconditionError(
        "this process's SQLite was compiled without threads (SQLITE_THREADSAFE=0), hint: use one "
        "with threads, or run the sqlite-s3-agent program beside the application");
  }
  return Status::Ok();
}

std::string MainDatabasePath(sqlite3* db) {
  const char* path = sqlite3_db_filename(db, "main");
  return path != nullptr ? path : "";
}

Result<HostDatabase> InspectConnection(sqlite3* db) {
  RETURN_IF_ERROR(CheckHost());
  HostDatabase database;
  database.path = MainDatabasePath(db);
  if (database.path.empty()) {
    return FailedPreconditionError(
        "an in-memory or temporary database cannot be shipped, hint: open a file");
  }
  const std::string name = "database '" + database.path + "'";
  if (sqlite3_db_readonly(db, "main") == 1) {
    return FailedPreconditionError(name +
                                   " is open read-only in this connection, hint: use a connection "
                                   "that can write");
  }
  // Asked before the journal mode: that question reads the file, and an exclusive connection would
  // take its lock for good by it.
  ASSIGN_OR_RETURN(std::string locking, QueryText(db, "PRAGMA main.locking_mode"));
  if (locking != "normal") {
    return FailedPreconditionError(
        name + " is in locking_mode=" + locking +
        ", so that nobody else can read it, hint: PRAGMA locking_mode=NORMAL, then read once");
  }
  // Neither PRAGMA leaves a read transaction open.
  ASSIGN_OR_RETURN(std::string journal, QueryText(db, "PRAGMA main.journal_mode"));
  if (journal != "wal") {
    return FailedPreconditionError(name + " is in journal_mode=" + journal +
                                   ", hint: PRAGMA journal_mode=WAL");
  }
  sqlite3_vfs* vfs = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_VFS_POINTER, &vfs) == SQLITE_OK &&
      vfs != nullptr && vfs->zName != nullptr) {
    database.vfs = vfs->zName;
  }
  ASSIGN_OR_RETURN(database.file, IdentifyFile(database.path));
  return database;
}

Result<int> AutocheckpointPages(sqlite3* db) {
  ASSIGN_OR_RETURN(int64_t pages, QueryInt(db, "PRAGMA wal_autocheckpoint"));
  return static_cast<int>(pages);
}

bool InWriteTransaction(sqlite3* db) {
  // sqlite3_txn_state is 3.34's; an older host's API table ends before it.
  if (sqlite3_libversion_number() >= 3'034'000) {
    return sqlite3_txn_state(db, "main") == SQLITE_TXN_WRITE;
  }
  return sqlite3_get_autocommit(db) == 0;
}

std::optional<uint32_t> OwnCommits(sqlite3* db) {
  // Both numbers change when another connection commits; only the file control's changes when this
  // one does (its documentation, and that of PRAGMA data_version). The PRAGMA comes first, because
  // it makes the connection notice the others' commits.
  if (InsideWritingStatement(db)) {
    return std::nullopt;
  }
  Result<int64_t> of_others = QueryInt(db, "PRAGMA main.data_version");
  uint32_t of_all = 0;
  if (!of_others.ok() ||
      sqlite3_file_control(db, "main", SQLITE_FCNTL_DATA_VERSION, &of_all) != SQLITE_OK) {
    return std::nullopt;
  }
  return of_all - static_cast<uint32_t>(*of_others);
}

}  // namespace sqlite_s3

#include "common/sqlite/connection.h"

#include <string_view>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/hash.h"

namespace sqlite_s3 {
namespace {

thread_local bool opening_on_this_thread = false;

}  // namespace

bool Connection::OpeningOnThisThread() { return opening_on_this_thread; }

Status SqliteStatus(int rc, const std::string& what, sqlite3* db) {
  if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW) {
    return Status::Ok();
  }
  std::string message = what + ": " + (db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(rc)) +
                        " (sqlite " + std::to_string(rc) + ")";
  switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return UnavailableError(std::move(message));
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
      return PermissionDeniedError(std::move(message));
    case SQLITE_NOMEM:
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
      return ResourceExhaustedError(std::move(message));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return CorruptionError(std::move(message));
    case SQLITE_CANTOPEN:
      return NotFoundError(std::move(message));
    case SQLITE_INTERRUPT:
    case SQLITE_ABORT:
      return CancelledError(std::move(message));
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_ERROR:
      return InternalError(std::move(message));
    default:
      return IoError(std::move(message));
  }
}

uint64_t SqliteBuild() {
  std::string text = sqlite3_sourceid();
  for (int i = 0; const char* option = sqlite3_compileoption_get(i); ++i) {
    // The compiler's version decides nothing about a database's bytes.
    if (std::string_view(option).substr(0, 9) != "COMPILER=") {
      text += '\n';
      text += option;
    }
  }
  return LoadLe64(ComputeDigest(AsBytes(text)).bytes.data());
}

bool HasWalResetBug(int v) {
  if (v < 3007000 || v >= 3051003) {
    return false;
  }
  bool backport_3_50 = v >= 3050007 && v < 3051000;
  bool backport_3_44 = v >= 3044006 && v < 3045000;
  return !backport_3_50 && !backport_3_44;
}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(stmt_, other.stmt_);
  return *this;
}

Statement::~Statement() {
  if (stmt_ != nullptr) {
    sqlite3_finalize(stmt_);
  }
}

Result<int64_t> Statement::Run() {
  int64_t value = 0;
  bool first = true;
  int rc = sqlite3_step(stmt_);
  while (rc == SQLITE_ROW) {
    if (first && sqlite3_column_count(stmt_) > 0) {
      value = sqlite3_column_int64(stmt_, 0);
    }
    first = false;
    rc = sqlite3_step(stmt_);
  }
  Status status = SqliteStatus(rc, sqlite3_sql(stmt_), db_);
  sqlite3_reset(stmt_);
  if (!status.ok()) {
    return status;
  }
  return value;
}

Result<std::string> Statement::RunText() {
  std::string value;
  int rc = sqlite3_step(stmt_);
  if (rc == SQLITE_ROW) {
    const unsigned char* text = sqlite3_column_text(stmt_, 0);
    if (text != nullptr) {
      value.assign(reinterpret_cast<const char*>(text),
                   static_cast<size_t>(sqlite3_column_bytes(stmt_, 0)));
    }
  }
  Status status = SqliteStatus(rc, sqlite3_sql(stmt_), db_);
  sqlite3_reset(stmt_);
  if (!status.ok()) {
    return status;
  }
  return value;
}

Result<Connection> Connection::Open(const std::string& path, int flags, const std::string& vfs,
                                    int busy_timeout_ms) {
  Connection c;
  opening_on_this_thread = true;
  int rc = sqlite3_open_v2(path.c_str(), &c.db_,
                           flags | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_FULLMUTEX,
                           vfs.empty() ? nullptr : vfs.c_str());
  opening_on_this_thread = false;
  if (rc != SQLITE_OK) {
    return SqliteStatus(rc, "cannot open database '" + path + "'", c.db_);
  }
  // A host configured SQLITE_CONFIG_SINGLETHREAD ignores FULLMUTEX; our worker thread would race
  // it.
  if (sqlite3_threadsafe() == 0 || sqlite3_db_mutex(c.db_) == nullptr) {
    return FailedPreconditionError(
        "this process's SQLite is single-threaded, hint: use SQLITE_CONFIG_MULTITHREAD or "
        "SERIALIZED");
  }
  sqlite3_extended_result_codes(c.db_, 1);
  sqlite3_busy_timeout(c.db_, busy_timeout_ms);
  return c;
}

Connection& Connection::operator=(Connection&& other) noexcept {
  std::swap(db_, other.db_);
  return *this;
}

void Connection::Close() {
  if (db_ != nullptr) {
    sqlite3_close_v2(db_);
    db_ = nullptr;
  }
}

Status Connection::Exec(const char* sql) {
  return SqliteStatus(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr), sql, db_);
}

Result<Statement> Connection::Prepare(const char* sql) {
  sqlite3_stmt* stmt = nullptr;
  int rc = sqlite3_prepare_v2(db_, sql, -1, &stmt, nullptr);
  if (rc != SQLITE_OK) {
    return SqliteStatus(rc, sql, db_);
  }
  return Statement(db_, stmt);
}

Result<int64_t> Connection::QueryInt(const char* sql) {
  ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  return statement.Run();
}

Result<std::string> Connection::QueryText(const char* sql) {
  ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  return statement.RunText();
}

}  // namespace sqlite_s3

#pragma once
// RAII over a connection and its statements, for the few statements that this project runs itself.

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

// What an SQLite result code means for the caller; the message gets `what` and SQLite's own text.
Status SqliteStatus(int rc, const std::string& what, sqlite3* db = nullptr);

// True when this SQLite can corrupt a WAL database that two connections checkpoint and write at
// once (sqlite.org/wal.html#walresetbug): every version from 3.7.0 before 3.51.3, but 3.50.7
// and 3.44.6.
bool HasWalResetBug(int version_number);

// Identifies the SQLite in use: its source and how it was compiled.
uint64_t SqliteBuild();

// A prepared statement. One thread at a time; must not outlive its connection.
class Statement {
 public:
  Statement() = default;
  Statement(sqlite3* db, sqlite3_stmt* stmt) : db_(db), stmt_(stmt) {}
  Statement(Statement&& other) noexcept { *this = std::move(other); }
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  // Steps to the end and resets; the value of the first column of the first row, or 0.
  Result<int64_t> Run();
  // The same for a text column; empty for no row or NULL.
  Result<std::string> RunText();

 private:
  sqlite3* db_ = nullptr;
  sqlite3_stmt* stmt_ = nullptr;
};

class Connection {
 public:
  // Always adds SQLITE_OPEN_PRIVATECACHE and FULLMUTEX: with the host's shared cache on, a plain
  // open would make its writes fail with SQLITE_LOCKED. `vfs` may be empty. Runs no statement.
  static Result<Connection> Open(const std::string& path, int flags, const std::string& vfs,
                                 int busy_timeout_ms);
  Connection() = default;
  Connection(Connection&& other) noexcept { *this = std::move(other); }
  Connection& operator=(Connection&& other) noexcept;
  ~Connection() { Close(); }

  // True while this thread is inside Open: an auto-extension of ours must leave such a connection
  // be.
  static bool OpeningOnThisThread();

  sqlite3* get() const { return db_; }
  explicit operator bool() const { return db_ != nullptr; }
  void Close();
  // Runs statements, ignoring rows.
  Status Exec(const char* sql);
  Result<Statement> Prepare(const char* sql);
  Result<int64_t> QueryInt(const char* sql);
  Result<std::string> QueryText(const char* sql);

 private:
  sqlite3* db_ = nullptr;
};

}  // namespace sqlite_s3

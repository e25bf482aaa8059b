#pragma once
// App: an application as small as can be, one connection and what is done with it.

#include <gtest/gtest.h>

#include <string>

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

class App {
 public:
  App() = default;
  explicit App(const std::string& path, int flags = 0, const char* vfs = nullptr) {
    Open(path, flags, vfs);
  }
  ~App() { sqlite3_close_v2(db_); }
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  void Open(const std::string& path, int flags = 0, const char* vfs = nullptr) {
    int rc = sqlite3_open_v2(
        path.c_str(), &db_,
        flags != 0 ? flags : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, vfs);
    ASSERT_EQ(rc, SQLITE_OK) << path;
    sqlite3_busy_timeout(db_, 10'000);
  }
  // A new database in WAL mode with a table t(x), opened.
  void Create(const std::string& path) {
    Open(path);
    Do("PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
  }
  int Close() {
    int rc = sqlite3_close(db_);
    if (rc == SQLITE_OK) {
      db_ = nullptr;
    }
    return rc;
  }
  void CloseV2() {
    sqlite3_close_v2(db_);
    db_ = nullptr;
  }
  // Must work.
  void Do(const std::string& sql) {
    EXPECT_EQ(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(db_);
  }
  void Insert(int n = 1) {
    for (int i = 0; i < n; ++i) {
      Do("INSERT INTO t VALUES(1)");
    }
  }
  // First column of the first row; must work.
  std::string Ask(const std::string& sql) {
    std::string answer = Try(sql);
    EXPECT_EQ(code_, SQLITE_OK) << sql << ": " << answer;
    return answer;
  }
  // The same, or SQLite's message; the code is in code().
  std::string Try(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    std::string answer;
    code_ = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
    if (code_ == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
      const unsigned char* text = sqlite3_column_text(statement, 0);
      answer = text != nullptr ? reinterpret_cast<const char*>(text) : "NULL";
      while (sqlite3_step(statement) == SQLITE_ROW) {
      }
    }
    int finalized = sqlite3_finalize(statement);
    code_ = code_ != SQLITE_OK ? code_ : finalized;
    return code_ == SQLITE_OK ? answer : sqlite3_errmsg(db_);
  }
  sqlite3_stmt* Prepare(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr), SQLITE_OK) << sql;
    return statement;
  }
  int code() const { return code_; }
  sqlite3* db() const { return db_; }

 private:
  sqlite3* db_ = nullptr;
  int code_ = SQLITE_OK;
};

}  // namespace sqlite_s3

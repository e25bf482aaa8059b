#pragma once
// IndexedTable: the workloads of docs/FORMAT.md's measurements: a table of many rows with two
// secondary indexes, one insert or one single-column update by key per commit.

#include <fmt/format.h>

#include <random>
#include <string>
#include <vector>

#include "bench/support.h"

namespace sqlite_s3::bench {

// Dies when SQLite says no.
class IndexedTable {
 public:
  IndexedTable(sqlite3* db, int rows) : db_(db), rows_(rows) {
    Run("CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT, k INT, v REAL, ts TEXT)");
    Run("CREATE INDEX i ON t(u)");
    Run("CREATE INDEX j ON t(k)");
    for (int i = 0; i < 5000; ++i) {
      std::string word(3 + random_() % 8, ' ');
      for (char& c : word) {
        c = static_cast<char>('a' + random_() % 26);
      }
      words_.push_back(word);
    }
    insert_ = Prepare("INSERT INTO t(u, k, v, ts) VALUES(?1, ?2, ?3, ?4)");
    update_ = Prepare("UPDATE t SET v=?1 WHERE id=?2");
    Run("BEGIN");
    for (int i = 0; i < rows; ++i) {
      Insert();
    }
    Run("COMMIT");
  }
  ~IndexedTable() {
    sqlite3_finalize(insert_);
    sqlite3_finalize(update_);
  }
  IndexedTable(const IndexedTable&) = delete;
  IndexedTable& operator=(const IndexedTable&) = delete;

  void Insert() {
    std::string text;
    for (int i = 0; i < 8; ++i) {
      text += (i > 0 ? " " : "") + words_[random_() % words_.size()];
    }
    const std::string ts = fmt::format("2026-11-20T{:02}:{:02}", random_() % 24, random_() % 60);
    sqlite3_bind_text(insert_, 1, text.c_str(), -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(insert_, 2, static_cast<sqlite3_int64>(random_() % 1'000'000));
    sqlite3_bind_double(insert_, 3, Real());
    sqlite3_bind_text(insert_, 4, ts.c_str(), -1, SQLITE_TRANSIENT);
    Step(insert_);
  }
  void Update() {
    sqlite3_bind_double(update_, 1, Real());
    sqlite3_bind_int64(update_, 2,
                       static_cast<sqlite3_int64>(1 + random_() % static_cast<uint64_t>(rows_)));
    Step(update_);
  }

 private:
  double Real() { return std::uniform_real_distribution<double>()(random_); }
  void Run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
      Die(std::string(sql) + ": " + sqlite3_errmsg(db_));
    }
  }
  sqlite3_stmt* Prepare(const char* sql) {
    sqlite3_stmt* s = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &s, nullptr) != SQLITE_OK) {
      Die(std::string(sql) + ": " + sqlite3_errmsg(db_));
    }
    return s;
  }
  void Step(sqlite3_stmt* s) {
    if (sqlite3_step(s) != SQLITE_DONE || sqlite3_reset(s) != SQLITE_OK) {
      Die(sqlite3_errmsg(db_));
    }
  }

  sqlite3* db_;
  const int rows_;
  std::mt19937_64 random_{1};
  std::vector<std::string> words_;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* update_ = nullptr;
};

}  // namespace sqlite_s3::bench

#pragma once
// PreparedStatements: those that a connection used last, so that a statement executed many times is
// prepared once.

#include <cstddef>
#include <list>
#include <string>
#include <unordered_map>

#include "common/base/status.h"
#include "common/sqlite/sqlite_api.h"
#include "restore/sql_permissions.h"

namespace sqlite_s3 {

class PreparedStatements {
 public:
  struct Prepared {
    sqlite3_stmt* statement = nullptr;  // owned by the collection
    std::list<std::string>::iterator used;
    bool changes_schema = false;
  };

  PreparedStatements() = default;
  ~PreparedStatements() { Clear(); }
  PreparedStatements(const PreparedStatements&) = delete;
  PreparedStatements& operator=(const PreparedStatements&) = delete;

  // Good until the next call. `permissions` guard `db`. Errors: SQLite's, and kCorruption when
  // `sql` is not exactly one statement.
  Result<Prepared> Get(sqlite3* db, const std::string& sql, SqlPermissions& permissions);
  // Before the connection is closed.
  void Clear();

 private:
  std::unordered_map<std::string, Prepared> prepared_;
  std::list<std::string> recent_;  // most recently used first
};

}  // namespace sqlite_s3

#include "restore/prepared_statements.h"

#include <string_view>

#include "common/sqlite/connection.h"
#include "common/sqlite/sql_tokens.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kMostPrepared = 256;

}  // namespace

void PreparedStatements::Clear() {
  for (auto& [sql, prepared] : prepared_) {
    sqlite3_finalize(prepared.statement);
  }
  prepared_.clear();
  recent_.clear();
}

Result<PreparedStatements::Prepared> PreparedStatements::Get(sqlite3* db, const std::string& sql,
                                                             SqlPermissions& permissions) {
  auto found = prepared_.find(sql);
  if (found != prepared_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second.used);
    return found->second;
  }
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  permissions.changes_schema = false;
  const int rc = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()),
                                    SQLITE_PREPARE_PERSISTENT, &statement, &tail);
  if (rc != SQLITE_OK) {
    return SqliteStatus(rc, "prepare", db);
  }
  SqlTokenizer rest(std::string_view(sql).substr(static_cast<size_t>(tail - sql.data())));
  if (statement == nullptr || rest.NextWord().kind != SqlTokenKind::kEnd) {
    sqlite3_finalize(statement);
    return CorruptionError("not one statement");
  }
  if (prepared_.size() >= kMostPrepared) {
    auto oldest = prepared_.find(recent_.back());
    sqlite3_finalize(oldest->second.statement);
    prepared_.erase(oldest);
    recent_.pop_back();
  }
  recent_.push_front(sql);
  return prepared_[sql] = {statement, recent_.begin(), permissions.changes_schema};
}

}  // namespace sqlite_s3

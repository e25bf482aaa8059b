#pragma once
// Query: one statement of ours on an untrusted or a scratch database, row by row.

#include <cstdint>
#include <string>

#include "common/sqlite/connection.h"

namespace sqlite_s3 {

// One thread; must not outlive its connection.
class Query {
 public:
  Query(sqlite3* db, const std::string& sql) : db_(db), sql_(sql) {
    rc_ = sqlite3_prepare_v2(db, sql.c_str(), -1, &statement_, nullptr);
  }
  ~Query() { sqlite3_finalize(statement_); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  Query& Bind(int i, const std::string& text) {
    if (rc_ == SQLITE_OK) {
      rc_ = sqlite3_bind_text(statement_, i, text.data(), static_cast<int>(text.size()),
                              SQLITE_TRANSIENT);
    }
    return *this;
  }
  // False at the end, and after an error: then status() has it.
  bool Next() {
    if (rc_ != SQLITE_OK && rc_ != SQLITE_ROW) {
      return false;
    }
    rc_ = sqlite3_step(statement_);
    return rc_ == SQLITE_ROW;
  }
  Status status() const {
    return rc_ == SQLITE_OK || rc_ == SQLITE_ROW || rc_ == SQLITE_DONE
               ? Status::Ok()
               : SqliteStatus(rc_, sql_, db_);
  }
  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string Text(int column) const {  // as UTF-8
    const unsigned char* text = sqlite3_column_text(statement_, column);
    return Copy(text, sqlite3_column_bytes(statement_, column));
  }
  std::string Blob(int column) const {  // a text has the bytes of the database's encoding
    const void* bytes = sqlite3_column_blob(statement_, column);
    return Copy(bytes, sqlite3_column_bytes(statement_, column));
  }
  bool IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  sqlite3_stmt* get() const { return statement_; }

 private:
  static std::string Copy(const void* bytes, int size) {
    return bytes == nullptr
               ? std::string()
               : std::string(static_cast<const char*>(bytes), static_cast<size_t>(size));
  }
  sqlite3* db_;
  std::string sql_;
  sqlite3_stmt* statement_ = nullptr;
  int rc_ = SQLITE_OK;
};

// The settings for content of others: no trust in the schema, DEFENSIVE, limits, no extensions, and
// an end to statements that run for ever.
void HardenConnection(sqlite3* db);

}  // namespace sqlite_s3

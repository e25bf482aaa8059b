#pragma once
// ConnectionSettings: what of a connection's settings decides what its statements do, as kSetting
// bits (common/format/statements.h).
//
// PRAGMAs are seen, sqlite3_db_config() is not; what only the latter changes is asked when a PRAGMA
// is, for it is set once. A setting that is missed shows in the result of executing it again.

#include <cstdint>
#include <string>
#include <string_view>

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

// Thread-safety: as the connection's.
class ConnectionSettings {
 public:
  explicit ConnectionSettings(sqlite3* db) : db_(db) {}

  // A PRAGMA begins; `name` as PragmaName has it.
  void OnPragma(const std::string& name, std::string_view sql);
  uint32_t Now();

 private:
  void ReadSlow();

  sqlite3* const db_;
  bool stale_ = true;
  bool case_sensitive_like_ = false;
  uint32_t slow_ = 0;
};

}  // namespace sqlite_s3

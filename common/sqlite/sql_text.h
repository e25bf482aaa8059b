#pragma once
// What the statement log needs to know of SQL as text. SQLite's own normalizer is a compile-time
// option that few builds have. No parsing: what cannot be told from tokens is not told.

#include <string>
#include <string_view>

#include "common/sqlite/sql_tokens.h"

namespace sqlite_s3 {

// What a transaction control statement is.
enum class SqlControl { kNone, kBegin, kCommit, kRollback, kSavepoint, kRelease, kRollbackTo };
struct SqlControlStatement {
  SqlControl kind = SqlControl::kNone;
  std::string savepoint;  // name, unquoted
};
// Cheap for statements that are none.
SqlControlStatement ParseControl(std::string_view sql);
// Whether it is a PRAGMA. Looks no further into other statements than their first word.
bool IsPragma(std::string_view sql) noexcept;
// Whether it is "PRAGMA [schema.]name" with a value.
bool SetsPragma(std::string_view sql, std::string_view name) noexcept;
// The name of a PRAGMA, lower case, without its schema; empty for other statements.
std::string PragmaName(std::string_view sql);

// The statement as it may be shown to anybody: literals are "?", comments are gone. A double-quoted
// word is kept only where it must be a name.
struct RedactedSql {
  std::string sql;
  bool redacted = false;  // something was taken out
};
RedactedSql RedactSql(std::string_view sql);

// Whether a function of this name (lower case) is called in it.
bool MentionsFunction(std::string_view sql, std::string_view name);
// Whether a name in it is called that gives another result each time, random() and the like.
bool IsUnrepeatable(std::string_view sql);
// Whether a name in it fits one of the patterns, joined by ':', with * and ?.
bool NamesOneOf(std::string_view sql, std::string_view patterns);

}  // namespace sqlite_s3

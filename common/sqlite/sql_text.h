#pragma once
// SQL as text: SQLite's tokens (sqlite.org/lang_keywords.html; the rules are those of its own
// tokenizer), and what the statement log needs of them. SQLite's own normalizer is a compile-time
// option that few builds have. No parsing: what cannot be told from tokens is not told.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"

namespace sqlite_s3 {

enum class SqlTokenKind {
  kEnd,
  kBlank,         // white space
  kComment,       // also one without an end
  kWord,          // keyword or name
  kQuotedName,    // `name` or [name]
  kDoubleQuoted,  // a name, or a string where there is no such name
  kString,        // 'text'
  kBlob,          // x'00'
  kNumber,
  kParameter,  // ? ?1 :a @a $a
  kOther,      // one character of an operator, or something SQLite does not know
};

struct SqlToken {
  SqlTokenKind kind = SqlTokenKind::kEnd;
  std::string_view text;
};

// Takes tokens off a text, until kEnd. Any bytes are taken; all tokens together are the text.
class SqlTokenizer {
 public:
  explicit SqlTokenizer(std::string_view sql) : rest_(sql) {}
  SqlToken Next();
  // The next one that is neither white space nor a comment.
  SqlToken NextWord();
  std::string_view rest() const { return rest_; }

 private:
  size_t Length(SqlTokenKind* kind) const;
  std::string_view rest_;
};

// ASCII letters only, as SQLite compares names.
bool EqualsIgnoringCase(std::string_view a, std::string_view b);
// The name without its quotes, which may be of any kind.
std::string UnquoteName(const SqlToken& token);

// What a transaction control statement is.
enum class SqlControl { kNone, kBegin, kCommit, kRollback, kSavepoint, kRelease, kRollbackTo };
struct SqlControlStatement {
  SqlControl kind = SqlControl::kNone;
  std::string savepoint;  // name, unquoted
};
// Cheap for statements that are none.
SqlControlStatement ParseControl(std::string_view sql);
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

// What sqlite3_expanded_sql() put in place of the parameters: `expanded` is `sql` with each
// parameter replaced by a literal.
struct ExpandedValue {
  enum class Type { kNull, kInteger, kReal, kText, kBlob } type = Type::kNull;
  int64_t integer = 0;
  double real = 0;
  std::string bytes;
};
// By parameter number, from 1 at index 0. nullopt when the two do not fit each other.
std::optional<std::vector<ExpandedValue>> ValuesOf(std::string_view sql, std::string_view expanded);

}  // namespace sqlite_s3

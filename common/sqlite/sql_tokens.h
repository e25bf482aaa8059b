#pragma once
// SQLite's tokens (sqlite.org/lang_keywords.html; the rules are those of its own tokenizer).

#include <string>
#include <string_view>

#include "common/base/ascii.h"

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

// The name without its quotes, which may be of any kind; a token that has none as it is.
std::string UnquoteName(const SqlToken& token);

}  // namespace sqlite_s3

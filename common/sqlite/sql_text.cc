#include "common/sqlite/sql_text.h"

#include <algorithm>

#include "common/base/ascii.h"

namespace sqlite_s3 {
namespace {

// Words after which a name must come, so that a double-quoted one is no string.
bool WantsName(std::string_view word) {
  for (const char* w :
       {"into",    "update",    "from",       "join",    "table",   "index",      "view",
        "trigger", "as",        "references", "column",  "exists",  "to",         "rename",
        "add",     "savepoint", "release",    "reindex", "analyze", "constraint", "using"}) {
    if (EqualsIgnoringCase(word, w)) {
      return true;
    }
  }
  return false;
}

// What the tokens before tell about the place of a double-quoted word.
class NamePlaces {
 public:
  // Whether a double-quoted word is surely a name here. `next`: the token after it.
  bool SurelyName(const SqlToken& next) const {
    return last_ == "." || next.text == "." || WantsName(last_) || in_list_ ||
           (in_set_ && depth_ == 0 && (EqualsIgnoringCase(last_, "set") || last_ == ",")) ||
           (in_columns_ && depth_ == 1 && (last_ == "(" || last_ == ","));
  }
  void See(const SqlToken& token) {
    if (token.text == "(") {
      ++depth_;
      // After INTO name: a list of columns. After CREATE TABLE name: definitions.
      in_list_ = after_into_ && depth_ == 1;
      in_columns_ = in_columns_ || (after_table_ && depth_ == 1);
      after_into_ = after_table_ = false;
    } else if (token.text == ")") {
      depth_ = std::max(0, depth_ - 1);
      in_list_ = false;
      in_columns_ = in_columns_ && depth_ > 0;
    } else if (token.kind == SqlTokenKind::kWord) {
      if (EqualsIgnoringCase(token.text, "into")) {
        after_into_ = true;
      } else if (EqualsIgnoringCase(token.text, "table")) {
        after_table_ = true;
      } else if (EqualsIgnoringCase(token.text, "set")) {
        in_set_ = true;
      } else if (EqualsIgnoringCase(token.text, "where") ||
                 EqualsIgnoringCase(token.text, "from") ||
                 EqualsIgnoringCase(token.text, "returning")) {
        in_set_ = false;
      } else if (EqualsIgnoringCase(token.text, "values") ||
                 EqualsIgnoringCase(token.text, "select") || EqualsIgnoringCase(token.text, "as") ||
                 EqualsIgnoringCase(token.text, "default")) {
        after_into_ = after_table_ = false;
      }
    }
    last_ = token.text;
  }

 private:
  int depth_ = 0;
  bool after_into_ = false, after_table_ = false;
  bool in_list_ = false, in_columns_ = false, in_set_ = false;
  std::string_view last_;
};

bool Matches(std::string_view name, std::string_view pattern) {
  size_t n = 0, p = 0;
  size_t star = std::string_view::npos, mark = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || ToLower(pattern[p]) == ToLower(name[n])) &&
        pattern[p] != '*') {
      ++n;
      ++p;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool IsName(SqlTokenKind kind) {
  return kind == SqlTokenKind::kWord || kind == SqlTokenKind::kQuotedName ||
         kind == SqlTokenKind::kDoubleQuoted;
}

// Empty statements before it are part of the one that SQLite prepares.
SqlToken FirstWord(SqlTokenizer& tokens) {
  SqlToken word = tokens.NextWord();
  while (word.text == ";") {
    word = tokens.NextWord();
  }
  return word;
}

struct Pragma {
  SqlToken name, next;  // kEnd: it is none
};

Pragma ReadPragma(std::string_view sql) {
  SqlTokenizer tokens(sql);
  if (!EqualsIgnoringCase(FirstWord(tokens).text, "pragma")) {
    return {};
  }
  Pragma pragma{tokens.NextWord(), tokens.NextWord()};
  if (pragma.next.text == ".") {
    pragma = {tokens.NextWord(), tokens.NextWord()};
  }
  return pragma;
}

}  // namespace

SqlControlStatement ParseControl(std::string_view sql) {
  SqlTokenizer tokens(sql);
  const SqlToken word = FirstWord(tokens);
  SqlControlStatement out;
  if (word.kind != SqlTokenKind::kWord) {
    return out;
  }
  const auto name_after = [&](std::string_view optional) {
    SqlToken token = tokens.NextWord();
    if (EqualsIgnoringCase(token.text, optional)) {
      const SqlToken next = tokens.NextWord();
      if (next.kind != SqlTokenKind::kEnd && next.text != ";") {
        token = next;
      }
    }
    return UnquoteName(token);
  };
  if (EqualsIgnoringCase(word.text, "begin")) {
    out.kind = SqlControl::kBegin;
  } else if (EqualsIgnoringCase(word.text, "commit") || EqualsIgnoringCase(word.text, "end")) {
    out.kind = SqlControl::kCommit;
  } else if (EqualsIgnoringCase(word.text, "savepoint")) {
    out = {SqlControl::kSavepoint, UnquoteName(tokens.NextWord())};
  } else if (EqualsIgnoringCase(word.text, "release")) {
    out = {SqlControl::kRelease, name_after("savepoint")};
  } else if (EqualsIgnoringCase(word.text, "rollback")) {
    out.kind = SqlControl::kRollback;
    for (SqlToken t = tokens.NextWord(); t.kind != SqlTokenKind::kEnd; t = tokens.NextWord()) {
      if (EqualsIgnoringCase(t.text, "to")) {
        out = {SqlControl::kRollbackTo, name_after("savepoint")};
        break;
      }
    }
  }
  return out;
}

bool IsPragma(std::string_view sql) noexcept {
  SqlTokenizer tokens(sql);
  return EqualsIgnoringCase(FirstWord(tokens).text, "pragma");
}

bool SetsPragma(std::string_view sql, std::string_view name) noexcept {
  const Pragma pragma = ReadPragma(sql);
  std::string_view text = pragma.name.text;
  if (pragma.name.kind != SqlTokenKind::kWord && text.size() > 2) {
    text = text.substr(1, text.size() - 2);  // UnquoteName without memory: no name has quotes in it
  }
  return EqualsIgnoringCase(text, name) && (pragma.next.text == "=" || pragma.next.text == "(");
}

std::string PragmaName(std::string_view sql) { return ToLower(UnquoteName(ReadPragma(sql).name)); }

RedactedSql RedactSql(std::string_view sql) {
  RedactedSql out;
  out.sql.reserve(sql.size());
  SqlTokenizer tokens(sql);
  NamePlaces places;
  for (SqlToken token = tokens.Next(); token.kind != SqlTokenKind::kEnd; token = tokens.Next()) {
    bool hide = false;
    switch (token.kind) {
      case SqlTokenKind::kComment:
        // As white space, so that words do not run together; what it said decides nothing.
        out.sql += ' ';
        continue;
      case SqlTokenKind::kBlank:
        out.sql += token.text;
        continue;
      case SqlTokenKind::kString:
      case SqlTokenKind::kBlob:
      case SqlTokenKind::kNumber:
        hide = true;
        break;
      case SqlTokenKind::kDoubleQuoted: {
        SqlTokenizer ahead = tokens;
        hide = !places.SurelyName(ahead.NextWord());
        break;
      }
      default:
        break;
    }
    out.sql += hide ? std::string_view("?") : token.text;
    out.redacted = out.redacted || hide;
    places.See(token);
  }
  return out;
}

bool MentionsFunction(std::string_view sql, std::string_view name) {
  SqlTokenizer tokens(sql);
  for (SqlToken token = tokens.NextWord(); token.kind != SqlTokenKind::kEnd;
       token = tokens.NextWord()) {
    if (token.text.size() >= name.size() && IsName(token.kind) &&
        EqualsIgnoringCase(UnquoteName(token), name)) {
      SqlTokenizer ahead = tokens;
      if (ahead.NextWord().text == "(") {
        return true;
      }
    }
  }
  return false;
}

bool IsUnrepeatable(std::string_view sql) {
  return MentionsFunction(sql, "random") || MentionsFunction(sql, "randomblob") ||
         MentionsFunction(sql, "changes") || MentionsFunction(sql, "total_changes");
}

bool NamesOneOf(std::string_view sql, std::string_view patterns) {
  if (patterns.empty()) {
    return false;
  }
  SqlTokenizer tokens(sql);
  for (SqlToken token = tokens.NextWord(); token.kind != SqlTokenKind::kEnd;
       token = tokens.NextWord()) {
    // 'name' is taken for a name where one must be.
    if (!IsName(token.kind) && token.kind != SqlTokenKind::kString) {
      continue;
    }
    const std::string name = UnquoteName(token);
    for (std::string_view rest = patterns; !rest.empty();) {
      const size_t end = std::min(rest.find(':'), rest.size());
      if (end > 0 && Matches(name, rest.substr(0, end))) {
        return true;
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return false;
}

}  // namespace sqlite_s3

#include "common/sqlite/sql_text.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <map>

namespace sqlite_s3 {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
// What names are made of; every byte of a character beyond ASCII is.
bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IsDigit(c) || c == '_' || c == '$' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

size_t QuotedLength(std::string_view s) {
  const char quote = s[0];
  for (size_t i = 1; i < s.size(); ++i) {
    if (s[i] == quote) {
      if (i + 1 < s.size() && s[i + 1] == quote) {
        ++i;
      } else {
        return i + 1;
      }
    }
  }
  return s.size();
}

size_t NumberLength(std::string_view s) {
  size_t i = 0;
  if (s.size() > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && IsHex(s[2])) {
    i = 3;
    while (i < s.size() && IsHex(s[i])) ++i;
  } else {
    while (i < s.size() && IsDigit(s[i])) ++i;
    if (i < s.size() && s[i] == '.') {
      ++i;
      while (i < s.size() && IsDigit(s[i])) ++i;
    }
    if (i + 1 < s.size() && (s[i] == 'e' || s[i] == 'E')) {
      const size_t sign = s[i + 1] == '+' || s[i + 1] == '-' ? 1 : 0;
      if (i + 1 + sign < s.size() && IsDigit(s[i + 1 + sign])) {
        i += 2 + sign;
        while (i < s.size() && IsDigit(s[i])) ++i;
      }
    }
  }
  while (i < s.size() && IsNameChar(s[i])) ++i;  // an error for SQLite; one token in any case
  return i;
}

size_t ParameterLength(std::string_view s) {
  size_t i = 1;
  if (s[0] == '?') {
    while (i < s.size() && IsDigit(s[i])) ++i;
    return i;
  }
  size_t letters = 0;
  for (; i < s.size(); ++i) {
    if (IsNameChar(s[i])) {
      ++letters;
    } else if (s[i] == '(' && letters > 0) {  // Tcl's: $a(b)
      do {
        ++i;
      } while (i < s.size() && !IsBlank(s[i]) && s[i] != ')');
      if (i < s.size() && s[i] == ')') ++i;
      break;
    } else if (s[i] == ':' && i + 1 < s.size() && s[i + 1] == ':') {
      ++i;
    } else {
      break;
    }
  }
  return letters > 0 ? i : 1;
}

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
    if (p < pattern.size() && (pattern[p] == '?' || Lower(pattern[p]) == Lower(name[n])) &&
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

int HexValue(char c) { return IsDigit(c) ? c - '0' : Lower(c) - 'a' + 10; }

// One literal as sqlite3_expanded_sql writes it, taken off `text`.
std::optional<ExpandedValue> TakeLiteral(std::string_view& text) {
  using Type = ExpandedValue::Type;
  ExpandedValue value;
  const std::string_view before = text;
  const bool negative = !text.empty() && text[0] == '-';
  SqlTokenizer tokens(text.substr(negative ? 1 : 0));
  const SqlToken token = tokens.Next();
  size_t used = token.text.size() + (negative ? 1 : 0);
  if (token.kind == SqlTokenKind::kNumber) {
    const std::string number(before.substr(0, used));
    if (token.text.find_first_of(".eE") == std::string_view::npos) {
      value.type = Type::kInteger;
      const auto parsed =
          std::from_chars(number.data(), number.data() + number.size(), value.integer);
      if (parsed.ec != std::errc() || parsed.ptr != number.data() + number.size()) {
        return std::nullopt;
      }
    } else {
      value.type = Type::kReal;
      const auto parsed = std::from_chars(number.data(), number.data() + number.size(), value.real);
      if (parsed.ptr != number.data() + number.size()) {
        return std::nullopt;
      }
    }
  } else if (token.kind == SqlTokenKind::kWord && EqualsIgnoringCase(token.text, "inf")) {
    value.type = Type::kReal;
    value.real = negative ? -std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::infinity();
  } else if (negative) {
    return std::nullopt;
  } else if (token.kind == SqlTokenKind::kWord && EqualsIgnoringCase(token.text, "null")) {
    value.type = Type::kNull;
  } else if (token.kind == SqlTokenKind::kString) {
    value.type = Type::kText;
    value.bytes = UnquoteName(token);
  } else if (token.kind == SqlTokenKind::kBlob) {
    value.type = Type::kBlob;
    const std::string_view hex = token.text.substr(2, token.text.size() - 3);
    for (size_t i = 0; i + 1 < hex.size(); i += 2) {
      value.bytes += static_cast<char>(HexValue(hex[i]) << 4 | HexValue(hex[i + 1]));
    }
  } else if (token.kind == SqlTokenKind::kWord && token.text == "zeroblob") {
    constexpr size_t kMostZeros = 64 << 20;
    const SqlToken open = tokens.Next();
    const SqlToken count = tokens.Next();
    const SqlToken close = tokens.Next();
    size_t zeros = 0;
    std::from_chars(count.text.data(), count.text.data() + count.text.size(), zeros);
    if (open.text != "(" || close.text != ")" || count.kind != SqlTokenKind::kNumber ||
        zeros > kMostZeros) {
      return std::nullopt;
    }
    value.type = Type::kBlob;
    value.bytes.assign(zeros, '\0');
    used = text.size() - tokens.rest().size();
  } else {
    return std::nullopt;
  }
  text.remove_prefix(used);
  return value;
}

}  // namespace

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Lower(x) == Lower(y); });
}

size_t SqlTokenizer::Length(SqlTokenKind* kind) const {
  const std::string_view s = rest_;
  const char c = s[0];
  const char next = s.size() > 1 ? s[1] : '\0';
  size_t i = 1;
  if (IsBlank(c)) {
    *kind = SqlTokenKind::kBlank;
    while (i < s.size() && IsBlank(s[i])) ++i;
    return i;
  }
  if (c == '-' && next == '-') {
    *kind = SqlTokenKind::kComment;
    const size_t end = s.find('\n');
    return end == std::string_view::npos ? s.size() : end;
  }
  if (c == '/' && next == '*' && s.size() > 2) {
    *kind = SqlTokenKind::kComment;
    const size_t end = s.find("*/", 2);
    return end == std::string_view::npos ? s.size() : end + 2;
  }
  if (c == '\'' || c == '"' || c == '`') {
    *kind = c == '\''  ? SqlTokenKind::kString
            : c == '"' ? SqlTokenKind::kDoubleQuoted
                       : SqlTokenKind::kQuotedName;
    return QuotedLength(s);
  }
  if (c == '[') {
    *kind = SqlTokenKind::kQuotedName;
    const size_t end = s.find(']');
    return end == std::string_view::npos ? s.size() : end + 1;
  }
  if (IsDigit(c) || (c == '.' && IsDigit(next))) {
    *kind = SqlTokenKind::kNumber;
    return NumberLength(s);
  }
  if ((c == 'x' || c == 'X') && next == '\'') {
    *kind = SqlTokenKind::kBlob;
    return 1 + QuotedLength(s.substr(1));
  }
  if (c == '?' || c == ':' || c == '@' || c == '#' || c == '$') {
    *kind = SqlTokenKind::kParameter;
    i = ParameterLength(s);
    if (i == 1 && c != '?') {
      *kind = SqlTokenKind::kOther;
    }
    return i;
  }
  if (IsNameChar(c)) {
    *kind = SqlTokenKind::kWord;
    while (i < s.size() && IsNameChar(s[i])) ++i;
    return i;
  }
  *kind = SqlTokenKind::kOther;
  return 1;
}

SqlToken SqlTokenizer::Next() {
  SqlToken token;
  if (rest_.empty()) {
    return token;
  }
  token.text = rest_.substr(0, Length(&token.kind));
  rest_.remove_prefix(token.text.size());
  return token;
}

SqlToken SqlTokenizer::NextWord() {
  SqlToken token;
  do {
    token = Next();
  } while (token.kind == SqlTokenKind::kBlank || token.kind == SqlTokenKind::kComment);
  return token;
}

std::string UnquoteName(const SqlToken& token) {
  std::string_view text = token.text;
  if (text.size() < 2 || token.kind == SqlTokenKind::kWord) {
    return std::string(text);
  }
  const char quote = text[0];
  const char end = quote == '[' ? ']' : quote;
  std::string out;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == end) {
      if (i + 1 == text.size()) {
        break;
      }
      ++i;  // doubled
    }
    out += text[i];
  }
  return out;
}

SqlControlStatement ParseControl(std::string_view sql) {
  SqlTokenizer tokens(sql);
  SqlToken word = tokens.NextWord();
  while (word.text == ";") {
    word = tokens.NextWord();
  }
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

std::string PragmaName(std::string_view sql) {
  SqlTokenizer tokens(sql);
  SqlToken word = tokens.NextWord();
  while (word.text == ";") {
    word = tokens.NextWord();
  }
  if (!EqualsIgnoringCase(word.text, "pragma")) {
    return {};
  }
  std::string name = UnquoteName(tokens.NextWord());
  SqlToken dot = tokens.NextWord();
  if (dot.text == ".") {
    name = UnquoteName(tokens.NextWord());
  }
  std::transform(name.begin(), name.end(), name.begin(), Lower);
  return name;
}

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

std::optional<std::vector<ExpandedValue>> ValuesOf(std::string_view sql,
                                                   std::string_view expanded) {
  constexpr size_t kMostParameters = 32766;  // SQLite's default limit
  std::vector<ExpandedValue> values;
  std::map<std::string_view, size_t> numbers;
  size_t last = 0;
  SqlTokenizer tokens(sql);
  for (SqlToken token = tokens.Next(); token.kind != SqlTokenKind::kEnd; token = tokens.Next()) {
    if (token.kind != SqlTokenKind::kParameter) {
      if (expanded.substr(0, token.text.size()) != token.text) {
        return std::nullopt;
      }
      expanded.remove_prefix(token.text.size());
      continue;
    }
    size_t number = 0;
    if (token.text == "?") {
      number = last + 1;
    } else if (token.text[0] == '?') {
      std::from_chars(token.text.data() + 1, token.text.data() + token.text.size(), number);
    } else {
      number = numbers.try_emplace(token.text, last + 1).first->second;
    }
    std::optional<ExpandedValue> value = TakeLiteral(expanded);
    if (number == 0 || number > kMostParameters || !value) {
      return std::nullopt;
    }
    last = std::max(last, number);
    values.resize(std::max(values.size(), number));
    values[number - 1] = std::move(*value);
  }
  if (!expanded.empty()) {
    return std::nullopt;
  }
  return values;
}

}  // namespace sqlite_s3

#include "common/sqlite/sql_tokens.h"

namespace sqlite_s3 {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'; }
bool IsHex(char c) { return HexDigitValue(c) >= 0; }
// What names are made of; every byte of a character beyond ASCII is.
bool IsNameChar(char c) {
  return IsAlphanumeric(c) || c == '_' || c == '$' || (static_cast<unsigned char>(c) & 0x80) != 0;
}

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

}  // namespace

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
  const bool quoted = token.kind == SqlTokenKind::kQuotedName ||
                      token.kind == SqlTokenKind::kDoubleQuoted ||
                      token.kind == SqlTokenKind::kString;
  if (text.size() < 2 || !quoted) {
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

}  // namespace sqlite_s3

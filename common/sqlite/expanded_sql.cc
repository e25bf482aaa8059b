#include "common/sqlite/expanded_sql.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <utility>

#include "common/base/ascii.h"
#include "common/sqlite/sql_tokens.h"

namespace sqlite_s3 {
namespace {

// One literal as sqlite3_expanded_sql writes it, taken off `text`.
std::optional<ExpandedValue> TakeLiteral(std::string_view& text) {
  using Type = ExpandedValue::Type;
  ExpandedValue value;
  const std::string_view before = text;
  const bool negative = !text.empty() && text[0] == '-';
  SqlTokenizer tokens(text.substr(negative ? 1 : 0));
  const SqlToken token = tokens.Next();
  size_t used = token.text.size() + (negative ? 1 : 0);
  const bool infinite = token.kind == SqlTokenKind::kWord && EqualsIgnoringCase(token.text, "inf");
  if (negative && token.kind != SqlTokenKind::kNumber && !infinite) {
    return std::nullopt;
  }
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
  } else if (infinite) {
    value.type = Type::kReal;
    value.real = negative ? -std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::infinity();
  } else if (token.kind == SqlTokenKind::kWord && EqualsIgnoringCase(token.text, "null")) {
    value.type = Type::kNull;
  } else if (token.kind == SqlTokenKind::kString) {
    value.type = Type::kText;
    value.bytes = UnquoteName(token);
  } else if (token.kind == SqlTokenKind::kBlob) {
    value.type = Type::kBlob;
    const std::string_view hex = token.text.substr(2, token.text.size() - 3);
    for (size_t i = 0; i + 1 < hex.size(); i += 2) {
      value.bytes += static_cast<char>(HexDigitValue(hex[i]) << 4 | HexDigitValue(hex[i + 1]));
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

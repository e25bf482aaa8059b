#pragma once
// The values of a statement's parameters, read from what sqlite3_expanded_sql() makes of it: the
// only way to them from a trace callback.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sqlite_s3 {

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

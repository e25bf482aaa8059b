#pragma once
// The grammar below every option: key=value pairs, percent-encoded. Pure functions.

#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace sqlite_s3 {

struct KeyValue {
  std::string key;
  std::string value;
};

// 'text' for a message: control characters and bytes beyond ASCII as %XX, cut at 64 characters.
std::string Quoted(std::string_view text);

// %XX becomes a byte; '+' stays '+'. kInvalidArgument (without the text, which may be a secret) for
// a
// '%' that two hex digits do not follow, and for a NUL.
Result<std::string> PercentDecode(std::string_view text);
// Encodes what the grammar would split at or decode: separators, white space, '%', '#', '?',
// control characters. PercentDecode gives the text back.
std::string PercentEncode(std::string_view text);

// Splits at any of `separators`; empty pairs are skipped; keys and values are decoded. `where`
// names the spelling in messages ("replica URL", "options"). kInvalidArgument for a pair without
// '=' or without a key, a key given twice, and wrong percent-encoding. Never prints a value.
Result<std::vector<KeyValue>> ParseKeyValues(std::string_view text, std::string_view separators,
                                             std::string_view where);
inline constexpr std::string_view kQuerySeparators = "&";
inline constexpr std::string_view kOptionSeparators = ",;& \t\r\n";

// Whether a key's value must never be printed, going by the key alone.
bool LooksSecret(std::string_view key);

}  // namespace sqlite_s3

#pragma once
// What must be known of a TOML text before a parser sees it.

#include <cstddef>
#include <optional>
#include <string_view>

namespace sqlite_s3 {

// The line, from 1, of the first character beyond ASCII where TOML 1.0 allows none: outside strings
// and comments, and after a '\' in a """string""". toml++ 3.3 asks whether such a character is
// white space, and for those from U+00A1 to U+0499 its answer is undefined behaviour. A byte order
// mark at the start is allowed. Nothing is said of texts that are wrong in other ways.
std::optional<size_t> LineOfMisplacedCharacter(std::string_view toml);

}  // namespace sqlite_s3

#pragma once
// Values as a database file has them (fileformat2, section 2.1), and as SQL literals that give
// exactly the same value back.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"

namespace sqlite_s3 {

enum class TextEncoding : uint8_t { kUtf8 = 1, kUtf16Le = 2, kUtf16Be = 3 };

struct Value {
  enum class Type : uint8_t { kNull, kInteger, kReal, kText, kBlob };
  Type type = Type::kNull;
  int64_t integer = 0;
  double real = 0;
  std::string bytes;  // text in the database's encoding, or the blob

  static Value Integer(int64_t value) {
    Value v;
    v.type = Type::kInteger;
    v.integer = value;
    return v;
  }
  // Bit for bit: what is shown as equal is equal.
  bool operator==(const Value& other) const;
};

// The fields of a record; what the header leaves out at the end is not there. kCorruption when the
// record is not whole. A NaN reads as NULL, as SQLite reads it.
Result<std::vector<Value>> DecodeRecord(ByteSpan record);

// UTF-8 of a text, or nothing when its bytes are not valid in their encoding or hold a NUL.
std::optional<std::string> TextToUtf8(std::string_view bytes, TextEncoding encoding);

// A literal, or for what has none an expression of constants: text that is not valid, or that holds
// control characters (a terminal would obey them; newline and tab stay), is CAST(x'...' AS TEXT),
// which takes the bytes as of the database's own encoding; infinities are 9.0e+999.
std::string SqlLiteral(const Value& value, TextEncoding encoding);
std::string SqlText(std::string_view utf8);        // 'it''s'
std::string SqlIdentifier(std::string_view utf8);  // "a ""b"""
// For headings on a terminal: control characters become '?'.
std::string Printable(std::string_view utf8);
// Whether Printable would change anything.
bool HasControlCharacters(std::string_view utf8);

}  // namespace sqlite_s3

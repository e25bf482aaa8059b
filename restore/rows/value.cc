#include "restore/rows/value.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdlib>

#include "common/sqlite/connection.h"
#include "restore/rows/varint.h"

namespace sqlite_s3 {
namespace {

uint64_t LoadBe(ByteSpan bytes) {
  uint64_t value = 0;
  for (const uint8_t byte : bytes) {
    value = value << 8 | byte;
  }
  return value;
}

uint64_t SerialBytes(uint64_t type) {
  constexpr uint8_t kBytes[12] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};
  return type < 12 ? kBytes[type] : (type - 12) / 2;
}

Value DecodeValue(uint64_t type, ByteSpan bytes) {
  Value value;
  if (type >= 12) {
    value.type = type % 2 == 0 ? Value::Type::kBlob : Value::Type::kText;
    value.bytes.assign(AsText(bytes));
  } else if (type == 7) {
    value.real = std::bit_cast<double>(LoadBe(bytes));
    value.type = std::isnan(value.real) ? Value::Type::kNull : Value::Type::kReal;
  } else if (type >= 8) {
    value = Value::Integer(type == 9 ? 1 : 0);
  } else if (type >= 1) {
    const unsigned shift = 64 - 8 * static_cast<unsigned>(bytes.size());
    value = Value::Integer(static_cast<int64_t>(LoadBe(bytes) << shift) >> shift);
  }
  return value;
}

void AppendUtf8(uint32_t c, std::string& out) {
  const auto add = [&](uint32_t byte) { out += static_cast<char>(static_cast<uint8_t>(byte)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xc0 | c >> 6);
    add(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    add(0xe0 | c >> 12);
    add(0x80 | (c >> 6 & 0x3f));
    add(0x80 | (c & 0x3f));
  } else {
    add(0xf0 | c >> 18);
    add(0x80 | (c >> 12 & 0x3f));
    add(0x80 | (c >> 6 & 0x3f));
    add(0x80 | (c & 0x3f));
  }
}

// Length of the UTF-8 character at the front and the character; 0 when it is malformed.
size_t Utf8At(std::string_view text, uint32_t* character) {
  const auto byte = [&](size_t i) -> uint32_t { return static_cast<uint8_t>(text[i]); };
  const uint32_t lead = byte(0);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xc2 ? 0
                        : lead < 0xe0 ? 2
                        : lead < 0xf0 ? 3
                        : lead < 0xf5 ? 4
                                      : 0;
  if (length == 0 || length > text.size()) {
    return 0;
  }
  uint32_t c = length == 1 ? lead : lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return 0;
    }
    c = c << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLeast[5] = {0, 0, 0x80, 0x800, 0x10000};
  if (c < kLeast[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
    return 0;
  }
  *character = c;
  return length;
}

bool IsControl(uint32_t c) {
  // U+2028.. and the marks that turn the direction of text around fool a reader, too.
  return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0) ||
         (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xfeff ||
         // Of these SQLite makes another one where it converts UTF-8 to the database's UTF-16.
         c == 0xfffe || c == 0xffff;
}

// What SQLite makes of the text, asked of SQLite itself: its conversion is not always the nearest.
double AsSqliteReads(const std::string& text) {
  thread_local Connection db = [] {
    auto opened = Connection::Open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 0);
    return opened.ok() ? std::move(*opened) : Connection();
  }();
  double value = std::nan("");
  sqlite3_stmt* statement = nullptr;
  const std::string sql = "SELECT " + text;
  if (db && sqlite3_prepare_v2(db.get(), sql.c_str(), -1, &statement, nullptr) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW) {
    value = sqlite3_column_double(statement, 0);
  }
  sqlite3_finalize(statement);
  return value;
}

std::string RealLiteral(double value) {
  if (std::isinf(value)) {
    return value > 0 ? "9.0e+999" : "-9.0e+999";
  }
  const auto same = [&](const std::string& text) {
    return std::bit_cast<uint64_t>(AsSqliteReads(text)) == std::bit_cast<uint64_t>(value);
  };
  for (const int digits : {15, 17, 19}) {
    std::string text = fmt::format("{:.{}g}", value, digits);
    if (text.find_first_of(".e") == std::string::npos) {
      text += ".0";
    } else if (const size_t e = text.find('e');
               e != std::string::npos && text.find('.') == std::string::npos) {
      text.insert(e, ".0");
    }
    if (same(text)) {
      return text;
    }
  }
  if (value == 0) {
    return "(-1.0*0.0)";  // the literal loses the sign
  }
  // A product of numbers that every conversion gets right: an integer and powers of two.
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  int shift = exponent - 53;
  std::string text = fmt::format("({:.1f}", std::ldexp(fraction, 53));
  for (; shift >= 32; shift -= 32) {
    text += "*4294967296.0";
  }
  for (; shift <= -32; shift += 32) {
    text += "/4294967296.0";
  }
  if (shift != 0) {
    text += fmt::format("{}{:.1f}", shift > 0 ? "*" : "/", std::ldexp(1.0, std::abs(shift)));
  }
  return text + ")";
}

}  // namespace

bool Value::operator==(const Value& other) const {
  if (type != other.type) {
    return false;
  }
  switch (type) {
    case Type::kNull:
      return true;
    case Type::kInteger:
      return integer == other.integer;
    case Type::kReal:
      return std::bit_cast<uint64_t>(real) == std::bit_cast<uint64_t>(other.real);
    case Type::kText:
    case Type::kBlob:
      return bytes == other.bytes;
  }
  return false;
}

Result<std::vector<Value>> DecodeRecord(ByteSpan record) {
  const auto corrupt = [] { return CorruptionError("a row is not a whole record"); };
  size_t at = 0;
  uint64_t header_bytes = 0;
  if (!ReadSqliteVarint(record, &at, &header_bytes) || header_bytes < at ||
      header_bytes > record.size()) {
    return corrupt();
  }
  const ByteSpan header = record.first(static_cast<size_t>(header_bytes));
  size_t body = header.size();
  std::vector<Value> values;
  while (at < header.size()) {
    uint64_t type = 0;
    if (!ReadSqliteVarint(header, &at, &type) || type == 10 || type == 11) {
      return corrupt();
    }
    const uint64_t bytes = SerialBytes(type);
    if (bytes > record.size() - body || values.size() >= 32768) {
      return corrupt();
    }
    values.push_back(DecodeValue(type, record.subspan(body, static_cast<size_t>(bytes))));
    body += static_cast<size_t>(bytes);
  }
  return values;
}

std::optional<std::string> TextToUtf8(std::string_view bytes, TextEncoding encoding) {
  std::string out;
  if (encoding == TextEncoding::kUtf8) {
    for (size_t i = 0; i < bytes.size();) {
      uint32_t c = 0;
      const size_t length = Utf8At(bytes.substr(i), &c);
      if (length == 0 || c == 0) {
        return std::nullopt;
      }
      i += length;
    }
    return std::string(bytes);
  }
  if (bytes.size() % 2 != 0) {
    return std::nullopt;
  }
  const auto unit = [&](size_t i) -> uint32_t {
    const auto a = static_cast<uint8_t>(bytes[i]);
    const auto b = static_cast<uint8_t>(bytes[i + 1]);
    return encoding == TextEncoding::kUtf16Le ? static_cast<uint32_t>(b) << 8 | a
                                              : static_cast<uint32_t>(a) << 8 | b;
  };
  for (size_t i = 0; i < bytes.size(); i += 2) {
    uint32_t c = unit(i);
    if (c >= 0xd800 && c < 0xe000) {
      if (c >= 0xdc00 || i + 3 >= bytes.size()) {
        return std::nullopt;
      }
      const uint32_t low = unit(i + 2);
      if (low < 0xdc00 || low >= 0xe000) {
        return std::nullopt;
      }
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
      i += 2;
    }
    if (c == 0) {
      return std::nullopt;
    }
    AppendUtf8(c, out);
  }
  return out;
}

bool HasControlCharacters(std::string_view utf8) { return Printable(utf8) != utf8; }

std::string Printable(std::string_view utf8) {
  std::string out;
  for (size_t i = 0; i < utf8.size();) {
    uint32_t c = 0;
    const size_t length = Utf8At(utf8.substr(i), &c);
    if (length == 0 || IsControl(c)) {
      out += '?';
    } else {
      out += utf8.substr(i, length);
    }
    i += length == 0 ? 1 : length;
  }
  return out;
}

std::string SqlText(std::string_view utf8) {
  std::string out = "'";
  for (const char c : utf8) {
    out += c;
    if (c == '\'') {
      out += c;
    }
  }
  return out + "'";
}

std::string SqlIdentifier(std::string_view utf8) {
  std::string out = "\"";
  for (const char c : utf8) {
    out += c;
    if (c == '"') {
      out += c;
    }
  }
  return out + "\"";
}

std::string SqlLiteral(const Value& value, TextEncoding encoding) {
  switch (value.type) {
    case Value::Type::kNull:
      return "NULL";
    case Value::Type::kInteger:
      return fmt::format("{}", value.integer);
    case Value::Type::kReal:
      return RealLiteral(value.real);
    case Value::Type::kText:
      if (const auto utf8 = TextToUtf8(value.bytes, encoding);
          utf8 && !HasControlCharacters(*utf8)) {
        return SqlText(*utf8);
      }
      return "CAST(x'" + HexEncode(AsBytes(value.bytes)) + "' AS TEXT)";
    case Value::Type::kBlob:
      return "x'" + HexEncode(AsBytes(value.bytes)) + "'";
  }
  return "NULL";
}

}  // namespace sqlite_s3

#include "common/config/key_values.h"

#include <algorithm>

#include "common/base/ascii.h"
#include "common/base/bytes.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kMaxQuoted = 64;

void AppendPercent(std::string& out, char c) {
  const auto byte = static_cast<uint8_t>(c);
  out += '%';
  out += "0123456789ABCDEF"[byte >> 4];
  out += "0123456789ABCDEF"[byte & 15];
}

bool IsPlainAscii(char c) { return c >= 0x20 && c < 0x7f; }

}  // namespace

std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, kMaxQuoted)) {
    if (IsPlainAscii(c)) {
      out += c;
    } else {
      AppendPercent(out, c);
    }
  }
  out += text.size() > kMaxQuoted ? "...'" : "'";
  return out;
}

Result<std::string> PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      auto byte = i + 2 < text.size() ? HexDecode(text.substr(i + 1, 2)) : std::nullopt;
      if (!byte) {
        return InvalidArgumentError("wrong percent-encoding at byte " + std::to_string(i) +
                                    ", hint: '%' is written %25");
      }
      c = static_cast<char>(byte->front());
      i += 2;
    }
    if (c == '\0') {
      return InvalidArgumentError("a NUL byte at byte " + std::to_string(i));
    }
    out += c;
  }
  return out;
}

std::string PercentEncode(std::string_view text) {
  std::string out;
  for (char c : text) {
    const bool control = static_cast<uint8_t>(c) < 0x20 || c == 0x7f;
    if (control || std::string_view(" ,;&%#?").find(c) != std::string_view::npos) {
      AppendPercent(out, c);
    } else {
      out += c;
    }
  }
  return out;
}

Result<std::vector<KeyValue>> ParseKeyValues(std::string_view text, std::string_view separators,
                                             std::string_view where) {
  const std::string in = " in " + std::string(where);
  std::vector<KeyValue> pairs;
  for (size_t start = 0, number = 1; start <= text.size();) {
    const size_t end = std::min(text.find_first_of(separators, start), text.size());
    const std::string_view pair = text.substr(start, end - start);
    start = end + 1;
    if (pair.empty()) {
      continue;
    }
    const size_t equals = pair.find('=');
    // A piece without '=' may be the tail of a secret that holds a separator: say where, not what.
    if (equals == std::string_view::npos || equals == 0) {
      return InvalidArgumentError("pair " + std::to_string(number) + in +
                                  " is not key=value, hint: separators inside a value are "
                                  "percent-encoded, a space is %20");
    }
    auto key = PercentDecode(pair.substr(0, equals));
    if (!key.ok()) {
      return key.status().WithContext("key " + std::to_string(number) + in);
    }
    auto value = PercentDecode(pair.substr(equals + 1));
    if (!value.ok()) {
      return value.status().WithContext("value of option " + Quoted(*key) + in);
    }
    const bool seen = std::any_of(pairs.begin(), pairs.end(),
                                  [&](const KeyValue& other) { return other.key == *key; });
    if (seen) {
      return InvalidArgumentError("option " + Quoted(*key) + " is given twice" + in);
    }
    pairs.push_back({*std::move(key), *std::move(value)});
    ++number;
  }
  return pairs;
}

bool LooksSecret(std::string_view key) {
  std::string lower(key);
  for (char& c : lower) {
    c = c == '-' ? '_' : ToLower(c);
  }
  for (std::string_view word : {"secret", "passw", "pwd", "token", "credential", "key", "auth"}) {
    if (lower.find(word) != std::string::npos) {
      return true;
    }
  }
  return false;
}

}  // namespace sqlite_s3

#include "common/base/ids.h"

#include <optional>
#include <span>

#include "common/base/bytes.h"

namespace sqlite_s3 {
namespace {

std::optional<uint64_t> ParseFixedHex(std::string_view text, size_t digits) {
  if (text.size() != digits) {
    return std::nullopt;
  }
  uint64_t value = 0;
  for (char c : text) {
    uint64_t d = 0;
    if (c >= '0' && c <= '9') {
      d = static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      d = static_cast<uint64_t>(c - 'a') + 10;
    } else {
      return std::nullopt;
    }
    value = value << 4 | d;
  }
  return value;
}

std::string FixedHex(uint64_t value, int digits) {
  std::string out(static_cast<size_t>(digits), '0');
  for (int i = digits - 1; i >= 0; --i, value >>= 4) {
    out[static_cast<size_t>(i)] = "0123456789abcdef"[value & 15];
  }
  return out;
}

}  // namespace

std::string FormatTxid(Txid txid) { return FixedHex(txid.value, 16); }

Result<Txid> ParseTxid(std::string_view text) {
  auto v = ParseFixedHex(text, 16);
  if (!v) {
    return InvalidArgumentError("not a TXID: '" + std::string(text.substr(0, 64)) +
                                "', hint: a TXID is 16 lower-case hex digits");
  }
  return Txid{*v};
}

std::string FormatTimeline(TimelineId timeline) { return FixedHex(timeline.value, 8); }

Result<TimelineId> ParseTimeline(std::string_view text) {
  auto v = ParseFixedHex(text, 8);
  if (!v) {
    return InvalidArgumentError("not a timeline: '" + std::string(text.substr(0, 64)) +
                                "', hint: a timeline is 8 lower-case hex digits");
  }
  return TimelineId{static_cast<uint32_t>(*v)};
}

std::string FormatDatabaseId(const DatabaseId& id) { return HexEncode(id.bytes); }

Result<DatabaseId> ParseDatabaseId(std::string_view text) {
  auto bytes = HexDecode(text);
  DatabaseId id;
  if (!bytes || bytes->size() != id.bytes.size()) {
    return InvalidArgumentError("not a database id: '" + std::string(text.substr(0, 64)) + "'");
  }
  std::copy(bytes->begin(), bytes->end(), id.bytes.begin());
  return id;
}

std::string FormatWriterId(WriterId id) { return FixedHex(id.value, 16); }

Result<WriterId> ParseWriterId(std::string_view text) {
  auto v = ParseFixedHex(text, 16);
  if (!v) {
    return InvalidArgumentError("not a writer id: '" + std::string(text.substr(0, 64)) + "'");
  }
  return WriterId{*v};
}

}  // namespace sqlite_s3

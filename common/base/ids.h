#pragma once
// Strong ids: numbers that must not be mixed up, and their fixed spelling.

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace sqlite_s3 {

// Number of a commit in a replica's history, dense, from 1. 0 means "none".
struct Txid {
  uint64_t value = 0;
  auto operator<=>(const Txid&) const = default;
  Txid Next() const { return {value + 1}; }
  Txid Prev() const { return {value - 1}; }  // REQUIRES: value > 0
  explicit operator bool() const { return value != 0; }
};
std::string FormatTxid(Txid txid);              // 16 lower-case hex digits
Result<Txid> ParseTxid(std::string_view text);  // exactly what FormatTxid prints; kInvalidArgument

// A line of history; 1 is the first. 0 means "none".
struct TimelineId {
  uint32_t value = 0;
  auto operator<=>(const TimelineId&) const = default;
};
std::string FormatTimeline(TimelineId timeline);  // 8 lower-case hex digits
Result<TimelineId> ParseTimeline(std::string_view text);

// SQLite's page number, from 1.
using PageNumber = uint32_t;

// SQLite never writes the page that holds byte 2^30 of the file (fileformat2, section 1.1, the
// lock-byte page). It has no content: left out of checksums, zero on restore.
inline constexpr uint64_t kLockByteOffset = uint64_t{1} << 30;
constexpr PageNumber LockBytePage(uint32_t page_size) {
  return static_cast<PageNumber>(kLockByteOffset / page_size) + 1;
}
constexpr bool IsValidPageSize(uint64_t n) { return n >= 512 && n <= 65536 && (n & (n - 1)) == 0; }

// 16 random bytes that name one database's history; in replica.json and in every object.
struct DatabaseId {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const DatabaseId&) const = default;
};
std::string FormatDatabaseId(const DatabaseId& id);  // 32 lower-case hex digits
Result<DatabaseId> ParseDatabaseId(std::string_view text);

// 8 random bytes that name one writer (one state directory's life); printed as 16 hex digits.
struct WriterId {
  uint64_t value = 0;
  auto operator<=>(const WriterId&) const = default;
};
std::string FormatWriterId(WriterId id);
Result<WriterId> ParseWriterId(std::string_view text);

}  // namespace sqlite_s3

template <>
struct std::hash<sqlite_s3::Txid> {
  size_t operator()(sqlite_s3::Txid t) const noexcept { return std::hash<uint64_t>()(t.value); }
};

#pragma once
// What to fetch to restore one point: a pure decision over what was listed.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/status.h"
#include "common/replica/replica.h"

namespace sqlite_s3 {

// --until, parsed: latest, a TXID, a time (microseconds UTC), or a mark's name.
struct TargetLatest {};
struct TargetTime { int64_t time_us = 0; };
struct TargetMark { std::string name; };
using RestoreTarget = std::variant<TargetLatest, Txid, TargetTime, TargetMark>;

// "txid:HEX" or 16 hex digits, "mark:NAME", RFC 3339, "YYYY-MM-DD HH:MM:SS[.ffffff]" in local time,
// "N seconds|minutes|hours|days ago", "latest". `now_us` anchors relative times.
Result<RestoreTarget> ParseRestoreTarget(std::string_view text, int64_t now_us);

struct RestorePlan {
  TimelineId timeline;
  ImageManifest image;                   // newest complete one at or before the target on the ancestry
  std::vector<SegmentSummary> segments;  // in order; the first may begin before image.txid + 1
  Txid txid;                             // the chosen commit
  int64_t commit_time_us = 0;            // clamped to be monotone by TXID (format: Time)
  std::optional<Txid> next_txid;         // the one after it, if any, and its time
  int64_t next_time_us = 0;
  uint32_t page_size = 0;
  uint32_t page_count = 0;
  uint32_t max_page_count = 0;           // largest size on the way: the space needed
  uint64_t db_checksum = 0;
  uint8_t flags = 0;                     // of the chosen commit
  uint64_t fetch_bytes = 0;
};

// Times by TXID order, each at least its predecessor's, so that a clock that jumped selects nothing
// wrong. Same length and order as the commits of `segments`, flattened.
std::vector<int64_t> MonotoneTimes(const std::vector<SegmentSummary>& segments);

// Reads what is needed and decides. kNotFound when the target is before the first restore point,
// naming it; kFailedPrecondition for several live timelines; kCorruption or kNotFound for damage on
// the way, naming the object, the gap, and the best point before it.
Result<RestorePlan> PlanRestore(Replica& replica, const RestoreTarget& target,
                                std::optional<TimelineId> timeline);

}  // namespace sqlite_s3

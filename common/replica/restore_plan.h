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
struct TargetTime {
  int64_t time_us = 0;
};
struct TargetMark {
  std::string name;
};
using RestoreTarget = std::variant<TargetLatest, Txid, TargetTime, TargetMark>;

// "txid:HEX" or 16 hex digits, "mark:NAME", RFC 3339, "YYYY-MM-DD HH:MM[:SS[.ffffff]]" in local
// time
// ('T' for the space will do), "N seconds|minutes|hours|days|weeks ago", "latest". `now_us` anchors
// relative times. kInvalidArgument for anything else, for a local time that the clocks skipped, and
// for one that they showed twice.
Result<RestoreTarget> ParseRestoreTarget(std::string_view text, int64_t now_us);

struct RestorePlan {
  TimelineId timeline;
  ImageManifest image;  // newest complete one at or before the target on the ancestry
  // In order; the first may begin before image.txid + 1. Their `commits` are dropped (they come
  // again with the pages), last_txid says how far each is used; the last one is used up to `txid`.
  std::vector<SegmentSummary> segments;
  Txid txid;                      // the chosen commit
  int64_t commit_time_us = 0;     // see MonotoneTimes
  std::optional<Txid> next_txid;  // the one after it, if any, and its time
  int64_t next_time_us = 0;
  uint32_t page_size = 0;
  uint32_t page_count = 0;
  uint32_t max_page_count = 0;  // largest size on the way: the space needed
  uint64_t db_checksum = 0;
  uint8_t flags = 0;  // of the chosen commit
  uint64_t fetch_bytes = 0;
  uint64_t fetch_objects = 0;
  uint64_t commit_count = 0;          // to apply after the image
  std::vector<std::string> problems;  // damaged objects that were passed over (images)
};

// Times by TXID order, each at least its predecessor's and at least `floor_us`, so that a clock
// that jumped selects nothing wrong. Same length and order as the commits of `segments`, flattened.
//
// A plan clamps from the image it starts with, whose own time is at least that of every image
// before it: clocks that jumped before that image do not count, and no segment before it need be
// read.
std::vector<int64_t> MonotoneTimes(const std::vector<SegmentSummary>& segments,
                                   int64_t floor_us = INT64_MIN);

// The same commit by commit, and from each image of the history on anew: the times that plans see.
class RestorePointClock {
 public:
  // `images` as ImagesOfHistory gives them; must outlive the clock.
  explicit RestorePointClock(const std::vector<ImageManifest>& images) : images_(images) {}
  // TXIDs ascending, from one at or after the first image.
  int64_t At(Txid txid, int64_t time_us);

 private:
  const std::vector<ImageManifest>& images_;
  size_t next_image_ = 0;
  int64_t image_time_us_ = INT64_MIN;
  int64_t floor_us_ = INT64_MIN;
};
// The times that plans see: the same, but from each image of the history on anew. `segments` as
// ReadChain gives them, from a segment that holds or follows the first image of `images`; `images`
// as ImagesOfHistory gives them.
std::vector<int64_t> RestorePointTimes(const std::vector<SegmentSummary>& segments,
                                       const std::vector<ImageManifest>& images);

// Of a commit too big for its segment.
struct PlannedPart {
  std::string key;
  uint64_t size_bytes = 0;
};

struct PlanOptions {
  std::optional<TimelineId> timeline;  // absent: "latest", or the mark's own
  std::optional<Txid> image_before;    // only images of earlier TXIDs: the later ones are damaged
  std::vector<PlannedPart>* parts = nullptr;  // gets those that the plan needs
};

// Reads what is needed and decides. kNotFound when the target is before the first restore point or
// after the last, naming it; kFailedPrecondition for several live timelines, or for a mark that is
// not in the history of `timeline`; kCorruption or kNotFound for damage on the way, naming the
// object, the gap, and the best point before it: then `damage`, if given, says so too.
Result<RestorePlan> PlanRestore(Replica& replica, const RestoreTarget& target,
                                const PlanOptions& options, Damage* damage = nullptr);
inline Result<RestorePlan> PlanRestore(Replica& replica, const RestoreTarget& target,
                                       std::optional<TimelineId> timeline) {
  return PlanRestore(replica, target, PlanOptions{timeline, std::nullopt, nullptr});
}

// The images that a restore on the history `ancestry` may start from, ascending by TXID.
Result<std::vector<ImageManifest>> ImagesOfHistory(Replica& replica,
                                                   const std::vector<Replica::Ancestor>& ancestry,
                                                   std::vector<std::string>* problems = nullptr);

}  // namespace sqlite_s3

#include "restore/rows/span.h"

#include <utility>

#include "common/base/clock.h"

namespace sqlite_s3 {

Result<Point> ResolvePoint(Replica& replica, const RestoreTarget& target,
                           std::optional<TimelineId> timeline, Damage* damage) {
  if (std::holds_alternative<TargetLatest>(target) || std::holds_alternative<Txid>(target)) {
    ASSIGN_OR_RETURN(const auto timelines, replica.ListTimelines());
    Point point;
    if (timeline) {
      point.timeline = *timeline;
    } else {
      ASSIGN_OR_RETURN(point.timeline, Replica::LatestTimeline(timelines));
    }
    if (const auto* txid = std::get_if<Txid>(&target)) {
      point.txid = *txid;
    } else {
      ASSIGN_OR_RETURN(const Head head, replica.FindHead(timelines, point.timeline));
      point.txid = head.txid;
    }
    return point;
  }
  ASSIGN_OR_RETURN(const RestorePlan plan,
                   PlanRestore(replica, target, PlanOptions{timeline, std::nullopt}, damage));
  return Point{plan.txid, plan.timeline};
}

Result<Span> ResolveSpan(Replica& replica, const std::string& a, const std::string& b,
                         std::optional<TimelineId> timeline, Damage* damage) {
  const int64_t now_us = Clock::Real().WallMicros();
  ASSIGN_OR_RETURN(const RestoreTarget target_a, ParseRestoreTarget(a, now_us));
  ASSIGN_OR_RETURN(const RestoreTarget target_b, ParseRestoreTarget(b, now_us));
  // A mark has a line of its own; what else is named is looked for on it.
  const bool mark_a = std::holds_alternative<TargetMark>(target_a);
  const bool mark_b = std::holds_alternative<TargetMark>(target_b);
  Point from;
  Point to;
  if (mark_a && !mark_b) {
    ASSIGN_OR_RETURN(from, ResolvePoint(replica, target_a, timeline, damage));
    ASSIGN_OR_RETURN(to,
                     ResolvePoint(replica, target_b, timeline ? timeline : std::nullopt, damage));
    if (to.timeline != from.timeline) {  // is the mark in the history of the other's line?
      ASSIGN_OR_RETURN(from, ResolvePoint(replica, target_a, to.timeline, damage));
    }
  } else {
    ASSIGN_OR_RETURN(to, ResolvePoint(replica, target_b, timeline, damage));
    ASSIGN_OR_RETURN(from, ResolvePoint(replica, target_a, to.timeline, damage));
  }
  Span span{from.txid, to.txid, to.timeline, false};
  if (span.to < span.from) {
    std::swap(span.from, span.to);
    span.reversed = true;
  }
  return span;
}

}  // namespace sqlite_s3

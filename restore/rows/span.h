#pragma once
// Two points of one history, as a command line names them.

#include <string>

#include "common/replica/restore_plan.h"

namespace sqlite_s3 {

struct Span {
  Txid from, to;
  TimelineId timeline;
  bool reversed = false;  // A comes after B
};
// `a` and `b`: as --until takes them. kFailedPrecondition when they are not on one line of history.
Result<Span> ResolveSpan(Replica& replica, const std::string& a, const std::string& b,
                         std::optional<TimelineId> timeline, Damage* damage);

// One point, as a TXID; only a time or "latest" makes it read the log.
struct Point {
  Txid txid;
  TimelineId timeline;
};
Result<Point> ResolvePoint(Replica& replica, const RestoreTarget& target,
                           std::optional<TimelineId> timeline, Damage* damage);

}  // namespace sqlite_s3

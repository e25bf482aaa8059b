#pragma once
// The drill: every image and every commit of a replica, fetched, replayed and compared.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/replica/restore_plan.h"
#include "restore/progress.h"

namespace sqlite_s3 {

struct VerifyFinding {
  std::string object;    // its key
  std::string message;   // names the object
  bool missing = false;  // a gap, else wrong bytes
};
// Restore points without a hole: each was replayed to its own checksum, the last of them read back
// from a file.
struct RestorableRange {
  TimelineId timeline;
  Txid first, last;
};
struct VerifyReport {
  std::vector<VerifyFinding> findings;      // an object once
  std::vector<RestorableRange> restorable;  // ascending by timeline and TXID
  uint64_t images = 0;                      // sound ones
  uint64_t commits = 0;                     // replayed to their checksum
  uint64_t bytes = 0;
};

// Replays from the oldest image up to `target` on the history of `timeline`; absent: every timeline
// whole (`target` must be the latest then, or name its line). Also compares the images with what
// the log leads to, reads their page hashes, and looks up what the marks name. Errors only when
// nothing could be looked at (store away, no such target); damage is in the report.
Result<VerifyReport> VerifyReplica(Replica& replica, const RestoreTarget& target,
                                   std::optional<TimelineId> timeline, Progress& progress);

}  // namespace sqlite_s3

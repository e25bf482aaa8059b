#pragma once
// The drill: every image and every commit of a history, fetched, replayed and compared.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/replica/restore_plan.h"
#include "restore/progress.h"

namespace sqlite_s3 {

struct VerifyFinding {
  std::string message;   // names the object
  bool missing = false;  // a gap, else wrong bytes
};
struct VerifyReport {
  std::vector<VerifyFinding> findings;
  uint64_t images = 0;   // sound
  uint64_t commits = 0;  // replayed to their checksum
  uint64_t bytes = 0;
  Txid first, last;  // restorable without a hole, from the oldest sound image on
};

// Errors only when nothing could be looked at (store away, no such target); damage is in the
// report.
Result<VerifyReport> VerifyReplica(Replica& replica, const RestoreTarget& target,
                                   std::optional<TimelineId> timeline, Progress& progress);

}  // namespace sqlite_s3

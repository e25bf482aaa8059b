#pragma once
// Replayer: the database at every TXID of a replica, by the shortest way from docs/FORMAT.md: the
// oldest image, then every commit in order, all checksums compared. Slow and separate from
// restore/, so that the two can be compared.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/replica/replica.h"

namespace sqlite_s3 {

// Calls `visit` with every TXID that has a restore point on `timeline` (absent: the latest),
// ascending, and the whole database there. Every later image is compared with the replayed state on
// the way.
Status ReplayAll(ObjectStore& store, std::optional<TimelineId> timeline,
                 const std::function<void(Txid, const CommitRecord&, const Bytes&)>& visit);

// The database at the head.
Result<Bytes> ReplayHead(ObjectStore& store);

}  // namespace sqlite_s3

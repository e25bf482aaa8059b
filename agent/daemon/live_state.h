#pragma once
// LiveState: a database as its applications see it now, every page read and hashed. It asks SQLite
// and the file, and nothing that the agent keeps: what is compared with the replica must not come
// from where the replica came from.

#include <cstdint>
#include <string>

#include "common/base/hash.h"
#include "common/base/status.h"

namespace sqlite_s3 {

struct LiveState {
  uint32_t page_size = 0;
  uint32_t page_count = 0;
  uint64_t checksum = 0;
};

// Reads in one read transaction, which holds checkpoints up as long as the database is large and
// writers never. REQUIRES: CheckReadyToShip. kUnavailable (try again): locked, or writers gave it
// no consistent moment to begin; kIoError, kCorruption.
Result<LiveState> ReadLiveState(const std::string& path, const PageHasher& hasher);

}  // namespace sqlite_s3

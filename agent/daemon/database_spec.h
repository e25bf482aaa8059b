#pragma once
// DatabaseSpec: a database that the agent is to ship, where to and how, and what options that
// leaves.

#include <string>

#include "common/base/status.h"
#include "common/config/options.h"

namespace sqlite_s3 {

struct DatabaseSpec {
  std::string path;         // absolute, as configured
  std::string real_path;    // of a directory's: where it must lie; empty: wherever a link leads
  std::string replica_url;  // as configured; never with credentials
  ReplicaConfig replica;
  bool operator==(const DatabaseSpec& other) const {
    return path == other.path && real_path == other.real_path && replica_url == other.replica_url &&
           replica.location == other.replica.location && replica.ship == other.replica.ship;
  }
};

// kInvalidArgument for options that only a library can keep (durability=commit, attach,
// when_full=block).
Status CheckSidecarOptions(const ShipOptions& options);

// As a command line or a request says it, over what the environment gives as options. `path` is
// absolute. kInvalidArgument.
Result<DatabaseSpec> MakeDatabaseSpec(const std::string& path, const std::string& replica,
                                      const std::string& options);

}  // namespace sqlite_s3

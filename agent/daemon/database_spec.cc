#include "agent/daemon/database_spec.h"

#include "common/config/environment.h"
#include "common/config/url.h"

namespace sqlite_s3 {

Status CheckSidecarOptions(const ShipOptions& options) {
  const std::string hint = ", hint: the application has to load the library for it";
  if (options.durability == CommitDurability::kCommit) {
    return InvalidArgumentError(
        "option 'durability': the agent cannot hold a commit of another process" + hint);
  }
  if (options.when_full == WhenFull::kBlock) {
    return InvalidArgumentError(
        "option 'when_full': the agent cannot block another process, hint: grow-wal or resync");
  }
  if (options.statements != StatementLevel::kOff) {
    return InvalidArgumentError(
        "option 'statements': the agent cannot see the SQL of another process" + hint);
  }
  if (options.attach_all) {
    return InvalidArgumentError("option 'attach' is for the library" + hint);
  }
  return Status::Ok();
}

Result<DatabaseSpec> MakeDatabaseSpec(const std::string& path, const std::string& replica,
                                      const std::string& options) {
  DatabaseSpec spec;
  spec.path = path;
  spec.replica_url = replica;
  ASSIGN_OR_RETURN(const ReplicaConfig environment, EnvironmentDefaults());
  ASSIGN_OR_RETURN(spec.replica, ParseReplicaConfig(replica, options, environment));
  return spec;
}

}  // namespace sqlite_s3

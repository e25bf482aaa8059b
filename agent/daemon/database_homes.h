#pragma once
// DatabaseHomes: what only one database may have, its replica and its state, and who has it. Not
// thread-safe.

#include <map>
#include <string>

#include "agent/daemon/database_spec.h"
#include "common/base/status.h"

namespace sqlite_s3 {

class DatabaseHomes {
 public:
  // kInvalidArgument, and nothing taken, when its replica is, lies in or encloses that of another,
  // or another has its state directory.
  Status Take(const DatabaseSpec& spec);
  // REQUIRES: Take went well for it.
  void Leave(const DatabaseSpec& spec);

 private:
  Status Check(const DatabaseSpec& spec) const;

  std::map<std::string, std::string> homes_;  // replica or state directory -> the database's path
};

}  // namespace sqlite_s3

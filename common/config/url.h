#pragma once
// Replica URLs: where a replica is. Pure but for the working directory, which relative paths need.

#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/config/options.h"

namespace sqlite_s3 {

struct ReplicaUrl {
  ReplicaLocation location;  // without the store options, which the query carries
  std::string query;         // what follows the first '?', not decoded
};

// The forms that options.h lists. kInvalidArgument names what is wrong; messages hold the part
// before
// '?' at most, and no user:password@.
Result<ReplicaUrl> ParseReplicaUrl(std::string_view url);

// Against the working directory; "//", "/./" and a trailing '/' are removed; ".." is kept, because
// what it means depends on symlinks, which are not resolved. kInvalidArgument for an empty path.
Result<std::string> MakeAbsolutePath(std::string_view path);

}  // namespace sqlite_s3

#pragma once
// Options with a grammar of their own. The functions are those of OptionDescriptor.

#include <string_view>

#include "common/base/status.h"
#include "common/config/options.h"

namespace sqlite_s3 {

Status ParseUploadRate(std::string_view value, ReplicaConfig& config);
Status ParseStateDir(std::string_view value, ReplicaConfig& config);
Status ParseEndpoint(std::string_view value, ReplicaConfig& config);
Status ParseRegion(std::string_view value, ReplicaConfig& config);
Status ParseTags(std::string_view value, ReplicaConfig& config);
Status ParseStatementsExclude(std::string_view value, ReplicaConfig& config);

}  // namespace sqlite_s3

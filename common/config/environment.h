#pragma once
// Options out of the environment: SQLITE_S3_ and the option's name in capitals, SQLITE_S3_INTERVAL.
// What a URL, an options string or a file says wins over them.

#include <functional>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/config/options.h"

namespace sqlite_s3 {

std::string EnvironmentNameOf(std::string_view option);

// The defaults, with the environment's options in their place. kInvalidArgument names the variable,
// also one that is most likely a misspelling of an option's. Values are as in a file: nothing is
// percent-decoded. An empty value counts as not set. `environment` is a list as environ(7) has it.
Result<ReplicaConfig> EnvironmentDefaults(const char* const* environment);
Result<ReplicaConfig> EnvironmentDefaults();  // of this process

}  // namespace sqlite_s3

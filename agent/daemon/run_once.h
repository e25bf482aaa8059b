#pragma once
// `sqlite-s3-agent run --once`: ships what there is, and nothing that comes later.

#include "agent/daemon/config_file.h"
#include "agent/daemon/log.h"
#include "common/store/rate_limiter.h"

namespace sqlite_s3 {

// One database after the other, also after one that failed. The exit code is that of the first that
// did. `limits`: of all together.
int RunAllOnce(const AgentConfig& config, const RateLimits& limits, Logger& log);

}  // namespace sqlite_s3

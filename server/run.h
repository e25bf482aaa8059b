#pragma once
// Run: the server from its configuration to its end.

#include "common/base/status.h"
#include "server/config.h"

namespace sqlite_s3::server {

// Opens the directory, listens, prints the address on standard output, and serves until SIGINT or
// SIGTERM; then ends in order. Takes over those signals for the process, so programs call it, not
// libraries. REQUIRES: CheckConfig.
Status Run(const Config& config);

}  // namespace sqlite_s3::server

#pragma once
// Runs a script on a live database.

#include <string>

#include "common/base/status.h"

namespace sqlite_s3 {

// Of a script made with triggers_are_off. All or nothing. kFailedPrecondition when the database is
// not as the script expects.
Status ApplyScript(const std::string& database, const std::string& script);

}  // namespace sqlite_s3

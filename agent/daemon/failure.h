#pragma once
// How a subcommand says that it failed.

#include "common/base/status.h"

namespace sqlite_s3 {

// One line on standard error, or with `json` an object on standard output; returns the exit code.
int Fail(const Status& status, bool json = false);

}  // namespace sqlite_s3

#pragma once
// `sqlite-s3-agent check-config`.

#include <string>

namespace sqlite_s3 {

// Says what the file means, or what is wrong with it. Returns the exit code.
int RunCheckConfig(const std::string& path);

}  // namespace sqlite_s3

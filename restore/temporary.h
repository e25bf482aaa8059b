#pragma once
// The temporary file of a running restore: where it lies, and that a signal removes it.

#include <string>

namespace sqlite_s3 {

std::string TemporaryDirectory();  // $TMPDIR or /tmp

// SIGINT and SIGTERM from now on remove the remembered file and end the program with 128 + signal.
void InstallSignalHandlers();
void RememberTemporary(const std::string& path);
void ForgetTemporary();

// Files that killed restores of `base` left in `directory`: not touched for an hour.
void RemoveStaleTemporaries(const std::string& directory, const std::string& base);

}  // namespace sqlite_s3

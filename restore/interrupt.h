#pragma once
// What SIGINT and SIGTERM do: remove the file under construction and end the program. The state is
// the process's, as signals are: programs call this, libraries do not.

#include <string>

namespace sqlite_s3 {

// From now on SIGINT and SIGTERM, unless they are ignored, remove the file named below and exit
// with 128 + signal; a closed standard output is an error of write, not a signal.
void InstallSignalHandlers();

// `path` and its -wal and -shm. One file at a time; from one thread.
void RemoveWhenInterrupted(const std::string& path);
void RemoveNothingWhenInterrupted();
// Removes them now, from any thread: the process ends.
void RemoveBeforeTheEnd();

}  // namespace sqlite_s3

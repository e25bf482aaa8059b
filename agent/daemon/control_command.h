#pragma once
// The subcommands that ask a running agent.

#include <cstdint>
#include <string>

namespace sqlite_s3 {

struct ControlCommand {
  std::string command;  // as the control socket knows it
  std::string control;  // the socket's path
  std::string database, replica, options, name;
  int64_t timeout_s = 60;
  bool json = false;
  bool check = false;    // status: the exit code says whether all is well
  bool all = false;      // sync: every database
  bool no_wait = false;  // sync: ask for it only
};

// Prints the answer; returns the exit code.
int RunControl(const ControlCommand& command);

}  // namespace sqlite_s3

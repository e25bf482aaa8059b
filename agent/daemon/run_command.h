#pragma once
// `sqlite-s3-agent run`: signals, the child, the loop, and what the process ends with.

#include <string>
#include <vector>

#include "agent/daemon/log.h"

namespace sqlite_s3 {

struct RunCommand {
  std::string database, replica;  // both or neither
  std::string config;
  std::string options;  // key=value pairs for `database`
  std::string log_format, log_level, control;
  std::string restore_program;  // for restore_if_missing
  std::vector<std::string> command;
  bool once = false;
  bool restore_if_missing = false;
};

// Returns the exit code. Blocks signals in the calling thread, so call it before any other thread
// is started.
int RunAgent(const RunCommand& command);

}  // namespace sqlite_s3

#pragma once
// `sqlite-s3-agent run`: signals, the child, the loop, and what the process ends with.

#include <string>
#include <vector>

#include "agent/daemon/agent_settings.h"

namespace sqlite_s3 {

struct RunCommand {
  std::string config;  // a file, in place of the next two
  std::string database, replica;
  std::string options;               // key=value pairs
  AgentSettings settings;            // those that are flags
  std::string restore_program;       // for restore_if_missing
  std::vector<std::string> command;  // the application to run as a child; empty: none
  bool once = false;
  bool restore_if_missing = false;
};

// Returns the exit code. Blocks signals in the calling thread, so call it before any other thread
// is started.
int RunAgent(const RunCommand& command);

}  // namespace sqlite_s3

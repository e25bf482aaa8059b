#pragma once
// `sqlite-s3-agent run`: signals, the child, the loop, and what the process ends with.

#include <string>
#include <vector>

#include "agent/daemon/log.h"

namespace sqlite_s3 {

struct RunCommand {
  std::string config;  // a file, in place of the next two
  std::string database, replica;
  std::string options;  // key=value pairs
  std::string log_format, log_level;
  std::string heartbeat_url, heartbeat_interval;
  std::string total_upload_rate, total_request_rate;  // no flags: of the file, the environment
  std::string metrics;                                // ADDRESS:PORT; empty: none
  std::string control;                                // path of the control socket; empty: none
  std::string restore_program;                        // for restore_if_missing
  std::vector<std::string> command;  // the application to run as a child; empty: none
  bool once = false;
  bool restore_if_missing = false;
};

// Returns the exit code. Blocks signals in the calling thread, so call it before any other thread
// is started.
int RunAgent(RunCommand command);
// Says what the file means, or what is wrong with it.
int RunCheckConfig(const std::string& path);

}  // namespace sqlite_s3

#pragma once
// The agent's configuration file (TOML): which databases, where to, how. Errors name the file, the
// line and the key; nothing is ignored.

#include <string>
#include <string_view>
#include <vector>

#include "agent/daemon/agent_settings.h"
#include "agent/daemon/cost.h"
#include "agent/daemon/database_spec.h"
#include "agent/daemon/directory_spec.h"

namespace sqlite_s3 {

struct AgentConfig {
  AgentSettings settings;
  Prices prices;
  std::vector<DatabaseSpec> databases;     // in the file's order
  std::vector<DirectorySpec> directories;  // likewise
};

// `name` is for messages. $NAME and ${NAME} in a string are that environment variable, one that is
// not set is an error; $$ is a $. What the environment gives as options (environment.h) is below
// what the file and its URLs say. kInvalidArgument for everything that is wrong.
Result<AgentConfig> ParseAgentConfig(std::string_view text, const std::string& name);
Result<AgentConfig> LoadAgentConfig(const std::string& path);

}  // namespace sqlite_s3

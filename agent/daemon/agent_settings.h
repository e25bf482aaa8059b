#pragma once
// AgentSettings: what is said of the agent itself, not of a database: by a flag, the configuration
// file or the environment, the first of them that says it.

#include <memory>
#include <string>
#include <string_view>

#include "agent/daemon/heartbeat.h"
#include "agent/daemon/log.h"
#include "common/base/status.h"
#include "common/store/rate_limiter.h"

namespace sqlite_s3 {

// Empty: not given.
struct AgentSettings {
  std::string control;  // path of the control socket
  std::string log_format, log_level;
  std::string heartbeat_url, heartbeat_interval;
  std::string metrics;                                // ADDRESS:PORT
  std::string total_upload_rate, total_request_rate;  // of all databases together
};

struct AgentSetting {
  std::string_view key;  // in the file; in capitals, behind SQLITE_S3_AGENT_, in the environment
  std::string AgentSettings::*text;
};
inline constexpr AgentSetting kAgentSettings[] = {
    {"control", &AgentSettings::control},
    {"log_format", &AgentSettings::log_format},
    {"log_level", &AgentSettings::log_level},
    {"heartbeat_url", &AgentSettings::heartbeat_url},
    {"heartbeat_interval", &AgentSettings::heartbeat_interval},
    {"metrics", &AgentSettings::metrics},
    {"total_upload_rate", &AgentSettings::total_upload_rate},
    {"total_request_rate", &AgentSettings::total_request_rate},
};

// What the flags leave out is the file's, or else the environment's.
AgentSettings CompleteSettings(const AgentSettings& flags, const AgentSettings& file);

// Each kInvalidArgument, with the option's name, for a text that means nothing.
Status ConfigureLog(const AgentSettings& settings, Logger& log);
// Null when none is asked for.
Result<std::unique_ptr<Heartbeat>> MakeHeartbeat(const AgentSettings& settings, Logger& log);
Result<RateLimits> TotalLimits(const AgentSettings& settings);
// Whether all of them mean something; nothing is begun.
Status CheckSettings(const AgentSettings& settings);

}  // namespace sqlite_s3

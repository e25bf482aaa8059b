#include "agent/daemon/agent_settings.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <tuple>

#include "agent/daemon/metrics_listener.h"
#include "common/base/ascii.h"
#include "common/config/option_table.h"

namespace sqlite_s3 {
namespace {

constexpr std::chrono::milliseconds kHeartbeatInterval{60'000};
constexpr std::chrono::milliseconds kLeastHeartbeatInterval{100};

}  // namespace

AgentSettings CompleteSettings(const AgentSettings& flags, const AgentSettings& file) {
  AgentSettings complete = flags;
  for (const auto& [key, text] : kAgentSettings) {
    if ((complete.*text).empty()) {
      complete.*text = file.*text;
    }
    if (const char* value = getenv(("SQLITE_S3_AGENT_" + ToUpper(key)).c_str());
        (complete.*text).empty() && value != nullptr) {
      complete.*text = value;
    }
  }
  return complete;
}

Status ConfigureLog(const AgentSettings& settings, Logger& log) {
  LogFormat format = StandardErrorIsJournal() ? LogFormat::kJournal : LogFormat::kText;
  if (settings.log_format == "json") {
    format = LogFormat::kJson;
  } else if (settings.log_format == "text") {
    format = LogFormat::kText;
  } else if (!settings.log_format.empty()) {
    return InvalidArgumentError("option '--log-format': '" + settings.log_format +
                                "' is not one of text, json");
  }
  LogLevel level = LogLevel::kInfo;
  if (!settings.log_level.empty()) {
    auto parsed = ParseLogLevel(settings.log_level);
    if (!parsed.ok()) {
      return parsed.status().WithContext("option '--log-level'");
    }
    level = *parsed;
  }
  log.Configure(format, level);
  return Status::Ok();
}

// Null when none is asked for.
Result<std::unique_ptr<Heartbeat>> MakeHeartbeat(const AgentSettings& settings, Logger& log) {
  std::chrono::milliseconds interval = kHeartbeatInterval;
  if (!settings.heartbeat_interval.empty()) {
    auto parsed = ParseDuration(settings.heartbeat_interval);
    if (!parsed.ok() || *parsed < kLeastHeartbeatInterval) {
      return InvalidArgumentError("option 'heartbeat_interval': '" + settings.heartbeat_interval +
                                  "' is not a duration of 100ms or more");
    }
    interval = *parsed;
  }
  if (settings.heartbeat_url.empty()) {
    return std::unique_ptr<Heartbeat>();
  }
  return Heartbeat::Create(settings.heartbeat_url, interval, log);
}

// Of all databases together.
Result<RateLimits> TotalLimits(const AgentSettings& settings) {
  RateLimits limits;
  ReplicaConfig scratch;  // one grammar, and the same bounds
  for (const auto& [name, option, text, value] :
       {std::tuple("total_upload_rate", "upload_rate", &settings.total_upload_rate,
                   &ShipOptions::upload_rate),
        std::tuple("total_request_rate", "request_rate", &settings.total_request_rate,
                   &ShipOptions::request_rate)}) {
    if (text->empty()) {
      continue;
    }
    const Status parsed = FindOption(option)->parse(*text, scratch);
    if (!parsed.ok()) {
      return InvalidArgumentError("option '" + std::string(name) + "': " + parsed.message());
    }
    (value == &ShipOptions::upload_rate ? limits.bytes_per_second : limits.requests_per_second) =
        scratch.ship.*value;
  }
  return limits;
}

Status CheckSettings(const AgentSettings& settings) {
  Logger unused;
  RETURN_IF_ERROR(ConfigureLog(settings, unused));
  RETURN_IF_ERROR(MakeHeartbeat(settings, unused).status());
  RETURN_IF_ERROR(TotalLimits(settings).status());
  return settings.metrics.empty() ? Status::Ok() : CheckMetricsAddress(settings.metrics);
}

}  // namespace sqlite_s3

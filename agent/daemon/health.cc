#include "agent/daemon/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sqlite_s3 {
namespace {

constexpr int64_t kLagWorthSayingMs = 10'000;

size_t& CounterOf(const DatabaseStatus& status, Health& health) {
  if (status.paused) {
    return health.paused;
  }
  if (!status.has_engine) {
    return status.fenced ? health.broken : health.waiting;
  }
  switch (status.engine.state) {
    case EngineState::kShipping:
    case EngineState::kStandby:
      return health.shipping;
    case EngineState::kStarting:
      return health.starting;
    case EngineState::kStoreAway:
      return status.engine.away_of == "machine" ? health.held_up : health.store_away;
    case EngineState::kFenced:
    case EngineState::kFailed:
    case EngineState::kStopped:
      break;
  }
  return health.broken;
}

}  // namespace

Health HealthOf(const std::vector<DatabaseStatus>& databases) {
  Health health;
  health.databases = databases.size();
  for (const DatabaseStatus& status : databases) {
    ++CounterOf(status, health);
    if (status.alarm && health.alarms++ == 0) {
      health.first_alarm = status.engine.database;
    }
    health.lag_ms = std::max(health.lag_ms, status.engine.lag_ms);
    health.lag_commits += status.engine.lag_commits;
  }
  return health;
}

std::string FormatHealth(const Health& health) {
  std::string text = fmt::format("{} of {} database{} shipping", health.shipping, health.databases,
                                 health.databases == 1 ? "" : "s");
  for (const auto& [count, what] :
       {std::pair(health.starting, "starting"), std::pair(health.store_away, "store away"),
        std::pair(health.held_up, "held up by this machine"), std::pair(health.waiting, "waiting"),
        std::pair(health.paused, "paused"), std::pair(health.broken, "stopped by an error")}) {
    if (count > 0) {
      text += fmt::format(", {} {}", count, what);
    }
  }
  if (health.lag_ms >= kLagWorthSayingMs) {
    text += fmt::format("; {} commits behind, {} s", health.lag_commits, health.lag_ms / 1000);
  }
  if (health.alarms > 0) {
    text += fmt::format("; ALARM: {}", health.first_alarm);
    if (health.alarms > 1) {
      text += fmt::format(" and {} more", health.alarms - 1);
    }
  }
  return text;
}

}  // namespace sqlite_s3

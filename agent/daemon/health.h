#pragma once
// Health: all databases in one glance, for systemd's status line, /healthz, `status --check` and
// the heartbeat. Pure.

#include <cstdint>
#include <string>
#include <vector>

#include "agent/daemon/database_status.h"

namespace sqlite_s3 {

struct Health {
  size_t databases = 0;
  size_t shipping = 0;  // standby included: another process of this machine does the work
  size_t starting = 0;
  size_t store_away = 0;
  size_t held_up = 0;  // store-away by its state, but of a full disk here, or the like
  size_t waiting = 0;
  size_t paused = 0;
  size_t broken = 0;         // fenced or failed: they need somebody
  size_t alarms = 0;         // databases whose alarm is on
  std::string first_alarm;   // one of them
  int64_t lag_ms = 0;        // of the one that is furthest behind
  uint64_t lag_commits = 0;  // of all together

  bool ok() const { return alarms == 0 && broken == 0; }
};

Health HealthOf(const std::vector<DatabaseStatus>& databases);
// "3 of 4 databases shipping, 1 waiting; 12 commits behind, 4 s". The lag is said from ten seconds
// on, so that the line of a healthy agent stays the same.
std::string FormatHealth(const Health& health);

}  // namespace sqlite_s3

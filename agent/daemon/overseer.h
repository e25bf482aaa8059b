#pragma once
// Overseer: looks at all databases now and then, and tells whoever is to know: systemd (status
// line, signs of life), the heartbeat's URL, the log. On the loop's thread, but for the heartbeat's
// request, which has a thread of its own.

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/daemon/agent.h"
#include "agent/daemon/health.h"
#include "agent/daemon/heartbeat.h"
#include "agent/daemon/service_manager.h"

namespace sqlite_s3 {

// Whether the loops of the engines turn. An engine that rests is rung before it is called hung.
class LoopWatch {
 public:
  // `patience`: how long a loop may stand still.
  explicit LoopWatch(std::chrono::microseconds patience) : patience_us_(patience.count()) {}
  // One look at all of them. The database whose loop hangs; empty: none does. `now_us` monotonic.
  std::string FindHung(const std::vector<std::shared_ptr<DatabaseTask>>& tasks,
                       const std::vector<DatabaseStatus>& statuses, int64_t now_us);

 private:
  struct Seen {
    uint64_t looks = 0;
    int64_t since_us = 0;
    bool current = false;
  };
  const int64_t patience_us_;
  std::unordered_map<std::string, Seen> seen_;
};

class Overseer {
 public:
  // `heartbeat` may be null.
  static Result<std::unique_ptr<Overseer>> Create(Agent& agent, Logger& log,
                                                  std::unique_ptr<Heartbeat> heartbeat);

  int fd() const { return timer_.get(); }
  // When fd() can be read.
  void OnTimer();
  // This one from now on; null: none. Any thread.
  void SetHeartbeat(std::unique_ptr<Heartbeat> heartbeat);
  // Every database has been looked at once: systemd may go on. Idempotent.
  void Ready();
  void Stopping();
  ServiceManager& service() { return service_; }

 private:
  Overseer(Agent& agent, Logger& log, std::unique_ptr<Heartbeat> heartbeat, Fd timer);
  void Arm(std::chrono::microseconds in);

  Agent& agent_;
  Logger& log_;
  ServiceManager service_;
  LoopWatch loops_;
  std::mutex heartbeat_mutex_;
  std::unique_ptr<Heartbeat> heartbeat_;
  std::vector<std::unique_ptr<Heartbeat>> former_;  // that may still send
  Fd timer_;
  const int64_t started_us_;
  bool ready_ = false;
  std::string hung_;
};

}  // namespace sqlite_s3

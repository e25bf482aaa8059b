#include "agent/daemon/overseer.h"

#include <fmt/format.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

using std::chrono::microseconds;

constexpr microseconds kMostPause{10'000'000};
constexpr microseconds kLeastPause{20'000};
constexpr microseconds kDeliverAgain{500'000};
// A store that does not answer must not keep systemd waiting.
constexpr int64_t kReadyAfterMicros = 10'000'000;

int64_t Now() { return Clock::Real().MonotonicMicros(); }

}  // namespace

std::string LoopWatch::FindHung(const std::vector<std::shared_ptr<DatabaseTask>>& tasks,
                                const std::vector<DatabaseStatus>& statuses, int64_t now_us) {
  for (auto& [path, seen] : seen_) {
    seen.current = false;
  }
  std::string hung;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const EngineState state = statuses[i].engine.state;
    // A start is as long as the store is slow; the alarm looks after it.
    if (!statuses[i].has_engine || state == EngineState::kStarting ||
        state == EngineState::kFenced || state == EngineState::kFailed ||
        state == EngineState::kStopped) {
      continue;
    }
    const auto [at, is_new] =
        seen_.try_emplace(tasks[i]->spec().path, Seen{statuses[i].engine.looks, now_us});
    Seen& seen = at->second;
    seen.current = true;
    if (seen.looks != statuses[i].engine.looks) {
      seen.looks = statuses[i].engine.looks;
      seen.since_us = now_us;
    } else if (now_us - seen.since_us >= patience_us_) {
      hung = at->first;
    } else if (now_us - seen.since_us >= patience_us_ / 2) {
      if (const auto engine = tasks[i]->engine()) {
        engine->Notify(false);
      }
    }
  }
  std::erase_if(seen_, [](const auto& entry) { return !entry.second.current; });
  return hung;
}

Result<std::unique_ptr<Overseer>> Overseer::Create(Agent& agent, Logger& log,
                                                   std::unique_ptr<Heartbeat> heartbeat) {
  Fd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.valid()) {
    return ErrnoStatus(errno, "open", "timerfd");
  }
  return std::unique_ptr<Overseer>(
      new Overseer(agent, log, std::move(heartbeat), std::move(timer)));
}

Overseer::Overseer(Agent& agent, Logger& log, std::unique_ptr<Heartbeat> heartbeat, Fd timer)
    : agent_(agent),
      log_(log),
      loops_(service_.watchdog() / 2),
      heartbeat_(std::move(heartbeat)),
      timer_(std::move(timer)),
      started_us_(Now()) {
  Arm(kLeastPause);
}

void Overseer::Arm(microseconds in) {
  itimerspec spec{};
  spec.it_value.tv_sec = in.count() / 1'000'000;
  spec.it_value.tv_nsec = in.count() % 1'000'000 * 1000;
  timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

void Overseer::OnTimer() {
  uint64_t count = 0;
  (void)!read(timer_.get(), &count, sizeof(count));
  const int64_t now = Now();
  microseconds pause = kMostPause;
  std::vector<std::shared_ptr<DatabaseTask>> tasks = agent_.All();
  std::vector<DatabaseStatus> statuses;
  statuses.reserve(tasks.size());
  for (const auto& task : tasks) {
    statuses.push_back(task->Review());
    const EngineState state = statuses.back().engine.state;
    if (statuses.back().has_engine &&
        (state == EngineState::kFailed || state == EngineState::kStopped)) {
      agent_.AttendSoon(task->spec().path);
    }
    // An alarm that is asked for soon is looked for more often.
    pause = std::min<microseconds>(pause, task->spec().replica.ship.alarm_after / 4);
  }
  const Health health = HealthOf(statuses);
  service_.SetStatus(FormatHealth(health));
  if (now - started_us_ >= kReadyAfterMicros) {
    Ready();
  }
  if (service_.watchdog().count() > 0) {
    pause = std::min(pause, service_.watchdog() / 8);
    const std::string hung = loops_.FindHung(tasks, statuses, now);
    if (hung.empty()) {
      service_.Alive();
    } else if (hung_ != hung) {
      log_.Write(LogLevel::kError, hung,
                 "its loop stands still: no more signs of life for systemd while it does");
    }
    hung_ = hung;
  }
  {
    std::lock_guard lock(heartbeat_mutex_);
    if (heartbeat_) {
      pause = std::min(pause, heartbeat_->Beat(ready_ && health.ok(), now));
    }
    std::erase_if(former_, [](const auto& former) { return !former->sending(); });
  }
  if (!service_.DeliverRest()) {
    pause = std::min(pause, kDeliverAgain);
  }
  Arm(std::max(pause, kLeastPause));
}

void Overseer::SetHeartbeat(std::unique_ptr<Heartbeat> heartbeat) {
  std::lock_guard lock(heartbeat_mutex_);
  if (heartbeat_) {
    former_.push_back(std::move(heartbeat_));  // its end would wait for a request under way
  }
  heartbeat_ = std::move(heartbeat);
  Arm(kLeastPause);
}

void Overseer::Ready() {
  if (!std::exchange(ready_, true)) {
    service_.Ready();
  }
}

void Overseer::Stopping() {
  service_.Stopping();
  service_.SetStatus("stopping");
}

}  // namespace sqlite_s3

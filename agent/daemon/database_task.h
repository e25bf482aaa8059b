#pragma once
// DatabaseTask: one database that the agent is to ship, from "does not exist yet" to "shipped and
// stopped". It has an engine while the database can be joined, and says what it waits for while it
// cannot.
//
// Threads: Attend and Stop block and run on the pool, one at a time (the agent sees to it);
// everything else may be called from any thread and does not block for long.

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "agent/daemon/database_file.h"
#include "agent/daemon/database_spec.h"
#include "agent/daemon/database_status.h"
#include "agent/daemon/log.h"
#include "agent/daemon/metered_store.h"
#include "agent/daemon/position_alarm.h"
#include "agent/ship/engine.h"
#include "common/store/curl_transport.h"

namespace sqlite_s3 {

class DatabaseTask {
 public:
  // What is null, the task has for itself: `threads` of its engine, `limits` of the whole agent
  // (then none), `transports` to S3 stores, `watches` of them.
  DatabaseTask(DatabaseSpec spec, FileClaims& claims, Logger& log,
               std::shared_ptr<WorkPool> threads = nullptr,
               std::shared_ptr<RateLimiter> limits = nullptr,
               std::shared_ptr<SharedTransports> transports = nullptr,
               std::shared_ptr<StoreWatches> watches = nullptr);
  ~DatabaseTask();

  const DatabaseSpec& spec() const { return spec_; }

  // Starts the engine if the database is ready, looks after it if it runs. `watched`: its files'
  // events come to OnEvent. Returns when to call again, if nothing happens before.
  std::chrono::milliseconds Attend(bool watched);
  // Flushes within the timeout and ends the engine; Attend does nothing afterwards.
  Status Stop(std::chrono::milliseconds timeout);
  // Ends the engine until Resume; Attend applies it.
  void Pause();
  void Resume();
  bool paused() const { return paused_; }
  // Whether none of its files is open, nor being opened; once it is paused, none will be.
  bool IsClosed() const;

  // A sign of life of the database's files. True when Attend should run soon.
  bool OnEvent(bool files_changed);

  // `unasked`: no events of what is written to its files come to OnEvent; its engine, if it has
  // one, looks every few milliseconds.
  void LookUnasked(bool unasked);
  // As Engine has it; 0 without one.
  uint32_t FramesPerSecond() const;

  // To be called now and then: the alarm and the clock's hour go on. Returns of the status what
  // Engine::GetPulse has, and all of it when the alarm is on. Cheap. Any one thread.
  DatabaseStatus Review();

  // Null while it has none.
  std::shared_ptr<Engine> engine() const;
  DatabaseStatus GetStatus(bool force) const;
  // Whether the last try to start failed at the store.
  bool StoreWasAway() const;
  // Why there is no engine: the last failure's code and text; OK while there is one.
  Status waiting() const;

 private:
  Status Start(bool watched);
  void LookAfter(std::chrono::milliseconds* next);
  Status StopEngine(std::chrono::milliseconds timeout);
  void SetWaiting(const Status& why);
  bool AsksStore() const;
  void NoteHour();
  bool NoteAlarm(const DatabaseStatus& status);

  const DatabaseSpec spec_;
  FileClaims& claims_;
  Logger& log_;
  const std::shared_ptr<WorkPool> threads_;
  const std::shared_ptr<RateLimiter> limits_;
  const std::shared_ptr<SharedTransports> transports_;
  const std::shared_ptr<StoreWatches> watches_;
  const std::shared_ptr<StoreMeter> meter_ = std::make_shared<StoreMeter>();
  const int64_t since_us_ = Clock::Real().MonotonicMicros();
  std::atomic<bool> paused_{false};
  bool stopped_ = false;  // Attend's and Stop's own, as the two below
  std::chrono::milliseconds backoff_{0};
  std::optional<DatabaseFile> file_;  // claimed

  mutable std::mutex mutex_;
  std::shared_ptr<Engine> engine_;
  bool opening_ = false;  // an engine may be there soon
  Status waiting_;
  bool waiting_is_of_file_ = false;  // that is, of nothing that a store said
  FileSigns refused_;           // after the last start: only other ones are worth another at once
  bool waits_for_file_ = true;  // an event can end the wait; else only time does
  bool alarm_ = false;
  int64_t hour_ = 0;
  uint64_t hour_requests_ = 0, hour_bytes_ = 0;  // the meter's counts when the hour began
  PositionAlarm position_;                       // Review's own
};

}  // namespace sqlite_s3

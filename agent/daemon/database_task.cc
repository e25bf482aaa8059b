#include "agent/daemon/database_task.h"

#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/replica/store_address.h"
#include "common/store/open_store.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookAfter{10'000};
constexpr milliseconds kIdleLookWatched{5'000};
constexpr milliseconds kFirstBackoff{500};
constexpr milliseconds kMostBackoffForFile{5'000};  // looking at a file costs next to nothing
constexpr milliseconds kMostBackoff{60'000};        // a start asks the store, and may read it all
constexpr milliseconds kStopReplaced{2'000};
constexpr milliseconds kNever{24 * 3600 * 1000};
constexpr int64_t kHourMicros = int64_t{3600} * 1'000'000;
constexpr uint32_t kCheckpointPages = 1000;  // as SQLite's own default

}  // namespace

Status CheckSidecarOptions(const ShipOptions& options) {
  const std::string hint = ", hint: the application has to load the library for it";
  if (options.durability == CommitDurability::kCommit) {
    return InvalidArgumentError(
        "option 'durability': the agent cannot hold a commit of another process" + hint);
  }
  if (options.when_full == WhenFull::kBlock) {
    return InvalidArgumentError(
        "option 'when_full': the agent cannot block another process, hint: grow-wal or resync");
  }
  if (options.attach_all) {
    return InvalidArgumentError("option 'attach' is for the library" + hint);
  }
  return Status::Ok();
}

DatabaseTask::DatabaseTask(DatabaseSpec spec, FileClaims& claims, Logger& log)
    : spec_(std::move(spec)), claims_(claims), log_(log) {}

DatabaseTask::~DatabaseTask() { (void)Stop(milliseconds(0)); }

milliseconds DatabaseTask::Attend(bool watched) {
  if (stopped_) {
    return kNever;
  }
  if (paused_) {
    if (engine()) {
      (void)StopEngine(spec_.replica.ship.close_timeout);  // the rest is shipped when it resumes
    }
    return kNever;
  }
  milliseconds next = kLookAfter;
  if (engine()) {
    LookAfter(&next);
    if (engine()) {
      backoff_ = milliseconds(0);
      return next;
    }
  }
  const Status started = Start(watched);
  SetWaiting(started);
  if (started.ok()) {
    return kFirstBackoff;  // how the start goes on
  }
  std::lock_guard lock(mutex_);
  backoff_ =
      std::clamp(backoff_ * 2, kFirstBackoff, waits_for_file_ ? kMostBackoffForFile : kMostBackoff);
  return backoff_;
}

Status DatabaseTask::Start(bool watched) {
  {
    std::lock_guard lock(mutex_);
    waits_for_file_ = true;
  }
  ASSIGN_OR_RETURN(DatabaseFile file, FindDatabaseFile(spec_.path));
  RETURN_IF_ERROR(claims_.Claim(file.id, spec_.path));
  Status ready = CheckReadyToShip(file);
  if (!ready.ok()) {
    claims_.Release(file.id, spec_.path);
    return ready;
  }
  {
    std::lock_guard lock(mutex_);
    waits_for_file_ = false;
  }
  EngineConfig config;
  config.database_path = file.path;
  config.options = spec_.replica.ship;
  config.checkpoint_pages =
      config.options.checkpoint_pages != 0 ? config.options.checkpoint_pages : kCheckpointPages;
  config.join_only = true;
  if (watched) {
    config.idle_look = kIdleLookWatched;
  }
  config.log = [this](LogLevel level, const std::string& message) {
    log_.Write(level, spec_.path, message);
  };
  auto store = OpenStore(AddressOf(spec_.replica.location, StoreUse::kShip));
  if (!store.ok()) {
    claims_.Release(file.id, spec_.path);
    return store.status();
  }
  config.store = std::move(store).value();
  auto engine = Engine::Start(config);
  if (!engine.ok()) {
    claims_.Release(file.id, spec_.path);
    return engine.status();
  }
  file_ = file;
  std::lock_guard lock(mutex_);
  engine_ = std::move(engine).value();
  return Status::Ok();
}

// What the engine itself cannot mend: the file at the path is another one, or the engine has given
// up.
void DatabaseTask::LookAfter(milliseconds* next) {
  auto file = FindDatabaseFile(spec_.path);
  if (!file.ok() || file->id != file_->id || file->path != file_->path) {
    log_.Write(LogLevel::kWarning, spec_.path,
               file.ok() ? "another file has taken its place" : file.status().message());
    (void)StopEngine(kStopReplaced);  // what is left is in the state directory
    return;
  }
  const EngineStatus status = engine()->GetStatus(false);
  NoteHour(status);
  NoteAlarm(status);
  if (status.state == EngineState::kFailed || status.state == EngineState::kStopped) {
    (void)StopEngine(milliseconds(0));
    std::lock_guard lock(mutex_);
    waiting_ = FailedPreconditionError(status.last_error);
  } else if (status.state == EngineState::kStarting) {
    *next = kFirstBackoff * 4;
  }
}

Status DatabaseTask::StopEngine(milliseconds timeout) {
  const std::shared_ptr<Engine> engine = this->engine();
  if (!engine) {
    return Status::Ok();
  }
  const Status stopped = engine->Stop(timeout);
  const EngineStatus last = engine->GetStatus(false);
  NoteHour(last);
  {
    std::lock_guard lock(mutex_);
    engine_ = nullptr;  // only now: "paused" means that the database is closed
    past_requests_ += last.requests - std::min(last.requests, hour_requests_);
    past_bytes_ += last.bytes_shipped - std::min(last.bytes_shipped, hour_bytes_);
    hour_requests_ = hour_bytes_ = 0;
    alarm_since_us_ = 0;
  }
  if (file_) {
    claims_.Release(file_->id, spec_.path);
    file_.reset();
  }
  return stopped;
}

Status DatabaseTask::Stop(milliseconds timeout) {
  stopped_ = true;
  return StopEngine(timeout);
}

void DatabaseTask::Resume() {
  paused_ = false;
  std::lock_guard lock(mutex_);
  waiting_ = Status::Ok();
}

bool DatabaseTask::OnEvent(bool files_changed) {
  std::shared_ptr<Engine> engine;
  bool wait_ends = false;
  {
    std::lock_guard lock(mutex_);
    engine = engine_;
    wait_ends = waits_for_file_;
  }
  if (engine) {
    engine->Notify(files_changed);
    return files_changed;
  }
  return !paused_ && (wait_ends || files_changed);
}

std::shared_ptr<Engine> DatabaseTask::engine() const {
  std::lock_guard lock(mutex_);
  return engine_;
}

Status DatabaseTask::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_;
}

void DatabaseTask::SetWaiting(const Status& why) {
  bool changed = false;
  {
    std::lock_guard lock(mutex_);
    changed = waiting_.ToString() != why.ToString();
    waiting_ = why;
  }
  if (changed && !why.ok()) {
    log_.Write(LogLevel::kWarning, spec_.path, "not shipped: " + why.message());
  }
}

void DatabaseTask::NoteHour(const EngineStatus& status) {
  const int64_t hour = Clock::Real().WallMicros() / kHourMicros;
  std::lock_guard lock(mutex_);
  if (std::exchange(hour_, hour) != hour) {
    hour_requests_ = status.requests;
    hour_bytes_ = status.bytes_shipped;
    past_requests_ = past_bytes_ = 0;
  }
}

// There is something to ship, and what the store has stays the same.
void DatabaseTask::NoteAlarm(const EngineStatus& status) {
  const int64_t now = Clock::Real().MonotonicMicros();
  bool changed = false;
  {
    std::lock_guard lock(mutex_);
    const bool behind = status.lag_commits > 0 || status.state == EngineState::kFenced ||
                        status.state == EngineState::kStarting;
    if (!behind || status.shipped_txid != alarm_txid_ || alarm_since_us_ == 0) {
      alarm_since_us_ = behind ? now : 0;
      alarm_txid_ = status.shipped_txid;
    }
    const bool alarm =
        alarm_since_us_ != 0 && now - alarm_since_us_ >= spec_.alarm_after.count() * 1000;
    changed = std::exchange(alarm_, alarm) != alarm;
  }
  if (changed) {
    const bool on = alarm_;
    log_.Write(on ? LogLevel::kError : LogLevel::kInfo, spec_.path,
               on ? "alarm: it has changes, but its position does not move" : "the alarm is over");
  }
}

DatabaseStatus DatabaseTask::GetStatus(bool force) const {
  DatabaseStatus status;
  const std::shared_ptr<Engine> running = engine();
  if (running) {
    status.engine = running->GetStatus(force);
    status.has_engine = true;
  }
  status.engine.database = spec_.path;
  std::lock_guard lock(mutex_);
  if (!running) {
    status.engine.replica = spec_.replica_url;
    status.waiting_for = waiting_.message();
  }
  status.paused = paused_;
  status.alarm = alarm_;
  status.requests_this_hour =
      past_requests_ + status.engine.requests - std::min(hour_requests_, status.engine.requests);
  status.bytes_this_hour = past_bytes_ + status.engine.bytes_shipped -
                           std::min(hour_bytes_, status.engine.bytes_shipped);
  struct stat st {};
  if (stat((spec_.path + "-wal").c_str(), &st) == 0) {
    status.wal_file_bytes = static_cast<uint64_t>(st.st_size);
  }
  return status;
}

std::string FormatDatabaseStatusJson(const DatabaseStatus& status) {
  auto json = nlohmann::ordered_json::parse(FormatStatusJson(status.engine));
  if (!status.has_engine) {
    json["state"] = status.paused ? "paused" : "waiting";
  }
  json["waiting_for"] = status.waiting_for;
  json["alarm"] = status.alarm;
  json["wal_file_bytes"] = status.wal_file_bytes;
  json["requests_this_hour"] = status.requests_this_hour;
  json["bytes_this_hour"] = status.bytes_this_hour;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace sqlite_s3

#include "agent/daemon/database_task.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "agent/daemon/process_setup.h"
#include "common/base/time.h"
#include "common/config/units.h"
#include "common/replica/store_address.h"
#include "common/store/open_store.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookAfter{10'000};
constexpr milliseconds kLookAfterWatched{30'000};  // what happens to its files is told
constexpr milliseconds kIdleLookWatched{15'000};
constexpr milliseconds kIdleLookElsewhere{5'000};  // a state directory whose events nobody tells
constexpr milliseconds kFirstBackoff{500};
constexpr milliseconds kMostBackoffForFile{5'000};  // looking at a file costs next to nothing
constexpr milliseconds kMostBackoff{60'000};        // a start asks the store, and may read it all
constexpr milliseconds kStopReplaced{2'000};
constexpr milliseconds kNever{24 * 3600 * 1000};
constexpr int64_t kHourMicros = int64_t{3600} * 1'000'000;
constexpr uint32_t kCheckpointPages = 1000;  // as SQLite's own default

}  // namespace

DatabaseTask::DatabaseTask(DatabaseSpec spec, FileClaims& claims, Logger& log,
                           std::shared_ptr<WorkPool> threads, std::shared_ptr<RateLimiter> limits,
                           std::shared_ptr<SharedTransports> transports,
                           std::shared_ptr<StoreWatches> watches)
    : spec_(std::move(spec)),
      claims_(claims),
      log_(log),
      threads_(std::move(threads)),
      limits_(std::move(limits)),
      transports_(std::move(transports)),
      watches_(std::move(watches)),
      hour_(Clock::Real().WallMicros() / kHourMicros),
      position_(spec_.replica.ship.alarm_after) {}

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
  milliseconds next = watched ? kLookAfterWatched : kLookAfter;
  if (engine()) {
    LookAfter(&next);
    if (engine()) {
      backoff_ = milliseconds(0);
      return next;
    }
  }
  {
    std::lock_guard lock(mutex_);
    if (paused_) {
      return kNever;
    }
    opening_ = true;
  }
  const Status started = Start(watched);
  SetWaiting(started);
  const FileSigns signs = LookAtFiles(spec_.path);
  {
    std::lock_guard lock(mutex_);
    opening_ = false;
    refused_ = signs;
  }
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
  if (!spec_.real_path.empty() && file.path != spec_.real_path) {
    return FailedPreconditionError("'" + spec_.path + "' leads out of its directory");
  }
  RETURN_IF_ERROR(claims_.Claim(file.id, spec_.path));
  Status ready = CheckDescriptorLimit(claims_.count(), DescriptorLimit());
  if (ready.ok()) {
    ready = CheckReadyToShip(file);
  }
  if (!ready.ok()) {
    claims_.Release(file.id, spec_.path);
    return ready;
  }
  {
    std::lock_guard lock(mutex_);
    waits_for_file_ = false;
    if (std::exchange(waiting_is_of_file_, false)) {
      waiting_ = Status::Ok();  // what the file lacked is there
    }
  }
  EngineConfig config;
  config.database_path = file.path;
  config.options = spec_.replica.ship;
  config.checkpoint_pages =
      config.options.checkpoint_pages != 0 ? config.options.checkpoint_pages : kCheckpointPages;
  config.join_only = true;
  config.starts_again = !waiting().ok();
  config.pool = threads_;
  config.shared_limits = limits_;
  if (watched) {
    config.idle_look = config.options.state_dir.empty() ? kIdleLookWatched : kIdleLookElsewhere;
  }
  config.log = [this](LogLevel level, const std::string& message) {
    log_.Write(level, spec_.path, message);
  };
  StoreAddress address = AddressOf(spec_.replica.location, StoreUse::kShip);
  address.transports = transports_;
  if (watches_ && address.scheme == "s3") {
    const S3Address& s3 = address.s3;
    config.store_watch = watches_->Of(s3.endpoint.empty() ? "AWS " + s3.region : s3.endpoint);
  }
  auto store = OpenStore(address);
  if (!store.ok()) {
    claims_.Release(file.id, spec_.path);
    return store.status();
  }
  config.store = std::make_shared<MeteredStore>(std::move(store).value(), meter_);
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
  TrimMemoryNowAndThen();
  auto file = FindDatabaseFile(spec_.path);
  if (!file.ok() || file->id != file_->id || file->path != file_->path) {
    log_.Write(LogLevel::kWarning, spec_.path,
               file.ok() ? "another file has taken its place" : file.status().message());
    (void)StopEngine(kStopReplaced);  // what is left is in the state directory
    return;
  }
  EngineStatus status = engine()->GetPulse();
  if (status.state == EngineState::kFailed || status.state == EngineState::kStopped) {
    status = engine()->GetStatus(false);  // with what it failed of
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
  Status stopped = engine->Stop(timeout);
  {
    std::lock_guard lock(mutex_);
    engine_ = nullptr;  // only now: "paused" means that the database is closed
  }
  if (file_) {
    claims_.Release(file_->id, spec_.path);
    file_.reset();
  }
  return stopped;
}

Status DatabaseTask::Stop(milliseconds timeout) {
  stopped_ = true;
  if (StoreWasAway()) {
    return waiting();  // nothing was shipped since it is
  }
  if (Status why = waiting(); !engine() && why.code() == StatusCode::kAborted) {
    return why;
  }
  Status stopped = StopEngine(timeout);
  std::lock_guard lock(mutex_);
  if (waiting_.ok()) {
    waiting_ = NotFoundError("the agent has let go of it");  // who waits for an engine need not
  }
  return stopped;
}

void DatabaseTask::Pause() {
  std::lock_guard lock(mutex_);
  paused_ = true;
}

bool DatabaseTask::IsClosed() const {
  std::lock_guard lock(mutex_);
  return !engine_ && !opening_;
}

void DatabaseTask::Resume() {
  paused_ = false;
  std::lock_guard lock(mutex_);
  waiting_ = Status::Ok();
}

bool DatabaseTask::OnEvent(bool files_changed) {
  std::shared_ptr<Engine> engine;
  FileSigns refused;
  {
    std::lock_guard lock(mutex_);
    engine = engine_;
    if (!engine && (paused_ || waits_for_file_)) {
      return !paused_;
    }
    if (!engine && (opening_ || !files_changed)) {
      return false;
    }
    refused = refused_;
  }
  if (engine) {
    engine->Notify(files_changed);
    return files_changed;
  }
  // The start that was refused made and removed a -wal: its own events would begin the next one,
  // and so on, each of them with requests to the store.
  return LookAtFiles(spec_.path) != refused;
}

void DatabaseTask::LookUnasked(bool unasked) {
  if (const std::shared_ptr<Engine> running = engine()) {
    running->LookUnasked(unasked);
  }
}

uint32_t DatabaseTask::FramesPerSecond() const {
  const std::shared_ptr<Engine> running = engine();
  return running ? running->FramesPerSecond() : 0;
}

std::shared_ptr<Engine> DatabaseTask::engine() const {
  std::lock_guard lock(mutex_);
  return engine_;
}

Status DatabaseTask::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_;
}

bool DatabaseTask::StoreWasAway() const {
  std::lock_guard lock(mutex_);
  return !engine_ && (waiting_.code() == StatusCode::kUnavailable ||
                      waiting_.code() == StatusCode::kDeadlineExceeded);
}

// REQUIRES: mutex_.
bool DatabaseTask::AsksStore() const { return opening_ && !waits_for_file_; }

void DatabaseTask::SetWaiting(const Status& why) {
  bool changed = false;
  {
    std::lock_guard lock(mutex_);
    changed = waiting_.ToString() != why.ToString();
    waiting_ = why;
    waiting_is_of_file_ = !why.ok() && waits_for_file_;
  }
  if (changed && !why.ok()) {
    log_.Write(LogLevel::kWarning, spec_.path, "not shipped: " + why.message(),
               {.code = why.code()});
  }
}

DatabaseStatus DatabaseTask::Review() {
  NoteHour();
  DatabaseStatus status;
  const std::shared_ptr<Engine> running = engine();
  if (running) {
    status.engine = running->GetPulse();
    status.has_engine = true;
  }
  status.paused = paused_;
  const bool alarm = NoteAlarm(status);
  bool changed = false;
  {
    std::lock_guard lock(mutex_);
    changed = std::exchange(alarm_, alarm) != alarm;
  }
  status.alarm = alarm;
  if (changed || alarm) {
    status = GetStatus(false);  // with what there is to say
  }
  if (changed && alarm) {
    const StatusCode last = status.engine.last_error_code;
    const StatusCode code = !status.has_engine        ? waiting().code()
                            : last != StatusCode::kOk ? last
                                                      : StatusCode::kUnavailable;
    const std::string& why = status.has_engine ? status.engine.last_error : status.waiting_for;
    log_.Write(
        LogLevel::kError, spec_.path,
        fmt::format("alarm: nothing has reached the replica for {} though it should{}{}",
                    FormatDuration(spec_.replica.ship.alarm_after), why.empty() ? "" : ": ", why),
        {.txid = status.engine.shipped_txid, .code = code});
  } else if (changed) {
    log_.Write(LogLevel::kInfo, spec_.path, "the alarm is over",
               {.txid = status.engine.shipped_txid});
  }
  return status;
}

void DatabaseTask::NoteHour() {
  const int64_t hour = Clock::Real().WallMicros() / kHourMicros;
  const StoreTraffic traffic = meter_->Read();
  std::lock_guard lock(mutex_);
  if (std::exchange(hour_, hour) != hour) {
    hour_requests_ = traffic.Requests();
    hour_bytes_ = traffic.bytes_sent;
  }
}

bool DatabaseTask::NoteAlarm(const DatabaseStatus& status) {
  const EngineStatus& engine = status.engine;
  PositionAlarm::Inputs inputs;
  if (status.has_engine) {
    const bool starts = engine.state == EngineState::kStarting;
    // What waits for its interval, which a request budget can make long, is not behind.
    const bool late = engine.lag_commits > 0 && engine.lag_ms >= engine.interval_ms;
    inputs.behind = starts || late || engine.state == EngineState::kFenced ||
                    engine.state == EngineState::kFailed;
    inputs.shipped_txid = engine.shipped_txid;
    if (starts && engine.last_error.empty()) {
      inputs.progress = engine.looks;  // compares; one that fails and begins again is no progress
    } else if (engine.image_running && !engine.image_txid) {
      // Before the first image is complete nothing counts as shipped, however much goes out.
      inputs.progress = engine.bytes_shipped;
    }
    inputs.engine = this->engine().get();
  } else {
    // A database that is not there has nothing to ship.
    std::lock_guard lock(mutex_);
    const StatusCode why = waiting_.code();
    inputs.behind =
        !status.paused && (AsksStore() || (why != StatusCode::kOk && why != StatusCode::kNotFound));
  }
  return position_.Update(inputs, Clock::Real().MonotonicMicros());
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
    if (waiting_.ok() && AsksStore()) {
      status.waiting_for = "the answer of replica " + spec_.replica_url;
    }
    status.fenced = waiting_.code() == StatusCode::kAborted;
  }
  status.paused = paused_;
  status.alarm = alarm_;
  status.traffic = meter_->Read();
  status.observed_us = Clock::Real().MonotonicMicros() - since_us_;
  status.requests_this_hour = status.traffic.Requests() - hour_requests_;
  status.bytes_this_hour = status.traffic.bytes_sent - hour_bytes_;
  struct stat st {};
  if (stat((spec_.path + "-wal").c_str(), &st) == 0) {
    status.wal_file_bytes = static_cast<uint64_t>(st.st_size);
  }
  return status;
}

}  // namespace sqlite_s3

// The worker: what an engine does, step by step, and the two drivers of it: a thread of its own (in
// an application's process), or the threads of a pool that many engines share (in the agent's).

#include <algorithm>
#include <functional>
#include <utility>

#include "agent/ship/engine_impl.h"
#include "agent/ship/guarded.h"
#include "common/base/cancellation.h"

namespace sqlite_s3 {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr auto kEndedSleep = milliseconds(500);
constexpr int64_t kRestartsEveryMicros = 10'000'000;  // at once; sooner than that: later
constexpr auto kStandbyPoll = milliseconds(250);
constexpr auto kNoWait = milliseconds(0);
constexpr int64_t kLastedMicros = 60'000'000;  // a session that failed later than that had worked
constexpr int64_t kScanSliceMicros = 20'000;

}  // namespace

// Not on the doorbell: that is for the one that ships, and a standby would answer its rings.
EngineImpl::Pause EngineImpl::Await(milliseconds wait, milliseconds flush_wait) {
  const int64_t now = Monotonic();
  not_before_us_ = now + microseconds(wait).count();
  flush_not_before_us_ = now + microseconds(flush_wait).count();
  return WaitLeft(Lane::kStart);
}

// Later each time: a start asks the store, and may read the whole database. While flushing as soon
// as it makes sense: as long as the one who stops us is willing to wait.
EngineImpl::Pause EngineImpl::AwaitRetry() {
  retry_pause_ = NextRetryPause(retry_pause_, config_.first_retry, retry_is_local_);
  return Await(retry_pause_, config_.first_retry);
}

// What a wake-up for other reasons must not cut short; else the store would be asked again, and
// again, at every commit.
EngineImpl::Pause EngineImpl::WaitLeft(Lane lane) const {
  Pause pause{Pause::Kind::kTime, {}, lane};
  pause.flushing = flushing_;
  const int64_t until = pause.flushing ? flush_not_before_us_ : not_before_us_;
  pause.wait = microseconds(std::max<int64_t>(until - Monotonic(), 0));
  return pause;
}

// Memory or threads that have run out end a session, not the application.
EngineImpl::Pause EngineImpl::WorkerStep(Lane lane) {
  Pause pause;
  const std::function<bool()> stopped = [this] { return Interrupted(); };
  const Status ended = Guarded([&] {
    const CancelScope scope(stopped);
    pin_watch_.reset();
    pause = Step(lane);
    if (config_.pool && capture_ && (phase_ == Phase::kOpen || phase_ == Phase::kScan)) {
      pin_watch_ = WatchPin(PinWatch::kWhileQueued);
    }
    return Status::Ok();
  });
  if (ended.ok()) {
    return pause;
  }
  session_open_ = scanned_ = false;
  CloseSession();
  (void)Guarded([&] {  // to say so may need memory, too
    SetState(EngineState::kStoreAway, ended);
    return Status::Ok();
  });
  phase_ = Phase::kLock;
  retry_is_local_ = true;
  return AwaitRetry();
}

EngineImpl::Pause EngineImpl::Step(Lane lane) {
  ++looks_;
  if (phase_ != Phase::kShip && phase_ != Phase::kClose && !Interrupted()) {
    if (const Pause left = WaitLeft(lane); left.wait.count() > 0) {
      return left;
    }
  }
  switch (phase_) {
    case Phase::kLock: {
      if (Interrupted()) {
        return {Pause::Kind::kEnd};
      }
      if (state_dir_.locked() && !state_dir_.CheckInPlace().ok()) {
        state_dir_.Unlock();  // nobody else sees it
      }
      auto locked = state_dir_.TryLock();
      if (const Status mapped = shared_->Reopen(); locked.ok() && *locked && !mapped.ok()) {
        return EndSession(EndFor(mapped));
      }
      if (!locked.ok() || !*locked) {
        if (!locked.ok() && !flushing_) {
          return EndSession(EndFor(locked.status()));  // there is nobody else who ships
        }
        if (flushing_) {
          flushed_ = locked.ok();
          return {Pause::Kind::kEnd};  // the one that ships has the commits
        }
        SetState(EngineState::kStandby);
        return Await(kStandbyPoll, kNoWait);
      }
      phase_ = Phase::kOpen;
      return {Pause::Kind::kNone, {}, Lane::kStart};
    }
    case Phase::kOpen: {
      const Status opened = OpenForShipping();
      if (!opened.ok()) {
        return EndSession(EndFor(opened));
      }
      phase_ = Phase::kScan;
      return {Pause::Kind::kNone, {}, Lane::kStart};
    }
    case Phase::kScan: {
      bool done = scanned_;  // in Init
      if (!done) {
        const Status scanned = ScanSlice(kScanSliceMicros, &done);
        if (!scanned.ok()) {
          return EndSession(EndFor(scanned));
        }
      }
      if (!done) {
        return {Pause::Kind::kNone, {}, Lane::kStart};
      }
      scanned_ = false;
      started_ = true;
      ShowUploads(Status::Ok());
      shipping_since_us_ = Monotonic();
      phase_ = Phase::kShip;
      return {Pause::Kind::kNone, {}, Lane::kShip};
    }
    case Phase::kShip: {
      Pause after;
      const std::optional<SessionEnd> end = ShipRound(lane, &after);
      return end ? EndSession(*end) : after;
    }
    case Phase::kClose:
      return AfterSession();
    case Phase::kEnded:
      // The application goes on without us: its hook makes plain checkpoints (MakeRoomInHook).
      if (Interrupted() || flushing_) {
        return {Pause::Kind::kEnd};
      }
      return Await(kEndedSleep, kNoWait);
  }
  return {Pause::Kind::kEnd};
}

EngineImpl::SessionEnd EngineImpl::EndFor(const Status& status) {
  retry_is_local_ =
      status.code() != StatusCode::kUnavailable && status.code() != StatusCode::kDeadlineExceeded;
  switch (status.code()) {
    case StatusCode::kCancelled:
      ended_behind_ = true;  // in the middle of something
      return SessionEnd::kStop;
    case StatusCode::kAborted:
      SetState(EngineState::kFenced, status);
      return SessionEnd::kFenced;
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kIoError:
    case StatusCode::kResourceExhausted:
    case StatusCode::kPermissionDenied:
      SetState(EngineState::kStoreAway, status);
      return SessionEnd::kRetryLater;
    case StatusCode::kFailedPrecondition:
    case StatusCode::kInvalidArgument:
    case StatusCode::kUnimplemented:
      SetState(EngineState::kFailed, status);
      return SessionEnd::kFailed;
    default:
      // The WAL and its index did not fit together, or a bug of ours: what was shipped stands, and
      // a new start compares every page.
      if (SetState(EngineState::kStarting, status)) {
        Log(LogLevel::kError, "starting again: " + status.ToString());
      }
      return std::exchange(last_restart_us_, Monotonic()) > Monotonic() - kRestartsEveryMicros
                 ? SessionEnd::kRetryLater
                 : SessionEnd::kRestart;
  }
}

Status EngineImpl::OpenForShipping() {
  if (!session_open_) {
    SetState(EngineState::kStarting);
    RETURN_IF_ERROR(OpenSession());
  }
  session_open_ = false;
  asked_older_ = asked_fallback_ = false;
  scan_begun_ = false;
  rested_at_us_ = -1;
  {
    std::lock_guard lock(image_mutex_);
    image_retry_us_ = 0;
  }
  StartUploader();
  return Status::Ok();
}

// Closing waits for what is on its way to the store: not on a thread that others need.
EngineImpl::Pause EngineImpl::EndSession(SessionEnd end) {
  session_end_ = end;
  phase_ = Phase::kClose;
  return {Pause::Kind::kNone, {}, Lane::kCheckpoint};
}

EngineImpl::Pause EngineImpl::AfterSession() {
  if (started_ && Monotonic() - shipping_since_us_ > kLastedMicros) {
    retry_pause_ = kNoWait;
  }
  CloseSession();
  phase_ = Phase::kLock;
  switch (session_end_) {
    case SessionEnd::kStop:
      return {Pause::Kind::kEnd};
    case SessionEnd::kRestart:
      break;
    case SessionEnd::kRetryLater:
      return AwaitRetry();
    case SessionEnd::kFenced:
    case SessionEnd::kFailed:
      phase_ = Phase::kEnded;
      break;
  }
  return {Pause::Kind::kNone, {}, Lane::kStart};
}

// Ends what a session runs. Frozen bytes stay in the spool.
void EngineImpl::CloseSession() {
  started_ = false;
  pin_watch_.reset();
  StopUploader();
  JoinImage();
  std::lock_guard lock(capture_mutex_);
  image_.reset();
  scan_.reset();
  scan_status_ = Status::Ok();
  queue_.clear();
  encoder_.reset();
  const bool keep_for_checkpoints =
      state() == EngineState::kFenced || state() == EngineState::kFailed;
  if (capture_ && keep_for_checkpoints) {
    capture_->ReleasePin();
  } else {
    capture_.reset();
  }
}

// --- drivers

void EngineImpl::WorkerMain() {
  for (Lane lane = Lane::kStart;;) {
    const Pause pause = WorkerStep(lane);
    lane = pause.lane;
    switch (pause.kind) {
      case Pause::Kind::kNone:
        break;
      case Pause::Kind::kDoorbell:
        shared_->SleepUntilRung(pause.seen, pause.wait, pause.nap);
        break;
      case Pause::Kind::kTime: {
        std::unique_lock lock(state_mutex_);
        upload_cv_.wait_for(lock, pause.wait,
                            [&] { return Interrupted() || flushing_ != pause.flushing; });
        break;
      }
      case Pause::Kind::kEnd:
        WorkerEnded();
        return;
    }
  }
}

WorkPool::Next EngineImpl::PooledStep(Lane lane) {
  if (!woken_.exchange(false) && IsUndisturbed()) {
    ++looks_;
    return WorkPool::Next::After(config_.idle_look, lane);
  }
  (*shared_)->sleeping = SharedBlock::kAwake;
  const Pause pause = WorkerStep(lane);
  switch (pause.kind) {
    case Pause::Kind::kNone:
      break;
    case Pause::Kind::kDoorbell:
      (*shared_)->sleeping = pause.nap ? SharedBlock::kNaps : SharedBlock::kPooled;
      // Whoever rang before that did not know how to wake us.
      return (*shared_)->doorbell != pause.seen.doorbell
                 ? WorkPool::Next::AtOnce(pause.lane)
                 : WorkPool::Next::After(pause.wait, pause.lane);
    case Pause::Kind::kTime:
      return WorkPool::Next::After(pause.wait, pause.lane);
    case Pause::Kind::kEnd:
      WorkerEnded();
      return WorkPool::Next::End();
  }
  return WorkPool::Next::AtOnce(pause.lane);
}

void EngineImpl::WorkerEnded() {
  std::lock_guard lock(state_mutex_);
  worker_done_ = true;
  upload_cv_.notify_all();
}

void EngineImpl::RingWorker() {
  if (!config_.pool) {
    shared_->Ring();
    return;
  }
  ++(*shared_)->doorbell;
  WakeWorker();
}

void EngineImpl::RingWorkerIfIdle() {
  if (!config_.pool) {
    shared_->RingIfIdle();
  } else if ((*shared_)->sleeping != SharedBlock::kNaps) {
    WakeWorker();  // also while it steps: it may have looked already
  }
}

void EngineImpl::WakeWorker() {
  woken_ = true;
  std::shared_ptr<WorkPool::Task> task;
  {
    std::lock_guard lock(task_mutex_);
    task = worker_task_;
  }
  if (task) {
    task->Wake();
  }
}

}  // namespace sqlite_s3

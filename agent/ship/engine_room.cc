// Keeping out of the application's way: room in the WAL, a pin that moves, and none at all when
// somebody waits for it.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/ship/engine_impl.h"
#include "agent/ship/guarded.h"

namespace sqlite_s3 {
namespace {

constexpr int kWriteLockTimeoutMs = 50;
constexpr uint32_t kBusyWalThresholds = 8;
constexpr uint32_t kMostBusyWalThresholds = 32;
constexpr int64_t kBusyRetryMicros = 2'000;
constexpr uint32_t kLeftForLock = 500;  // frames
constexpr int64_t kMinFreshenMicros = 10'000;
constexpr int64_t kMaxFreshenMicros = 500'000;
constexpr int64_t kLongestCopyMicros = 1'000'000;
constexpr int64_t kStepAsideAfterMicros = 40'000;
constexpr auto kStepAside = std::chrono::milliseconds(150);  // SQLite asks every 100 ms at least
constexpr int64_t kMinUnsafeMicros = 5'000;
constexpr int64_t kMaxUnsafeMicros = 1'000'000;
constexpr int64_t kGiveWayAfterMicros = 1'000'000;
constexpr int64_t kFailedRetryMicros = 1'000'000;

// Nothing is lost by trying again later.
Status Unharmed(const Status& status) {
  return status.code() == StatusCode::kUnavailable ? Status::Ok() : status;
}

}  // namespace

// The worker's own room-making: for commits that no hook of this process announces (other
// processes, a displaced hook, standbys that ask), and for frames that a crash of the machine would
// lose.
Status EngineImpl::MakeRoomIfDue() {
  std::lock_guard lock(capture_mutex_);
  return MakeRoomIfDueLocked();
}

Status EngineImpl::MakeRoomIfDueLocked() {
  const uint32_t threshold = checkpoint_pages_;
  if (gap_ || !capture_) {
    return Status::Ok();
  }
  wal_resets_ = capture_->wal_resets();
  salvaged_ = capture_->salvaged_commits();
  if (CheckpointsFail()) {
    return Status::Ok();
  }
  const uint32_t frames = capture_->index().PeekMaxFrame();
  const bool asked = (*shared_)->room_ticket != (*shared_)->roomed_ticket;
  // Our own hook does it at the threshold, in the committing thread; leave it the first try.
  const bool again = capture_->CheckpointFailed();
  const bool due =
      again || (threshold > 0 && frames >= threshold && frames >= worker_room_retry_at_ &&
                (asked || unannounced_ > 0 || frames >= threshold + threshold / 4));
  if (frames < threshold) {
    worker_room_retry_at_ = 0;
    NoteWalEmptied();
  }
  const bool unsafe = capture_->wants_room();
  if (!unsafe) {
    unsafe_wait_us_ = 0;
  }
  if (!unsafe && capture_->index().BackfilledFrames() >= frames &&
      capture_->captured_frames() == frames && worker_room_done_at_ == frames) {
    return Status::Ok();  // all is in the file and the pin is on slot 0: it is the writer's turn
  }
  if (!unsafe && !again && IsBusy()) {
    return KeepAheadOfWriter(frames);
  }
  if (!due && (!unsafe || Monotonic() < unsafe_not_before_us_)) {
    return Status::Ok();
  }
  if (!InLane(Lane::kCheckpoint)) {
    return Status::Ok();
  }
  auto outcome = capture_->MakeRoom(*this);
  if (unsafe) {  // until the WAL was emptied, which readers and busy writers keep us from
    unsafe_wait_us_ = std::clamp(unsafe_wait_us_ * 2, kMinUnsafeMicros, kMaxUnsafeMicros);
    unsafe_not_before_us_ = Monotonic() + unsafe_wait_us_;
  }
  if (CheckpointsFail()) {
    return outcome.status();
  }
  // Not when it is the capture that is behind: to hold off writers would gain nothing.
  if (outcome.ok() && outcome->captured && !outcome->complete && frames >= 2 * threshold &&
      threshold > 0 && (unannounced_ > 0 || asked) && config_.options.write_lock) {
    outcome = MakeRoomUnderWriteLock(kWriteLockTimeoutMs);
  }
  if (!outcome.ok()) {
    return outcome.code() == StatusCode::kUnavailable ? Status::Ok() : outcome.status();
  }
  checkpoints_ += outcome->ran ? 1 : 0;
  if (outcome->complete) {
    NoteWalEmptied();
  }
  worker_room_done_at_ = outcome->complete ? capture_->captured_frames() : 0;
  // Each time the pin moves, a writer beyond its own threshold makes a checkpoint up to there: not
  // for a few frames.
  worker_room_retry_at_ = outcome->complete ? 0 : frames + threshold / 4 + frames / 8 + 1;
  return Status::Ok();
}

// Whether the disk has no room for a checkpoint, or fails in another way, so that the next try is
// to come later. Commits are shipped all the same. REQUIRES: capture_mutex_, a capture.
bool EngineImpl::CheckpointsFail() {
  const WalIndexView& index = capture_->index();
  const bool failed = capture_->CheckpointFailed();
  const uint64_t times = capture_->failed_checkpoints();
  if (std::exchange(checkpoints_failed_, times) != times && failed) {
    checkpoint_retry_us_ = Monotonic() + kFailedRetryMicros;
    SetCheckpointError(CheckpointTrouble::kFails,
                       capture_->last_checkpoint()->ToString() +
                           ", hint: look at the disk that the database is on");
  } else if ((capture_->last_checkpoint() && !failed) ||
             index.BackfilledFrames() >= index.PeekMaxFrame()) {  // by another connection's
    SetCheckpointError(CheckpointTrouble::kFails, "");
  }
  return failed && Monotonic() < checkpoint_retry_us_;
}

// Whether a writer that we do not hear of commits so fast that it is worth keeping it from making
// checkpoints.
bool EngineImpl::IsBusy() const {
  // During a start the last rate is of before it, and the pin has to get out of everybody's way.
  return started_ && checkpoint_pages_ > 0 && unannounced_ > 0 && config_.options.write_lock &&
         frames_per_second_ >= config_.busy_frames_per_second;
}

// A writer that never rests has to be held off for the WAL to be reset, and while one connection is
// in a checkpoint nobody else begins one: so all the work, with its fsyncs, is done beside it, and
// what is left under the lock takes a few milliseconds. The WAL grows to several times the
// threshold, for each time the writer sleeps as long, at least.
Status EngineImpl::KeepAheadOfWriter(uint32_t frames) {
  // A pin moves only when all is captured.
  if (capture_->CheckpointRuns() || (!queue_.empty() && !HasRoom()) ||
      Monotonic() < busy_not_before_us_) {
    return Status::Ok();
  }
  RETURN_IF_ERROR(Unharmed(capture_->EndCheckpoint()));
  if (CheckpointsFail()) {
    return Status::Ok();
  }
  const uint32_t threshold = checkpoint_pages_;
  const uint32_t behind = frames - std::min(capture_->index().BackfilledFrames(), frames);
  // It is faster than we are: let it do the work, and wait for its own fsyncs meanwhile.
  const bool too_fast = account_.bytes() > config_.options.memory_bytes / 2;
  if (frames >= kBusyWalThresholds * threshold && frames >= worker_room_retry_at_) {
    // Again, for what came during the last one's fsync, until that is little, or the WAL large.
    const uint32_t most = lane_ == Lane::kCheckpoint ? 2 * kLeftForLock : kLeftForLock;
    if (behind <= most || frames >= kMostBusyWalThresholds * threshold) {
      return ResetBusyWal(frames);
    }
  } else {
    const bool off_slot_0 = frames > 0 && capture_->PinIsOnSlot0();
    if (!off_slot_0 && behind < (too_fast ? 1 : kBusyWalThresholds / 2) * threshold) {
      return Status::Ok();
    }
  }
  if (too_fast) {
    busy_not_before_us_ = Monotonic() + kBusyRetryMicros;
    return Unharmed(capture_->MovePin(*this).status());
  }
  auto outcome = capture_->BeginCheckpoint(*this);
  if (outcome.ok() && outcome->ran) {
    ++checkpoints_;
  } else {
    busy_not_before_us_ = Monotonic() + kBusyRetryMicros;
  }
  return Unharmed(outcome.status());
}

Status EngineImpl::ResetBusyWal(uint32_t frames) {
  if (!InLane(Lane::kCheckpoint)) {
    return Status::Ok();
  }
  auto captured = capture_->Capture(*this, UINT32_MAX);
  if (!captured.ok() || *captured != CaptureOutcome::kCaughtUp) {
    return Unharmed(captured.status());  // to hold off the writer would gain nothing
  }
  auto outcome = MakeRoomUnderWriteLock(kWriteLockTimeoutMs);
  const bool complete = outcome.ok() && outcome->complete;
  checkpoints_ += outcome.ok() && outcome->ran ? 1 : 0;
  worker_room_retry_at_ = complete ? 0 : frames + checkpoint_pages_;
  worker_room_done_at_ = complete ? capture_->captured_frames() : 0;
  return Unharmed(outcome.status());
}

// An application's FULL, RESTART or TRUNCATE checkpoint holds the write lock while it waits for
// readers of older frames, and then for readers of any: with a pin that stays behind, every writer
// waits for as long as its busy timeout says. In quiet moments (and such a wait is one) the pin
// moves to the last frame, and once all is backfilled to slot 0, which is in nobody's way.
Status EngineImpl::FreshenPin() {
  std::lock_guard lock(capture_mutex_);
  return FreshenPinLocked();
}

Status EngineImpl::FreshenPinLocked() {
  if (gap_ || !capture_) {
    return Status::Ok();
  }
  if (IsBusy()) {
    return Status::Ok();  // quiet for the moment of its fsync
  }
  const uint64_t frames = capture_->frames_total();
  const bool quiet = std::exchange(quiet_frames_, frames) == frames;
  const bool behind = capture_->PinIsBehind();
  freshens_soon_ = behind && !quiet;
  if (!behind || !quiet) {
    freshen_wait_us_ = 0;
    return Status::Ok();
  }
  // A checkpoint that copies waits for nobody, and its fsyncs are no quiet moment: with a pin that
  // moves meanwhile, its writer finds more to do after its next commit, and so after every commit.
  // Not for long, for one that failed leaves word as if it copied, and the next one may wait for
  // us; and not of a large WAL, where its writer's waits are what keeps it from growing.
  const WalIndexView& index = capture_->index();
  if (index.CheckpointMayCopy() && index.CheckpointIsRunning() &&
      index.PeekMaxFrame() < kBusyWalThresholds * checkpoint_pages_) {
    freshen_since_us_ = freshen_wait_us_ == 0 ? Monotonic() : freshen_since_us_;
    if (Monotonic() - freshen_since_us_ < kLongestCopyMicros) {
      freshen_wait_us_ = std::clamp(freshen_wait_us_ * 2, kMinFreshenMicros, kMaxFreshenMicros);
      return Status::Ok();
    }
  }
  auto moved = capture_->MovePin(*this);
  if (moved.ok() && capture_->PinIsBehind() && MayWaitForPin()) {
    if (!InLane(Lane::kCheckpoint)) {
      return Status::Ok();
    }
    moved = capture_->StepAside(*this, kStepAside);
    if (moved.ok()) {
      moved = capture_->MovePin(*this);
    }
  }
  if (capture_->PinIsBehind()) {  // all slots were taken, or somebody is in a checkpoint
    freshen_wait_us_ = std::clamp(freshen_wait_us_ * 2, kMinFreshenMicros, kMaxFreshenMicros);
  } else {
    freshen_wait_us_ = 0;
  }
  return moved.code() == StatusCode::kUnavailable ? Status::Ok() : moved.status();
}

// Whether a checkpoint may wait for us though nothing can be done for it by moving. It has the
// write lock then: while that is free, commits may come, and the pin must be there. REQUIRES:
// capture_mutex_, nobody has committed since the last look.
bool EngineImpl::MayWaitForPin() {
  const WalIndexView& index = capture_->index();
  // freshen_wait_us_ is the last of the naps so far, which double.
  return freshen_wait_us_ >=
             (index.CheckpointMayCopy() ? kMaxFreshenMicros : kStepAsideAfterMicros) &&
         index.BackfilledFrames() != index.PeekMaxFrame() && index.CheckpointIsRunning() &&
         (config_.options.write_lock ? index.WriteLockIsTaken()
                                     : index.AnotherProcessWrites(config_.database_path + "-shm"));
}

// The same while a start waits for the store, however long, or for its turn: then the worker's
// thread is not there, and nothing but the lock tells.
std::unique_ptr<PinWatch> EngineImpl::WatchPin(std::chrono::milliseconds every) {
  auto look = [this] {
    std::unique_lock lock(capture_mutex_, std::try_to_lock);
    if (!lock || !capture_ || gap_ || !capture_->pinned()) {
      return;
    }
    (void)Guarded([&] {  // the worker meets the same error, and says so
      RETURN_IF_ERROR(CatchUpScan());
      lane_ = Lane::kCheckpoint;
      RETURN_IF_ERROR(MakeRoomIfDueLocked());
      return FreshenPinLocked();
    });
  };
  std::unique_ptr<PinWatch> watch;
  (void)Guarded([&] {  // without memory or a thread for it, a start goes on all the same
    watch = std::make_unique<PinWatch>(config_.pool.get(), every, look);
    return Status::Ok();
  });
  return watch;
}

// The same checkpoints while nothing more can be captured: the pin cannot move, and by
// when_full=grow-wal it stays as it is for as long as the store is away. But not at the price of
// every writer's time: when somebody is in a checkpoint and nobody commits, for a second, it is us
// whom they wait for.
Status EngineImpl::GiveWayIfAwaited() {
  {
    std::lock_guard lock(capture_mutex_);
    if (!IsAwaited()) {
      return Status::Ok();
    }
  }
  return EnterGap(
      "a checkpoint of the application's waits for us: "
      "commits from now on share one restore point");
}

// REQUIRES: capture_mutex_. Asked now and then.
bool EngineImpl::IsAwaited() {
  const uint32_t frames = capture_->index().PeekMaxFrame();
  const int64_t now = Monotonic();
  if (std::exchange(stuck_at_frames_, frames) != frames ||
      !capture_->AnotherConnectionCheckpoints()) {
    awaited_since_us_ = now;
  }
  return now - awaited_since_us_ >= kGiveWayAfterMicros;
}

// What was captured so far still goes to the spool, then the pin is given up and the WAL is the
// application's own again; once the spool is empty a new start ships the difference.
Status EngineImpl::EnterGap(std::string_view why) {
  spool_full_ = false;
  std::lock_guard lock(capture_mutex_);
  RETURN_IF_ERROR(EncodeRest());
  capture_->ReleasePin();
  gap_ = true;
  stuck_ = false;
  Log(LogLevel::kWarning, fmt::format("the spool is full and the store away: {}", why));
  return Status::Ok();
}

}  // namespace sqlite_s3

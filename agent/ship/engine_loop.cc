// A round of shipping: what is done in which order, and when to look again.

#include <algorithm>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kCaptureBatchFrames = 256;
constexpr size_t kEncodeSlice = 32;
// Naps are as long as it takes for about this many frames to come, by the last ones' rate: seldom
// enough to leave the committing thread its core, often enough that it rarely captures itself.
constexpr int64_t kFramesPerNap = 200;
constexpr int64_t kMinNapMicros = 200;
constexpr int64_t kMaxNapMicros = 10'000;
constexpr int64_t kLookMicros = 1'000;
constexpr int64_t kNapsForMicros = 30'000;        // after the last commit seen
constexpr int64_t kRestsAfterMicros = 2'000'000;  // the same
constexpr int64_t kWholeLookMicros = 30'000'000;  // what only time brings, such as an image's age
constexpr int64_t kFileCheckMicros = 2'000'000;
constexpr int64_t kGiveWayLookMicros = 250'000;

}  // namespace

// One round of what there is to do; how the session ended, if it did. A step that would take long
// is left for the next round, in the lane for it.
std::optional<EngineImpl::SessionEnd> EngineImpl::ShipRound(Lane lane, Pause* pause) {
  if (Interrupted()) {
    return EndInterrupted();
  }
  lane_ = wants_lane_ = lane;
  if (config_.pool && rested_at_us_ == last_activity_us_) {
    files_.Note();  // before the look: what comes after it differs
  }
  const SharedBlock::Seen seen = shared_->Look();
  // Read before capturing: what was committed before a ticket was taken is then surely captured.
  const Tickets tickets{(*shared_)->sync_ticket, (*shared_)->capture_ticket,
                        (*shared_)->room_ticket};
  const bool flushing = flushing_;
  if (fenced_) {
    return EndFenced();
  }
  bool caught_up = false;
  if (!gap_ && image_disagrees_.exchange(false)) {
    // Else no image would ever be complete again, and every restore lack what the disk has.
    return EndFor(CorruptionError("the database file has pages that no commit made"));
  }
  Status status = gap_ ? Status::Ok() : CaptureSome(&caught_up);
  if (gap_) {
    frames_per_second_ = 0;
  }
  if (status.ok()) {
    status = EncodeQueue(kEncodeSlice);
  }
  // Behind: look again at once, unless only the uploader can make room.
  bool more = queue_left_ || (!caught_up && !gap_ && !spool_full_ && last_capture_ok_);
  bool full = false;
  if (status.ok() && caught_up &&
      ((*shared_)->captured_ticket < tickets.capture || (*shared_)->synced_ticket < tickets.sync)) {
    // "All is captured" is worth nothing of a file that was replaced.
    status = CheckFiles(true);
  }
  if (status.ok() && caught_up) {
    ServeTickets(tickets);
  }
  if (status.ok()) {
    status = CutIfDue(&full);
  }
  if (status.ok()) {
    status = SetAsideCutOff();
  }
  if (status.ok()) {
    status = MakeRoomIfDue();
  }
  if (status.ok() && caught_up) {
    status = FreshenPin();
  }
  more = more || wants_lane_ != lane_;
  if (status.ok() && !more) {
    if ((*shared_)->roomed_ticket < tickets.room) {
      (*shared_)->roomed_ticket = tickets.room;
      shared_->Publish();
    }
    status = hashes_->Acknowledge({acked_txid_});
  }
  if (status.ok()) {
    status = CheckFiles(false);
  }
  if (!status.ok()) {
    // Whatever was encoded is sound: let it go out before starting again.
    if (encoder_ && !encoder_->empty() && !gap_) {
      (void)CutNow();  // the session ends anyway
    }
    return EndFor(status);
  }
  stuck_ = full && !caught_up && !gap_;
  if (full && config_.options.when_full == WhenFull::kResync && !gap_) {
    status = EnterGap("commits from now on share one restore point (when_full=resync)");
  } else if (stuck_) {
    status = GiveWayIfAwaited();
  }
  if (!status.ok()) {
    return EndFor(status);
  }
  if (gap_ && spool_->bytes() < config_.options.spool_bytes / 2 && spool_->size() == 0) {
    return SessionEnd::kRestart;  // the store is back: compare and ship what differs
  }
  if (flushing && !more && Flushed()) {
    flushed_ = !gap_;
    ended_behind_ = gap_;  // the spool may be empty by the time that somebody looks
    return SessionEnd::kStop;
  }
  MaybeStartImage();
  *pause = more ? Pause{} : PauseAfterRound(seen);
  pause->lane = wants_lane_ == lane_ ? Lane::kShip : wants_lane_;
  return std::nullopt;
}

EngineImpl::SessionEnd EngineImpl::EndFenced() {
  {
    std::lock_guard lock(state_mutex_);
    identity_.fenced = fenced_reason_;
  }
  SetState(EngineState::kFenced, AbortedError(identity_.fenced));
  // Also after a restart we stay fenced, until told.
  Status saved = state_dir_.SaveIdentity(identity_);
  if (!saved.ok()) {
    Log(LogLevel::kError, "the fence could not be noted: " + saved.ToString());
  }
  return SessionEnd::kFenced;
}

// Stopped in the middle: what is encoded goes to the spool and out at the next start. TXIDs of what
// is captured may have been told: its memory's worth may pass the spool's bound.
EngineImpl::SessionEnd EngineImpl::EndInterrupted() {
  spool_full_ = false;
  bool kept = !gap_ && EncodeQueue(SIZE_MAX).ok();
  if (kept && !encoder_->empty()) {
    kept = CutNow().ok();
  }
  std::lock_guard lock(capture_mutex_);
  // What is not captured goes out at the next start, too.
  ended_behind_ = !kept || !has_image_ || !queue_.empty() || capture_->HasPending();
  return SessionEnd::kStop;
}

// Whether this round may do what takes long; else the next one does, in the lane for it. A thread
// of the engine's own is in nobody's way.
bool EngineImpl::InLane(Lane wanted) {
  if (!config_.pool || lane_ == wanted) {
    return true;
  }
  wants_lane_ = wanted;
  return false;
}

bool EngineImpl::Flushed() {
  if (gap_) {
    return true;
  }
  if (!has_image_) {
    return false;  // what was shipped is of no use before the first image is complete
  }
  std::lock_guard lock(capture_mutex_);
  return queue_.empty() && encoder_->empty() && spool_->size() == 0 && !capture_->HasPending();
}

Status EngineImpl::CaptureSome(bool* caught_up) {
  std::unique_lock lock(capture_mutex_);
  encodes_big_ = false;  // also after a throw
  auto outcome = capture_->Capture(*this, kCaptureBatchFrames);
  last_capture_ok_ = outcome.ok();
  const int64_t now = Monotonic();
  NoteRate(capture_->frames_total(), now);
  if (!outcome.ok()) {
    // A recovery going on, or a lock held by one: nothing is lost by looking again later.
    return outcome.code() == StatusCode::kUnavailable ? Status::Ok() : outcome.status();
  }
  big_waits_ = false;
  if (*outcome == CaptureOutcome::kBigCommit) {
    const uint64_t bytes = uint64_t{capture_->big().pages.size()} * capture_->page_size();
    if (spool_->bytes() > 0 && spool_->bytes() + bytes > config_.options.spool_bytes) {
      big_waits_ = true;
      SetSpoolFull(true);
      return Status::Ok();
    }
    if (!InLane(Lane::kBig)) {
      return Status::Ok();
    }
    encodes_big_ = true;
    Status encoded = EncodeBig();  // keeps the lock: its pages are read again from the WAL
    encodes_big_ = false;
    return encoded;
  }
  *caught_up = *outcome == CaptureOutcome::kCaughtUp;
  return Status::Ok();
}

// How fast frames come: how long naps are, and what the agent goes by.
void EngineImpl::NoteRate(uint64_t frames, int64_t now) {
  constexpr double kRateMicros = 50'000;
  const int64_t elapsed = now - nap_since_us_;
  if (elapsed < kMinNapMicros) {
    return;
  }
  const auto came = static_cast<double>(frames - nap_frames_);
  nap_since_us_ = now;
  nap_frames_ = frames;
  const double rate = came * 1e6 / static_cast<double>(elapsed);
  const double before = frames_per_second_;
  const double weight = std::min(static_cast<double>(elapsed) / kRateMicros, 1.0);
  const double mean = before + (rate - before) * weight;
  frames_per_second_ = static_cast<uint32_t>(mean);
  // Also when it has just stopped: it may be asleep for a millisecond.
  nap_us_ = static_cast<int64_t>(std::clamp(kFramesPerNap * 1e6 / std::max({rate, mean, 1.0}),
                                            static_cast<double>(kMinNapMicros),
                                            static_cast<double>(kMaxNapMicros)));
}

// REQUIRES: everything committed when the tickets were read is captured.
void EngineImpl::ServeTickets(const Tickets& tickets) {
  if ((*shared_)->captured_ticket < tickets.capture) {
    (*shared_)->captured_ticket = tickets.capture;
    shared_->Publish();
  }
  if ((*shared_)->synced_ticket < tickets.sync) {
    std::lock_guard lock(state_mutex_);
    if (pending_syncs_.empty() || pending_syncs_.back().ticket < tickets.sync) {
      pending_syncs_.push_back({tickets.sync, {assigned_txid_}});
    }
  }
  PublishAcknowledged();
}

// A -wal that was unlinked under us means that somebody removed it by hand or replaced the
// database: commits go to a file that nobody else sees. Compare everything again.
Status EngineImpl::CheckFiles(bool now) {
  if (gap_ || (!now && Monotonic() - last_file_check_us_ < kFileCheckMicros && !files_changed_)) {
    return Status::Ok();
  }
  files_changed_ = false;
  last_file_check_us_ = Monotonic();
  RETURN_IF_ERROR(state_dir_.CheckInPlace());
  std::lock_guard lock(capture_mutex_);
  return capture_->CheckFilesInPlace();
}

// Of a database at rest, only what holds the pin and finds its place again is kept.
void EngineImpl::Rest() {
  std::lock_guard lock(capture_mutex_);
  if (image_ || !queue_.empty()) {
    return;  // the next look comes here again
  }
  rested_at_us_ = last_activity_us_.load();
  capture_->Rest();
  encoder_->Rest();
  hashes_->Rest();
  queue_ = {};
  encode_batch_ = {};
  account_.Trim();
}

// Whether a database at rest needs no look at its wal-index: nobody rang, there is nothing to do,
// and its files are as they were when the last look began. Many databases are at rest, and this
// costs three system calls. Not soon after a write was told of: its commit can be seen only when an
// fsync has ended, of any length, and that shows in no file's times.
bool EngineImpl::IsUndisturbed() {
  return phase_ == Phase::kShip && rested_at_us_ == last_activity_us_ && !freshens_soon_ &&
         !looks_unasked_ && freshen_wait_us_ == 0 && unsafe_wait_us_ == 0 &&
         Monotonic() - looked_us_ < kWholeLookMicros &&
         Monotonic() - last_notify_us_ > kWholeLookMicros && !Interrupted() && !flushing_ &&
         !fenced_ && !gap_ && has_image_ && files_.IsAsItWas();
}

EngineImpl::Pause EngineImpl::PauseAfterRound(SharedBlock::Seen seen) {
  Pause pause;
  if (Interrupted() || (*shared_)->doorbell != seen.doorbell) {
    return pause;
  }
  std::chrono::microseconds wait = config_.idle_look;
  const int64_t now = Monotonic();
  pause.nap = freshens_soon_ || now - last_activity_us_ < kNapsForMicros;
  if (pause.nap) {
    wait = std::chrono::microseconds(nap_us_);
  } else if (now - last_notify_us_ < wait.count()) {
    // A write to the WAL is seen before its commit: with synchronous=FULL an fsync lies in between,
    // of any length. Each look comes twice as late as the one before.
    wait = std::min(wait, std::chrono::microseconds(std::max(now - last_notify_us_, kLookMicros)));
  }
  if (looks_unasked_) {
    wait = std::min(wait, std::chrono::microseconds(kMaxNapMicros));
  }
  if (freshen_wait_us_ > 0) {
    wait = std::min(wait, std::chrono::microseconds(freshen_wait_us_));
  }
  if (unsafe_wait_us_ > 0) {
    wait = std::min(wait, std::chrono::microseconds(unsafe_wait_us_));
  }
  if (stuck_) {
    wait = std::min(wait, std::chrono::microseconds(kGiveWayLookMicros));
  }
  if (!encoder_->empty() && spool_->size() == 0) {
    wait = std::min(wait, std::chrono::microseconds(MicrosUntilCut(CutState(), config_.options)));
  }
  if (rested_at_us_ != last_activity_us_ && encoder_->empty() && spool_->size() == 0) {
    const int64_t left = last_activity_us_ + kRestsAfterMicros - now;
    if (left <= 0) {
      Rest();
    } else {
      wait = std::min(wait, std::chrono::microseconds(left));
    }
  }
  if (config_.pool && !pause.nap && rested_at_us_ == last_activity_us_) {
    looked_us_ = now;
    std::lock_guard lock(capture_mutex_);
    capture_->UnmapIndex();
    shared_->Unmap();
  }
  if (wait.count() > 0) {
    pause.kind = Pause::Kind::kDoorbell;
    pause.wait = wait;
    pause.seen = seen;
  }
  return pause;
}

}  // namespace sqlite_s3

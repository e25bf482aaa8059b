// A round of shipping: capture, encode, cut segments, make room and keep the pin moving.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

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
constexpr int kWriteLockTimeoutMs = 50;
constexpr int64_t kMaxFreshenMicros = 500'000;
constexpr int64_t kGiveWayLookMicros = 250'000;
constexpr int64_t kGiveWayAfterMicros = 1'000'000;

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
  Status status = gap_ ? Status::Ok() : CaptureSome(&caught_up);
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
  if (!gap_ && EncodeQueue(SIZE_MAX).ok() && !encoder_->empty()) {
    (void)CutNow();
  }
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
  const auto frames = static_cast<int64_t>(capture_->frames_total() - nap_frames_);
  if (now - nap_since_us_ >= kMinNapMicros) {
    nap_us_ = std::clamp((now - nap_since_us_) * kFramesPerNap / std::max<int64_t>(frames, 1),
                         kMinNapMicros, kMaxNapMicros);
    nap_since_us_ = now;
    nap_frames_ = capture_->frames_total();
  }
  if (!outcome.ok()) {
    // A recovery going on, or a lock held by one: nothing is lost by looking again later.
    return outcome.code() == StatusCode::kUnavailable ? Status::Ok() : outcome.status();
  }
  big_waits_ = false;
  if (*outcome == CaptureOutcome::kBigCommit && !InLane(Lane::kBig)) {
    return Status::Ok();
  }
  if (*outcome == CaptureOutcome::kBigCommit) {
    const uint64_t bytes = uint64_t{capture_->big().pages.size()} * capture_->page_size();
    if (spool_->bytes() > 0 && spool_->bytes() + bytes > config_.options.spool_bytes) {
      big_waits_ = spool_full_ = true;
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

// Encodes a slice of the queue, so that capture gets its turn in between: whatever the worker does
// not capture in time, the committing thread must, when its checkpoint is due.
Status EngineImpl::EncodeQueue(size_t max_commits) {
  encode_batch_.clear();
  int64_t since = 0;
  {
    std::lock_guard lock(capture_mutex_);
    since = queue_since_us_;
    while (!queue_.empty() && !spool_full_ && encode_batch_.size() < max_commits) {
      encode_batch_.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    queue_left_ = !queue_.empty() && !spool_full_;
    if (queue_left_) {
      queue_since_us_ = Monotonic();
    }
  }
  encoder_->SetUnhurried(encode_batch_.size() < max_commits / 2);
  for (const CapturedCommit& commit : encode_batch_) {
    if (encoder_->empty()) {
      segment_since_us_ = since;
    }
    RETURN_IF_ERROR(encoder_->Add(commit));
    ++encoded_commits_;
    NoteEncoded(commit.time_us);
    if (encoder_->size_bytes() >= config_.options.segment_bytes) {
      bool full = false;
      RETURN_IF_ERROR(CutIfDue(&full));
    }
  }
  encode_batch_.clear();  // gives the pages back
  return Status::Ok();
}

// REQUIRES: capture_mutex_, capture_->big() is next.
Status EngineImpl::EncodeBig() {
  const BigCommit& big = capture_->big();
  if (big.page_count < big.page_count_before) {
    OnShrink(big.page_count_before, big.page_count);  // an image may have begun since it was found
  }
  while (!queue_.empty()) {  // what came before it
    if (encoder_->empty()) {
      segment_since_us_ = queue_since_us_;
    }
    RETURN_IF_ERROR(encoder_->Add(queue_.front()));
    NoteEncoded(queue_.front().time_us);
    queue_.pop_front();
  }
  if (!encoder_->empty()) {
    RETURN_IF_ERROR(CutNow());
  }
  SegmentEncoder::StreamedCommit commit;
  commit.time_us = big.time_us;
  commit.flags = static_cast<uint8_t>(big.time_is_upper_bound ? kCommitTimeUpperBound : 0);
  commit.page_count = big.page_count;
  commit.wal_frames = big.wal_frames;
  commit.end = big.end;
  commit.wal_before = big.wal_before;
  commit.pages.reserve(big.pages.size());
  for (const auto& [page, frame] : big.pages) {
    commit.pages.push_back(page);
  }
  auto read = [&](size_t i, std::span<uint8_t> content, std::span<uint8_t> base) -> Status {
    ++looks_;
    const auto& [page, frame] = big.pages[i];
    if (WantsPrevious(page)) {
      PagePtr previous = PagePtr::Make(capture_->page_size(), account_);
      RETURN_IF_ERROR(capture_->ReadPrevious(page, previous.writable()));
      SetAside(page, std::move(previous));
    }
    if (!base.empty()) {
      RETURN_IF_ERROR(capture_->ReadPrevious(page, base));
    }
    return capture_->ReadFramePage(frame, content);
  };
  auto push = [&](const PartRef& ref, Bytes bytes) { return PushPart(ref, std::move(bytes)); };
  segment_since_us_ = Monotonic();
  RETURN_IF_ERROR(encoder_->AddStreamed(commit, !big.whole_pages, read, push));
  bytes_captured_ += uint64_t{big.wal_frames} * capture_->page_size();
  capture_->FinishBigCommit(*this);
  (*shared_)->captured_txid = ++assigned_txid_;
  ++encoded_commits_;
  NoteEncoded(commit.time_us);
  last_activity_us_ = Monotonic();
  return Status::Ok();
}

CutInputs EngineImpl::CutState() {
  CutInputs in;
  in.commits = encoder_->commit_count();
  in.bytes = encoder_->size_bytes();
  const int64_t now = Monotonic();
  in.age_us = now - segment_since_us_;
  if (last_cut_us_) {
    in.paced_us = std::max<int64_t>(*last_cut_us_ + budget_.Now().pace.count() - now, 0);
  }
  in.spool_bytes = spool_->bytes();
  in.uploader_idle = spool_->size() == 0;
  in.waiter = flushing_ || (*shared_)->sync_ticket != (*shared_)->synced_ticket;
  return in;
}

Status EngineImpl::CutIfDue(bool* full) {
  const CutInputs in = CutState();
  CutDecision decision = DecideCut(in, config_.options);
  const int64_t age_left_us = config_.options.interval.count() * 1000 - in.age_us;
  if (decision == CutDecision::kNo && in.commits > 0 &&
      in.paced_us > std::max(age_left_us, int64_t{0})) {
    TellOfBudget();
  }
  *full = decision == CutDecision::kFull || big_waits_;
  if (spool_full_.exchange(*full) != *full) {
    (*shared_)->full = *full ? 1 : 0;
    shared_->Publish();  // commits may be held until there is room
  }
  return decision == CutDecision::kCut ? CutNow() : Status::Ok();
}

void EngineImpl::TellOfBudget() {
  const RequestBudget::State budget = budget_.Now();
  if (!budget_.IsNews(budget.over ? RequestBudget::Notice::kOver
                                  : RequestBudget::Notice::kStretched)) {
    return;
  }
  Log(LogLevel::kWarning,
      fmt::format("{} of this month's request_budget of {} are spent: segments are {} s apart "
                  "now{}",
                  budget.used, config_.options.request_budget,
                  std::chrono::ceil<std::chrono::seconds>(budget.pace).count(),
                  budget.over ? ", and no further images are made" : ""));
}

Status EngineImpl::CutNow() {
  last_cut_us_ = Monotonic();
  SpoolItem item;
  item.is_segment = true;
  item.key =
      keys::LogSegment(timeline_, {encoder_->state().txid.value - encoder_->commit_count() + 1});
  item.commits = encoder_->commit_count();
  item.last = encoder_->state().txid;
  item.oldest_commit_us = segment_since_us_;
  ASSIGN_OR_RETURN(SegmentBuilder::Finished finished, encoder_->Cut());
  item.digest = finished.digest;
  {
    std::lock_guard lock(state_mutex_);
    lag_.emplace_back(item.last.value, item.oldest_commit_us);
  }
  RETURN_IF_ERROR(spool_->Push(std::move(item), std::move(finished.bytes)));
  WakeUploader();
  return Status::Ok();
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

// The worker's own room-making: for commits that no hook of this process announces (other
// processes, a displaced hook, standbys that ask), and for frames that a crash of the machine would
// lose.
Status EngineImpl::MakeRoomIfDue() {
  const uint32_t threshold = checkpoint_pages_;
  std::unique_lock lock(capture_mutex_);
  if (gap_ || !capture_) {
    return Status::Ok();
  }
  wal_resets_ = capture_->wal_resets();
  salvaged_ = capture_->salvaged_commits();
  const uint32_t frames = capture_->index().PeekMaxFrame();
  const bool asked = (*shared_)->room_ticket != (*shared_)->roomed_ticket;
  // Our own hook does it at the threshold, in the committing thread; leave it the first try.
  const bool due = threshold > 0 && frames >= threshold && frames >= worker_room_retry_at_ &&
                   (asked || unannounced_ > 0 || frames >= threshold + threshold / 4);
  if (frames < threshold) {
    worker_room_retry_at_ = 0;
  }
  if (!due && !capture_->wants_room()) {
    return Status::Ok();
  }
  if (capture_->index().BackfilledFrames() >= frames && capture_->captured_frames() == frames &&
      worker_room_done_at_ == frames) {
    return Status::Ok();  // all is in the file and the pin is on slot 0: it is the writer's turn
  }
  if (!InLane(Lane::kCheckpoint)) {
    return Status::Ok();
  }
  auto outcome = capture_->MakeRoom(*this);
  // Not when it is the capture that is behind: to hold off writers would gain nothing.
  if (outcome.ok() && outcome->captured && !outcome->complete && frames >= 2 * threshold &&
      threshold > 0 && (unannounced_ > 0 || asked) && config_.options.write_lock) {
    outcome = MakeRoomUnderWriteLock(kWriteLockTimeoutMs);
  }
  if (!outcome.ok()) {
    return outcome.code() == StatusCode::kUnavailable ? Status::Ok() : outcome.status();
  }
  checkpoints_ += outcome->ran ? 1 : 0;
  worker_room_done_at_ = outcome->complete ? capture_->captured_frames() : 0;
  // Each time the pin moves, a writer beyond its own threshold makes a checkpoint up to there: not
  // for a few frames.
  worker_room_retry_at_ = outcome->complete ? 0 : frames + threshold / 4 + frames / 8 + 1;
  return Status::Ok();
}

// An application's FULL, RESTART or TRUNCATE checkpoint holds the write lock while it waits for
// readers of older frames, and then for readers of any: with a pin that stays behind, every writer
// waits for as long as its busy timeout says. In quiet moments (and such a wait is one) the pin
// moves to the last frame, and once all is backfilled to slot 0, which is in nobody's way.
Status EngineImpl::FreshenPin() {
  std::lock_guard lock(capture_mutex_);
  if (gap_ || !capture_) {
    return Status::Ok();
  }
  const uint64_t frames = capture_->frames_total();
  const bool quiet = std::exchange(quiet_frames_, frames) == frames;
  const bool behind = capture_->PinIsBehind();
  freshens_soon_ = behind && !quiet;
  if (!behind || !quiet) {
    freshen_wait_us_ = 0;
    return Status::Ok();
  }
  auto moved = capture_->MovePin(*this);
  if (capture_->PinIsBehind()) {  // all slots were taken, or somebody is in a checkpoint
    freshen_wait_us_ = std::clamp(freshen_wait_us_ * 2, kMaxNapMicros, kMaxFreshenMicros);
  } else {
    freshen_wait_us_ = 0;
  }
  return moved.code() == StatusCode::kUnavailable ? Status::Ok() : moved.status();
}

// The same checkpoints while nothing more can be captured: the pin cannot move, and by
// when_full=grow-wal it stays as it is for as long as the store is away. But not at the price of
// every writer's time: when somebody is in a checkpoint and nobody commits, for a second, it is us
// whom they wait for.
Status EngineImpl::GiveWayIfAwaited() {
  {
    std::lock_guard lock(capture_mutex_);
    const uint32_t frames = capture_->index().PeekMaxFrame();
    const int64_t now = Monotonic();
    if (std::exchange(stuck_at_frames_, frames) != frames ||
        !capture_->AnotherConnectionCheckpoints()) {
      awaited_since_us_ = now;
    }
    if (now - awaited_since_us_ < kGiveWayAfterMicros) {
      return Status::Ok();
    }
  }
  return EnterGap(
      "a checkpoint of the application's waits for us: "
      "commits from now on share one restore point");
}

// What was captured so far still goes to the spool, then the pin is given up and the WAL is the
// application's own again; once the spool is empty a new start ships the difference.
Status EngineImpl::EnterGap(std::string_view why) {
  spool_full_ = false;
  std::unique_lock lock(capture_mutex_);
  while (!queue_.empty()) {
    RETURN_IF_ERROR(encoder_->Add(queue_.front()));
    NoteEncoded(queue_.front().time_us);
    queue_.pop_front();
  }
  if (!encoder_->empty()) {
    RETURN_IF_ERROR(CutNow());
  }
  capture_->ReleasePin();
  gap_ = true;
  stuck_ = false;
  Log(LogLevel::kWarning, fmt::format("the spool is full and the store away: {}", why));
  return Status::Ok();
}

// A -wal that was unlinked under us means that somebody removed it by hand or replaced the
// database: commits go to a file that nobody else sees. Compare everything again.
Status EngineImpl::CheckFiles(bool now) {
  if (gap_ || (!now && Monotonic() - last_file_check_us_ < kFileCheckMicros && !files_changed_)) {
    return Status::Ok();
  }
  files_changed_ = false;
  last_file_check_us_ = Monotonic();
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
  if (freshen_wait_us_ > 0) {
    wait = std::min(wait, std::chrono::microseconds(freshen_wait_us_));
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

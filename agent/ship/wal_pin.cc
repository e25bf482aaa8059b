// The pin and the checkpoints of WalCapture.

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>
#include <utility>

#include "agent/ship/bounded_write_lock.h"
#include "agent/ship/guarded.h"
#include "agent/ship/wal_capture.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kEverything = std::numeric_limits<uint32_t>::max();
constexpr uint32_t kStepFrames = 64;  // a fraction of a millisecond

int64_t MonotonicMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// A writer that never rests leaves the lock for microseconds only: SQLite's own handler, which
// sleeps for longer and longer, would not meet one of them in its time.
int AskAgainAtOnce(void* deadline, int) {
  if (MonotonicMillis() >= *static_cast<const int64_t*>(deadline)) {
    return 0;
  }
  sched_yield();
  return 1;
}

// Keeps the WAL from being reset, in no FULL checkpoint's way, if there is a slot to do it with.
class SlotGuard {
 public:
  // REQUIRES: `idle` has read the database, and has no transaction as long as this lives.
  explicit SlotGuard(const Connection& idle) {
    if (!idle) {
      return;
    }
    if (auto view = WalIndexView::Attach(idle.get()); view.ok()) {
      view_ = *view;
      slot_ = view_.HoldUnmarkedSlot();
    }
  }
  ~SlotGuard() { LetGo(); }
  SlotGuard(const SlotGuard&) = delete;
  SlotGuard& operator=(const SlotGuard&) = delete;
  void LetGo() {
    if (slot_) {
      view_.LetGoOfSlot(*std::exchange(slot_, std::nullopt));
    }
  }

 private:
  WalIndexView view_;
  std::optional<int> slot_;
};

}  // namespace

Status WalCapture::BeginRead(int which) {
  auto begun = begin_[which].Run();
  if (!begun.ok()) {
    return begun.status();
  }
  auto read = read_[which].Run();
  if (!read.ok()) {
    EndRead(which);
    // kUnavailable among them: another process recovers the wal-index, or all reader slots are
    // busy.
    return read.status().WithContext("database '" + config_.database_path + "'");
  }
  return Status::Ok();
}

void WalCapture::EndRead(int which) {
  if (connections_[which] && sqlite3_get_autocommit(connections_[which].get()) == 0) {
    (void)end_[which].Run();  // ROLLBACK of a read transaction cannot fail in a way that matters
  }
}

// Whether a reader that begins now gets the slot where no checkpoint waits for it; if not, it may
// all the same.
bool WalCapture::WillBeInNobodysWay(const WalIndexHeader& header, uint32_t backfilled) {
  if (backfilled == header.max_frame) {
    // Slot 0. A checkpoint that did the last of the backfill holds it for a moment yet, and readers
    // take another one, which a RESTART then waits for. After one that did nothing, there is
    // nothing to do for others either: nobody takes slot 0 away as long as no frame comes.
    return !AnotherConnectionCheckpoints();
  }
  // One that is marked with the last frame. Where there is none, and no free one to mark, a reader
  // shares one with an older mark, and checkpoints stop there. And one that is going on may wait
  // for this slot since before it was marked.
  return index_.HasReadMark(header.max_frame) && !index_.CheckpointIsRunning();
}

Result<CaptureOutcome> WalCapture::MovePin(CaptureSink& sink) {
  Move move;
  ASSIGN_OR_RETURN(CaptureOutcome outcome, BeginMove(sink, &move));
  FinishMove(&move);
  return outcome;
}

Result<CaptureOutcome> WalCapture::BeginMove(CaptureSink& sink, Move* move) {
  RETURN_IF_ERROR(EndCheckpoint());  // until then the pin keeps the WAL from being reset
  if (sink.MustHoldPin()) {
    return CaptureOutcome::kNoRoom;
  }
  int next = 1 - pinned_;
  if (!connections_[next]) {
    RETURN_IF_ERROR(OpenConnection(next));  // it was closed while the database was at rest
  }
  const uint32_t backfilled = index_.BackfilledFrames();
  const auto before = index_.ReadHeader();  // the new reader sees this, or more
  const bool placed = before && WillBeInNobodysWay(*before, backfilled);
  RETURN_IF_ERROR(BeginRead(next));
  auto outcome = Capture(sink, kEverything);
  if (!outcome.ok() || *outcome != CaptureOutcome::kCaughtUp) {
    EndRead(next);
    return outcome;
  }
  if (sink.MustHoldPin()) {  // because of what was just captured
    EndRead(next);
    return CaptureOutcome::kNoRoom;
  }
  // Not what was captured: of that, the last commits may be later than what the reader sees.
  *move = {true,
           next,
           placed ? before->max_frame : kEverything,
           before ? before->salt1 : 0,
           backfilled,
           before && backfilled == before->max_frame};
  return outcome;
}

void WalCapture::FinishMove(Move* move) {
  if (!std::exchange(move->pending, false)) {
    return;
  }
  const int old = std::exchange(pinned_, move->next);
  pin_frame_ = move->frame;
  pin_salt1_ = move->salt1;
  pin_backfilled_ = move->backfilled;
  pin_on_slot_0_ = move->on_slot_0;
  EndRead(old);  // only now: until here the old reader guarded what was captured
}

Result<CaptureOutcome> WalCapture::StepAside(CaptureSink& sink, std::chrono::milliseconds most) {
  if (sink.MustHoldPin()) {
    return CaptureOutcome::kNoRoom;
  }
  RETURN_IF_ERROR(EndCheckpoint());
  ASSIGN_OR_RETURN(CaptureOutcome outcome, Capture(sink, kEverything));
  const auto before = index_.ReadHeader();
  if (outcome != CaptureOutcome::kCaughtUp || sink.MustHoldPin() || !before ||
      before->salt1 != salt1_ || before->max_frame != frame_) {
    return outcome;
  }
  const uint32_t attempted = index_.BackfillAttemptedFrames();
  pin_frame_ = kEverything;  // in somebody's way, until the next move says otherwise
  pin_lost_ = true;          // until it is sure that nothing was
  // The checkpoint needs the pin's slot, and not that the WAL can be reset before the pin is back.
  // Where every slot has a mark, writers that are quicker than we are may commit and reset it.
  SlotGuard guard(connections_[1 - pinned_]);  // until all that came is captured
  EndRead(pinned_);
  const int64_t until = MonotonicMillis() + most.count();
  do {
    const timespec pause{0, 100'000};
    nanosleep(&pause, nullptr);
  } while (index_.BackfillAttemptedFrames() == attempted && index_.PeekMaxFrame() == frame_ &&
           index_.PeekSalt1() == salt1_ && index_.CheckpointIsRunning() &&
           MonotonicMillis() < until);
  Status begun = BeginRead(pinned_);
  if (!begun.ok()) {  // all other slots are taken, it may be
    guard.LetGo();
    begun = BeginRead(pinned_);
  }
  if (!begun.ok()) {
    return CorruptionError("no pin after one was in the way: " + begun.message());
  }
  const auto after = index_.ReadHeader();
  // A WAL that was reset without a commit still says so of its last frame. The count of commits
  // does not: a recovery begins it anew.
  if (!after || (after->salt1 != before->salt1 &&
                 (after->max_frame != 0 || after->frame_checksum != before->frame_checksum))) {
    return CorruptionError("the WAL was reset while a checkpoint was let through");
  }
  if (after->salt1 == before->salt1 && after->max_frame > frame_) {
    // Nothing kept checkpoints from these commits, nor does the new reader before they are
    // captured: the file may have their pages, and where it has all, a writer may reset the WAL.
    untrusted_until_ = after->max_frame;
  }
  pin_lost_ = false;
  return Capture(sink, kEverything);
}

Result<CheckpointOutcome> WalCapture::MakeRoom(CaptureSink& sink, BoundedWriteLock* lock) {
  CheckpointOutcome result;
  // A checkpoint, ours or one that the moved pin invites, would hide it.
  RETURN_IF_ERROR(CheckNobodyElseWrote());
  ASSIGN_OR_RETURN(CaptureOutcome moved, MovePin(sink));
  if (moved != CaptureOutcome::kCaughtUp) {
    return result;
  }
  result.captured = true;
  if (lock != nullptr) {
    if (!lock->StillHeld()) {
      return result;  // what the checkpoint can do without the lock was done before
    }
    lock->LetGoInTime();
  }
  // On slots 1-4 the pin keeps the WAL from being reset between the steps of this checkpoint; on
  // slot 0 it blocks the backfill: either way the WAL-reset bug has no room (docs/adr/0003).
  int log = 0;
  int done = 0;
  int rc = sqlite3_wal_checkpoint_v2(connections_[1 - pinned_].get(), "main",
                                     SQLITE_CHECKPOINT_PASSIVE, &log, &done);
  if (rc == SQLITE_BUSY) {
    return result;  // another connection is checkpointing: as good as ours
  }
  RETURN_IF_ERROR(NoteCheckpoint(rc, connections_[1 - pinned_]));
  if (rc != SQLITE_OK) {
    return result;
  }
  result.ran = true;
  result.wal_frames = log;
  // A writer that went on meanwhile keeps the WAL from being reset.
  result.complete = log == done && index_.PeekMaxFrame() == static_cast<uint32_t>(log);
  if (result.complete) {
    // With everything backfilled the new reader gets slot 0, and the next writer resets the WAL.
    // Else a pin that moves on invites the writer to a checkpoint of what little came meanwhile.
    ASSIGN_OR_RETURN(moved, MovePin(sink));
    if (wants_room_ && lock == nullptr) {
      EmptyWal(connections_[1 - pinned_]);
    }
  }
  return result;
}

Result<CheckpointOutcome> WalCapture::BeginCheckpoint(CaptureSink& sink) {
  CheckpointOutcome result;
  RETURN_IF_ERROR(CheckNobodyElseWrote());  // as in MakeRoom
  Move move;
  ASSIGN_OR_RETURN(CaptureOutcome moved, BeginMove(sink, &move));
  if (moved != CaptureOutcome::kCaughtUp) {
    return result;
  }
  result.captured = true;
  const Status opened = OpenLockConnection();
  if (opened.ok()) {
    checkpoint_.Start(lock_connection_, [&] {
      (void)Guarded([&] {
        FinishMove(&move);
        // A writer that begins just now takes the slot that is free now, with what is behind it
        // left as its mark for a moment, in which our checkpoint would stop there.
        const timespec pause{0, 20'000};
        nanosleep(&pause, nullptr);
        return Status::Ok();
      });
    });
  }
  if (move.pending) {
    EndRead(move.next);  // the old pin stays: a moved one invites the writer to a checkpoint
    return opened.ok() ? Result<CheckpointOutcome>(result) : opened;
  }
  result.ran = true;
  return result;
}

Status WalCapture::EndCheckpoint() {
  const std::optional<PassiveCheckpoint> done = checkpoint_.Await();
  if (!done || done->rc == SQLITE_BUSY) {
    return Status::Ok();
  }
  return NoteCheckpoint(done->rc, lock_connection_);
}

// What is shipped does not need it, and what it has written so far is in the WAL as well.
Status WalCapture::NoteCheckpoint(int rc, const Connection& connection) {
  Status ended = SqliteStatus(rc, "checkpoint", connection.get());
  switch (ended.code()) {
    case StatusCode::kOk:
    case StatusCode::kResourceExhausted:
    case StatusCode::kIoError:
      failed_checkpoints_ += ended.ok() ? 0U : 1U;
      last_checkpoint_ = ended;
      return Status::Ok();
    default:
      return ended;
  }
}

Status WalCapture::OpenLockConnection() {
  if (!lock_connection_) {
    ASSIGN_OR_RETURN(Connection opened, Connection::Open(config_.database_path,
                                                         SQLITE_OPEN_READWRITE, config_.vfs, 0));
    RETURN_IF_ERROR(opened.Exec("PRAGMA wal_autocheckpoint=0"));
    // Before it has read the database it does not know of a WAL, and a checkpoint does nothing.
    RETURN_IF_ERROR(opened.QueryInt("PRAGMA user_version").status());
    lock_connection_ = std::move(opened);
  }
  return Status::Ok();
}

// A recovery reads the WAL up to its first frame without a checksum, whatever was backfilled: of a
// WAL that lies there until somebody writes again, a crash of whoever is connected last would bring
// back old pages. What came since is safe from this checkpoint: it does not pass our pin.
void WalCapture::EmptyWal(const Connection& idle) {
  if (!config_.may_lock_writers) {
    wants_room_ = false;  // nothing more can be done
    return;
  }
  sqlite3_busy_timeout(idle.get(), 0);  // it would wait for readers, and hold the write lock
  (void)sqlite3_wal_checkpoint_v2(idle.get(), "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  sqlite3_busy_timeout(idle.get(), kBusyTimeoutMs);
}

Result<CheckpointOutcome> WalCapture::MakeRoomUnderWriteLock(CaptureSink& sink, int busy_timeout_ms,
                                                             const Clock& clock,
                                                             std::chrono::microseconds bound,
                                                             int64_t* held_us) {
  RETURN_IF_ERROR(EndCheckpoint());
  RETURN_IF_ERROR(OpenLockConnection());
  const int64_t deadline = MonotonicMillis() + busy_timeout_ms;
  sqlite3_busy_handler(lock_connection_.get(), &AskAgainAtOnce, const_cast<int64_t*>(&deadline));
  BoundedWriteLock lock(lock_connection_, clock, bound);
  const Status taken = lock.Take();
  sqlite3_busy_handler(lock_connection_.get(), nullptr, nullptr);  // `deadline` goes
  RETURN_IF_ERROR(taken);
  Result<CaptureOutcome> captured = CaptureOutcome::kMore;
  while (captured.ok() && *captured == CaptureOutcome::kMore && lock.StillHeld()) {
    captured = Capture(sink, kStepFrames);
  }
  Result<CheckpointOutcome> result = CheckpointOutcome();
  if (!captured.ok()) {
    result = captured.status();
  } else if (lock.StillHeld()) {
    result = MakeRoom(sink, &lock);
    // A writer beyond its own threshold checkpoints after each commit, which needs no write lock:
    // it ends, and the next one has to wait for us.
    while (result.ok() && result->captured && !result->ran && !CheckpointFailed() &&
           lock.StillHeld()) {
      const timespec pause{0, 200'000};
      nanosleep(&pause, nullptr);
      result = MakeRoom(sink, &lock);
    }
  }
  *held_us = lock.LetGo();
  return result;
}

void WalCapture::ReleasePin() {
  (void)EndCheckpoint();  // what failed will fail again
  for (int i = 0; i < 2; ++i) {
    EndRead(i);
  }
  pinned_ = -1;
}

bool WalCapture::AnotherConnectionCheckpoints() {
  // Ours in the background has the lock itself, however long its fsync takes.
  if (pinned_ < 0 || !connections_[1 - pinned_] || checkpoint_.running()) {
    return false;
  }
  const Connection& idle = connections_[1 - pinned_];
  return sqlite3_wal_checkpoint_v2(idle.get(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr,
                                   nullptr) == SQLITE_BUSY;
}

Status WalCapture::CheckpointUnpinned() {
  Connection& any = connections_[connections_[0] ? 0 : 1];
  int rc =
      sqlite3_wal_checkpoint_v2(any.get(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (rc == SQLITE_BUSY) {
    return Status::Ok();
  }
  return SqliteStatus(rc, "checkpoint", any.get());
}

}  // namespace sqlite_s3

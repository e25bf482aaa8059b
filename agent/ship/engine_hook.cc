// What runs on the committing thread: the doorbell, making room in the WAL, and the waits that
// options ask for. The commit stands before any of it.

#include <ctime>

#include "agent/ship/engine_impl.h"
#include "agent/ship/guarded.h"

namespace sqlite_s3 {
namespace {

constexpr auto kHookRoomWait = std::chrono::milliseconds(10);
// For the capture mutex. Its holder may be without a core for a while: a WAL that has grown past
// its threshold is worth more of a commit's time than one that only came to it.
constexpr auto kHookLockWait = std::chrono::milliseconds(5);
constexpr auto kHookLockWaitAtTwice = std::chrono::milliseconds(50);
constexpr auto kHookLockWaitAtThrice = std::chrono::milliseconds(500);
constexpr uint32_t kHookAsidePages = 1024;  // a few milliseconds
constexpr int kWriteLockTimeoutMs = 10;

}  // namespace

void EngineImpl::OnCommit(uint32_t frames) {
  if (dead_) {
    return;
  }
  shared_->NoteCommit(frames, Now());
  unannounced_ = 0;
  const uint32_t threshold = checkpoint_pages_;
  if (frames < threshold || threshold == 0) {
    room_retry_at_ = 0;
  } else if (frames >= room_retry_at_) {
    MakeRoomInHook(frames);
  }
  if (config_.options.when_full == WhenFull::kBlock && (*shared_)->full != 0) {
    WaitForRoom();
  }
  if (config_.options.durability == CommitDurability::kCommit) {
    WaitForCommit();
  } else {
    RingWorkerIfIdle();
  }
}

// In the committing thread, where SQLite's own autocheckpoint would run: the only moment when its
// connection surely does not write. A worker's pin alone would keep the WAL from ever being reset
// (0.9-1.9 GB in ten seconds, measured; docs/adr/0003).
void EngineImpl::MakeRoomInHook(uint32_t frames) {
  const uint32_t threshold = checkpoint_pages_;
  room_retry_at_ = frames + threshold / 8 + 1;
  if (state() == EngineState::kStandby) {
    // The shipper of another process holds the pin: ask it, and give it a quiet moment.
    (void)AwaitTicket((*shared_)->room_ticket, (*shared_)->roomed_ticket, kHookRoomWait);
    return;
  }
  std::unique_lock lock(capture_mutex_, std::defer_lock);
  if (!TryLockCapture(lock, HookPatience(frames))) {
    return;
  }
  if (!capture_ || gap_ || !capture_->pinned()) {
    if (!capture_) {
      if (!spare_connection_) {
        auto opened =
            Connection::Open(config_.database_path, SQLITE_OPEN_READWRITE, config_.vfs, 0);
        if (!opened.ok()) {
          return;
        }
        spare_connection_ = std::move(opened).value();
      }
      sqlite3_wal_checkpoint_v2(spare_connection_.get(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr,
                                nullptr);
    } else {
      (void)capture_->CheckpointUnpinned();  // best effort, as SQLite's own is
    }
    ++checkpoints_;
    return;
  }
  // The worker may not get a core while this thread commits: what keeps the pin is done here, too.
  if (!SetAsideSome(kHookAsidePages).ok()) {
    return;  // the worker meets the same error, and says so
  }
  auto outcome = capture_->MakeRoom(*this);
  if (outcome.ok() && outcome->captured && capture_->CheckpointFailed()) {
    return;  // to wait, or to merge, would not help; the worker says so
  }
  if (outcome.ok() && !outcome->ran && frames >= 2 * threshold && MayMerge()) {
    // The encoder is behind: hold this thread for a moment, so that every commit keeps its point.
    if (!AwaitMemory(lock)) {
      return;
    }
    outcome = capture_->MakeRoom(*this);
  }
  if (outcome.ok() && !outcome->ran && frames >= 3 * threshold && MayMerge()) {
    // Still behind: rather than let the WAL or memory grow, commits share restore points.
    merging_ = true;
    Status thrown = Guarded([&] {
      outcome = capture_->MakeRoom(*this);
      return Status::Ok();
    });
    merging_ = false;
    if (!thrown.ok()) {
      return;
    }
    (*shared_)->captured_txid = assigned_txid_.load();  // published only now that it is complete
  }
  if (outcome.ok() && outcome->ran && !outcome->complete && frames >= 2 * threshold &&
      config_.options.write_lock) {
    outcome = MakeRoomUnderWriteLock(kWriteLockTimeoutMs);
  }
  if (outcome.ok() && outcome->ran) {
    ++checkpoints_;
    if (outcome->complete) {
      room_retry_at_ = 0;
    }
  }
}

// REQUIRES: capture_mutex_.
Result<CheckpointOutcome> EngineImpl::MakeRoomUnderWriteLock(int busy_timeout_ms) {
  int64_t held_us = 0;
  auto outcome = capture_->MakeRoomUnderWriteLock(*this, busy_timeout_ms, *config_.clock,
                                                  config_.options.write_lock_hold, &held_us);
  if (held_us > 0) {
    NoteWriteLock(held_us, outcome.ok() && outcome->complete);
  }
  return outcome;
}

// A big commit is encoded under the mutex for as long as its size takes: nobody waits for that.
std::chrono::milliseconds EngineImpl::HookPatience(uint32_t frames) const {
  const uint64_t threshold = checkpoint_pages_;
  if (encodes_big_ || frames < 2 * threshold) {
    return kHookLockWait;
  }
  return frames < 3 * threshold ? kHookLockWaitAtTwice : kHookLockWaitAtThrice;
}

// Not std::timed_mutex: its clock variant is unknown to thread sanitizers of this age.
bool EngineImpl::TryLockCapture(std::unique_lock<std::mutex>& lock,
                                std::chrono::milliseconds patience) {
  const int64_t deadline = Monotonic() + patience.count() * 1000;
  while (!lock.try_lock()) {
    if (Monotonic() >= deadline) {
      return false;
    }
    const timespec pause{0, 20'000};  // the worker holds it for a fraction of a millisecond
    nanosleep(&pause, nullptr);
  }
  return true;
}

// Gives the encoder the mutex and at most kHookRoomWait. False when there is nothing to capture
// with any more.
bool EngineImpl::AwaitMemory(std::unique_lock<std::mutex>& lock) {
  const int64_t deadline = Monotonic() + std::chrono::microseconds(kHookRoomWait).count();
  const uint64_t enough = config_.options.memory_bytes / 2;
  while (account_.bytes() > enough && MayMerge() && Monotonic() < deadline) {
    lock.unlock();
    const timespec pause{0, 100'000};
    nanosleep(&pause, nullptr);
    lock.lock();
    if (!capture_ || gap_ || !capture_->pinned()) {
      return false;
    }
  }
  return true;
}

// With the spool full, what happens is what when_full says, not merging.
bool EngineImpl::MayMerge() const { return mode_ == CaptureMode::kShip && !spool_full_; }

// The commit stands already; the next one of this thread is held back.
void EngineImpl::WaitForRoom() {
  const int64_t deadline = Monotonic() + config_.options.commit_timeout.count() * 1000;
  for (;;) {
    const uint32_t seen = (*shared_)->news;
    const int64_t left = deadline - Monotonic();
    if ((*shared_)->full == 0 || left <= 0 || !WhyNotFor(StateOfShipper()).ok()) {
      return;
    }
    shared_->WaitForNews(seen, std::chrono::microseconds(std::min<int64_t>(left, 250'000)));
  }
}

void EngineImpl::WaitForCommit() {
  Status status = AwaitTicket((*shared_)->sync_ticket, (*shared_)->synced_ticket,
                              config_.options.commit_timeout);
  if (!status.ok()) {
    ++commit_timeouts_;
    Log(LogLevel::kWarning, "a durable commit returned before it was in the store: " +
                                status.ToString() + " (the commit itself stands)");
  }
}

}  // namespace sqlite_s3

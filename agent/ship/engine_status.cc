// What the engine says of itself: its state, why it stopped, the status record.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {
namespace {

constexpr int kSlowHolds = 3;
constexpr int64_t kSlowToldEveryMicros = int64_t{3600} * 1'000'000;
constexpr auto kStatusWait = std::chrono::milliseconds(2000);
constexpr auto kStatusLockWait = std::chrono::milliseconds(10);  // else the figures of before

}  // namespace

bool EngineImpl::SetState(EngineState s, const Status& why) {
  const bool by_machine = s == EngineState::kStoreAway && !IsOfStore(why);
  std::string state = EngineStateName(s);
  if (!why.ok()) {
    state += (by_machine ? " because of this machine: " : ": ") + why.ToString();
  }
  bool tell = false;
  {
    std::lock_guard lock(state_mutex_);
    if (!why.ok()) {
      last_error_ = why.ToString();
      last_error_code_ = why.code();
    } else if (s == EngineState::kShipping) {
      last_error_.clear();
    }
    // Another try after a failure is no news; its end is, unless it is the same one.
    const bool tries_again = s == EngineState::kStarting && why.ok() && !last_error_.empty();
    tell = !tries_again && told_state_ != state;
    if (tell) {
      told_state_ = state;
    }
  }
  away_by_machine_ = by_machine;
  state_ = static_cast<int>(s);
  if (s != EngineState::kStandby && shared_) {
    (*shared_)->state = static_cast<uint32_t>(s);
    shared_->Publish();
  }
  if (tell) {
    Log(why.ok() ? LogLevel::kInfo : LogLevel::kWarning, state);
  }
  return tell;
}

// Else it is this machine's: its disk, its memory, its threads. Time that is over, and what is not
// there for a moment, count as the store's.
bool EngineImpl::IsOfStore(const Status& why) const {
  return why.code() == StatusCode::kUnavailable || why.code() == StatusCode::kDeadlineExceeded ||
         patient_store_->HasSaid(why) || upload_store_->HasSaid(why);
}

// Why the WAL is not emptied as it should be; empty: not of that. The log is told of a change, of
// disks that are slow at most once an hour.
void EngineImpl::SetCheckpointError(CheckpointTrouble of, const std::string& why) {
  {
    std::lock_guard lock(state_mutex_);
    std::string& now = checkpoint_errors_[static_cast<int>(of)];
    const bool is_news = of == CheckpointTrouble::kFails ? now != why : now.empty() && !why.empty();
    now = why;
    if (!is_news) {
      return;
    }
    if (of == CheckpointTrouble::kTooSlow) {
      if (slow_told_us_ >= 0 && Monotonic() - slow_told_us_ < kSlowToldEveryMicros) {
        return;
      }
      slow_told_us_ = Monotonic();
    }
  }
  if (why.empty()) {
    Log(LogLevel::kInfo, "the WAL is emptied again");
  } else {
    Log(LogLevel::kWarning, "the WAL is not emptied, and may grow: " + why);
  }
}

// With the write lock or, once its writer rests, without it. REQUIRES: capture_mutex_.
void EngineImpl::NoteWalEmptied() {
  if (std::exchange(slow_holds_, 0) > 0) {
    SetCheckpointError(CheckpointTrouble::kTooSlow, "");
  }
}

// REQUIRES: capture_mutex_.
void EngineImpl::NoteWriteLock(int64_t held_us, bool complete) {
  ++write_locks_;
  write_lock_max_us_ = std::max<uint64_t>(write_lock_max_us_, static_cast<uint64_t>(held_us));
  const auto hold = config_.options.write_lock_hold;
  if (complete) {
    NoteWalEmptied();
  } else if (held_us >= std::chrono::microseconds(hold).count() * 9 / 10 &&
             ++slow_holds_ >= kSlowHolds) {
    const uint64_t frames = capture_->index().PeekMaxFrame();
    SetCheckpointError(
        CheckpointTrouble::kTooSlow,
        fmt::format("within write_lock_hold ({} ms) the disk does not make the fsyncs of a "
                    "checkpoint, and the WAL has {} bytes, hint: a longer write_lock_hold, or "
                    "writers that rest at times",
                    hold.count(), frames * (capture_->page_size() + kWalFrameHeaderBytes)));
  }
}

void EngineImpl::Log(LogLevel level, const std::string& message) {
  if (config_.log) {
    config_.log(level, message);
  }
}

// Ours, or while we stand by, that of the process that ships.
EngineState EngineImpl::StateOfShipper() {
  if (dead_) {
    return EngineState::kStopped;
  }
  if (state() != EngineState::kStandby) {
    return state();
  }
  auto theirs = static_cast<EngineState>((*shared_)->state.load());
  // One that stopped or failed has given up the lock or will: we are next, and find out ourselves.
  return theirs == EngineState::kFenced ? theirs : EngineState::kStandby;
}

Status EngineImpl::WhyNotFor(EngineState s) {
  std::lock_guard lock(state_mutex_);
  switch (s) {
    case EngineState::kFenced:
      return AbortedError("shipping is fenced: " + last_error_);
    case EngineState::kFailed:
      return FailedPreconditionError("shipping has failed: " + last_error_);
    case EngineState::kStopped:
      return CancelledError("shipping has stopped");
    default:
      return Status::Ok();
  }
}

// What a status costs nothing to say, beside the state. REQUIRES: its TXIDs are filled in.
void EngineImpl::FillFigures(EngineStatus* s) {
  s->lag_commits =
      s->txid.value > s->shipped_txid.value ? s->txid.value - s->shipped_txid.value : 0;
  s->bytes_shipped = bytes_shipped_;
  s->looks = looks_;
  if (s->state == EngineState::kStoreAway) {
    s->away_of = away_by_machine_ ? "machine" : "store";
  }
  const RequestBudget::State budget = budget_.Now();
  s->requests_this_month = budget.used;
  s->interval_ms = std::max<int64_t>(config_.options.interval.count(), budget.pace.count() / 1000);
  {
    std::lock_guard lock(image_mutex_);
    s->image_txid = image_txid_;
    s->image_running = !image_thread_done_;
  }
  std::lock_guard lock(state_mutex_);
  if (!lag_.empty() || s->lag_commits > 0) {
    const int64_t since = lag_.empty() ? segment_since_us_.load() : lag_.front().second;
    s->lag_ms = std::max<int64_t>((Monotonic() - since) / 1000, 0);
  }
}

EngineStatus EngineImpl::GetPulse() {
  if (state() == EngineState::kStandby) {
    return GetStatus(false);  // another process has the figures
  }
  EngineStatus s;
  s.state = StateNow();
  s.txid = {assigned_txid_.load()};
  s.shipped_txid = {has_image_ ? acked_txid_.load() : 0};
  FillFigures(&s);
  if (s.state == EngineState::kStarting) {
    std::lock_guard lock(state_mutex_);
    s.last_error = last_error_;
  }
  return s;
}

EngineStatus EngineImpl::GetStatus(bool force_capture) {
  EngineStatus s;
  s.database = config_.database_path;
  s.replica = config_.store->Describe();
  s.sqlite_version = sqlite3_libversion();
  s.sqlite_wal_reset_bug = HasWalResetBug(sqlite3_libversion_number());
  if (force_capture && !dead_) {
    // Best effort: while starting or without room the TXID lags, and an application that notes it
    // must be able to tell.
    s.txid_current =
        AwaitTicket((*shared_)->capture_ticket, (*shared_)->captured_ticket, kStatusWait).ok();
  }
  s.state = StateNow();
  if (shared_) {
    s.timeline = (*shared_)->timeline;
    s.txid = {(*shared_)->captured_txid};
    s.shipped_txid = {(*shared_)->shipped_txid};
  }
  FillFigures(&s);
  s.bytes_captured = bytes_captured_;
  s.segments = segments_;
  s.images = images_;
  s.requests = patient_store_->counts().Total() + upload_store_->counts().Total();
  s.request_budget = config_.options.request_budget;
  s.merged_commits = merged_commits_;
  s.resyncs = resyncs_;
  s.salvaged_commits = salvaged_;
  s.checkpoints = checkpoints_;
  s.wal_resets = wal_resets_;
  s.write_locks = write_locks_;
  s.write_lock_max_us = write_lock_max_us_;
  s.commit_timeouts = commit_timeouts_;
  s.hook_displaced = hook_displaced_;
  s.trace_displaced = trace_displaced_ > 0;
  s.dropped_statements = inbox_ ? inbox_->dropped() : 0;
  std::unique_lock capture_lock(capture_mutex_, std::defer_lock);
  if (!dead_ && TryLockCapture(capture_lock, kStatusLockWait)) {
    if (capture_) {
      s.wal_frames = capture_->index().PeekMaxFrame();
      wal_resets_ = s.wal_resets = capture_->wal_resets();
      s.salvaged_commits = capture_->salvaged_commits();
      if (config_.pool && rested_at_us_ == last_activity_us_) {
        capture_->UnmapIndex();  // this look mapped it again
      }
    }
    if (spool_) {
      s.spool_bytes = spool_->bytes();
    }
    capture_lock.unlock();
  }
  std::lock_guard lock(state_mutex_);
  s.last_error = last_error_;
  s.last_error_code = last_error_code_;
  const auto& [fails, too_slow] = checkpoint_errors_;
  s.checkpoint_error = fails.empty() ? too_slow : fails;
  return s;
}

}  // namespace sqlite_s3

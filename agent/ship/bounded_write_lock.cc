#include "agent/ship/bounded_write_lock.h"

#include <algorithm>
#include <csignal>
#include <system_error>

namespace sqlite_s3 {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::steady_clock;

Status BoundedWriteLock::Take() {
  RETURN_IF_ERROR(connection_.Exec("BEGIN IMMEDIATE"));
  since_us_ = clock_.MonotonicMicros();
  since_ = steady_clock::now();
  held_ = true;
  return Status::Ok();
}

bool BoundedWriteLock::StillHeld() {
  std::unique_lock lock(mutex_);
  if (held_ && clock_.MonotonicMicros() - since_us_ >= bound_us_) {
    Release(lock);
  }
  return held_;
}

void BoundedWriteLock::LetGoInTime() {
  if (!StillHeld() || timer_.joinable()) {
    return;
  }
  const int64_t left = bound_us_ - (clock_.MonotonicMicros() - since_us_);
  deadline_ = steady_clock::now() + microseconds(left);
  // A host's signal handlers do not run on a thread of ours.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    timer_ = std::thread([this] { Timer(); });
  } catch (const std::system_error&) {
    std::unique_lock lock(mutex_);
    Release(lock);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void BoundedWriteLock::Timer() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline_, [this] { return !held_; })) {
    by_timer_ = true;
    Release(lock);
  }
}

// REQUIRES: held_, mutex_. The clock may be a test's own: the timer does not read it.
void BoundedWriteLock::Release(std::unique_lock<std::mutex>&) {
  (void)connection_.Exec("ROLLBACK");  // nothing was written
  held_us_ = by_timer_ ? duration_cast<microseconds>(steady_clock::now() - since_).count()
                       : clock_.MonotonicMicros() - since_us_;
  held_us_ = std::max<int64_t>(held_us_, 1);
  held_ = false;
  changed_.notify_all();
}

int64_t BoundedWriteLock::LetGo() {
  {
    std::unique_lock lock(mutex_);
    if (held_) {
      Release(lock);
    }
  }
  if (timer_.joinable()) {
    timer_.join();
  }
  return held_us_;
}

}  // namespace sqlite_s3

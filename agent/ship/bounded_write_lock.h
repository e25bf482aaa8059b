#pragma once
// BoundedWriteLock: SQLite's write lock, held so that other writers wait, for a bounded time only.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/sqlite/connection.h"

namespace sqlite_s3 {

// Takes the lock with BEGIN IMMEDIATE, lets go of it with ROLLBACK: nothing is ever written. One
// thread uses it, and nothing else uses its connection meanwhile.
class BoundedWriteLock {
 public:
  // `clock` tells when `bound` is reached, in StillHeld; LetGoInTime goes by real time.
  BoundedWriteLock(Connection& connection, const Clock& clock, std::chrono::microseconds bound)
      : connection_(connection), clock_(clock), bound_us_(bound.count()) {}
  ~BoundedWriteLock() { (void)LetGo(); }
  BoundedWriteLock(const BoundedWriteLock&) = delete;
  BoundedWriteLock& operator=(const BoundedWriteLock&) = delete;

  // kUnavailable: not to be had within the connection's busy timeout.
  Status Take();
  // False when it was let go, which this does when the bound is reached. Between steps of work.
  bool StillHeld();
  // Before a step that may take long and cannot be divided, such as a checkpoint and its fsyncs:
  // from now on a thread lets go when the bound is reached. Without a thread to be had it is let
  // go at once.
  void LetGoInTime();
  // Idempotent. How long it was held, in microseconds; at least 1, for it was.
  int64_t LetGo();

 private:
  void Release(std::unique_lock<std::mutex>& lock);
  void Timer();

  Connection& connection_;
  const Clock& clock_;
  const int64_t bound_us_;
  int64_t since_us_ = 0;  // by clock_
  std::chrono::steady_clock::time_point since_;
  std::chrono::steady_clock::time_point deadline_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  bool by_timer_ = false;  // the timer let go
  int64_t held_us_ = 0;
  std::thread timer_;
};

}  // namespace sqlite_s3

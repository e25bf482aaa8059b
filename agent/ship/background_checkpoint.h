#pragma once
// BackgroundCheckpoint: a PASSIVE checkpoint on a thread of its own, so that its fsync holds up
// nothing else.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "common/sqlite/checkpoint.h"
#include "common/sqlite/connection.h"

namespace sqlite_s3 {

// One thread uses it.
class BackgroundCheckpoint {
 public:
  BackgroundCheckpoint() = default;
  ~BackgroundCheckpoint() { (void)Await(); }
  BackgroundCheckpoint(const BackgroundCheckpoint&) = delete;
  BackgroundCheckpoint& operator=(const BackgroundCheckpoint&) = delete;

  // Returns when the checkpoint has its lock, or has failed; a connection that only looks whether
  // it has anything to do is waited for. `begun` is RunPassiveCheckpoint's: it runs on the other
  // thread while the caller waits, so that it may use what the caller may. `connection` is the
  // checkpoint's own until Await. Where no thread can be had, the checkpoint is over on return.
  // REQUIRES: none is running.
  void Start(Connection& connection, const std::function<void()>& begun);
  bool running() const { return running_; }
  // Waits for its end, if it was started; nothing when there is none, or its result was taken.
  std::optional<PassiveCheckpoint> Await();

 private:
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool begun_ = false;
  std::atomic<bool> running_{false};
  std::optional<PassiveCheckpoint> result_;
};

}  // namespace sqlite_s3

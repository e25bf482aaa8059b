#pragma once
// TaskPool: a few threads for what may block (starting, stopping, asking a store), so that a
// thousand databases do not need a thousand threads for it, and those that hang hold up no others.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace sqlite_s3 {

class TaskPool {
 public:
  // Threads are started when first needed, `most` of them. When tasks wait and none was taken for
  // as long as `patience`, those that run hang: then there are twice as many threads, up to
  // `most_beyond` more, until nothing waits any more.
  explicit TaskPool(size_t most, size_t most_beyond = 0,
                    std::chrono::milliseconds patience = std::chrono::milliseconds(1000))
      : most_(most), most_beyond_(most_beyond), patience_(patience) {}
  // Runs what was posted to its end.
  ~TaskPool() { Finish(); }
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // In the order posted, each once. A task must not throw.
  void Post(std::function<void()> task);
  // Whether everything posted has run, now or before the deadline.
  bool WaitIdle(std::chrono::steady_clock::time_point deadline);
  // Waits until everything posted has run; nothing may be posted afterwards. Idempotent.
  void Finish();
  // Now.
  size_t threads();

 private:
  void Run(std::list<std::thread>::iterator self);
  void Relieve();
  // REQUIRES: mutex_.
  void AddThread();
  void Reap();

  const size_t most_, most_beyond_;
  const std::chrono::milliseconds patience_;
  std::mutex mutex_;
  std::condition_variable changed_;  // for the threads
  std::condition_variable done_;     // for WaitIdle
  std::condition_variable waits_;    // for the one that relieves
  std::deque<std::function<void()>> tasks_;
  uint64_t taken_ = 0;
  size_t idle_ = 0;
  bool finishing_ = false;
  std::list<std::thread> threads_, ended_;
  std::thread relief_;  // once it was needed
};

}  // namespace sqlite_s3

#pragma once
// TaskPool: a fixed number of threads for what may block (starting, stopping, asking a store), so
// that a thousand databases do not need a thousand threads for it.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sqlite_s3 {

class TaskPool {
 public:
  // Threads are started when first needed, `most` of them at most.
  explicit TaskPool(size_t most) : most_(most) {}
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

 private:
  void Run();

  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;  // for the threads
  std::condition_variable done_;     // for WaitIdle
  std::deque<std::function<void()>> tasks_;
  size_t idle_ = 0;
  bool finishing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sqlite_s3

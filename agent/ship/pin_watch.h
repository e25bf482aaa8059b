#pragma once
// PinWatch: somebody who looks after an engine's pin while its worker cannot, because it waits for
// the store or for its turn. A pin that nobody moves holds up the application's own checkpoints.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "agent/ship/work_pool.h"

namespace sqlite_s3 {

class PinWatch {
 public:
  static constexpr std::chrono::milliseconds kWhileAsked{20};    // the store is
  static constexpr std::chrono::milliseconds kWhileQueued{250};  // with many others
  // Calls `look` every so often for as long as it lives: on a thread of the pool's (its checkpoint
  // lane), or without a pool on one of its own. `look` must not throw.
  PinWatch(WorkPool* pool, std::chrono::milliseconds every, std::function<void()> look);
  // Waits for a look that is under way.
  ~PinWatch();
  PinWatch(const PinWatch&) = delete;
  PinWatch& operator=(const PinWatch&) = delete;

 private:
  void Run();

  const std::chrono::milliseconds every_;
  const std::function<void()> look_;
  std::shared_ptr<WorkPool::Task> task_;
  bool begun_ = false;  // of the task
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace sqlite_s3

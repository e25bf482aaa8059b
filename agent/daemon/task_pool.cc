#include "agent/daemon/task_pool.h"

#include <pthread.h>

#include <utility>

namespace sqlite_s3 {

void TaskPool::Post(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  if (idle_ < tasks_.size() && threads_.size() < most_) {
    threads_.emplace_back([this] { Run(); });
  }
  changed_.notify_one();
}

void TaskPool::Run() {
  pthread_setname_np(pthread_self(), "s3-task");
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    done_.notify_all();
    changed_.wait(lock, [&] { return !tasks_.empty() || finishing_; });
    --idle_;
    if (tasks_.empty()) {
      return;
    }
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it holds goes before the lock is taken
    lock.lock();
  }
}

bool TaskPool::WaitIdle(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  return done_.wait_until(lock, deadline,
                          [&] { return tasks_.empty() && idle_ == threads_.size(); });
}

void TaskPool::Finish() {
  {
    std::lock_guard lock(mutex_);
    finishing_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) {
      thread.join();
    }
  }
  threads_.clear();
}

}  // namespace sqlite_s3

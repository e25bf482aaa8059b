#include "agent/daemon/task_pool.h"

#include <pthread.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace sqlite_s3 {

void TaskPool::Post(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  if (idle_ < tasks_.size() && threads_.size() < most_) {
    AddThread();
  } else if (idle_ < tasks_.size() && most_beyond_ > 0) {
    if (!relief_.joinable()) {
      relief_ = std::thread([this] { Relieve(); });
    }
    waits_.notify_one();
  }
  changed_.notify_one();
}

void TaskPool::AddThread() {
  Reap();
  threads_.emplace_front();
  const auto self = threads_.begin();
  try {
    *self = std::thread([this, self] { Run(self); });
  } catch (...) {
    threads_.erase(self);
    throw;
  }
}

// Of threads that ended: what is left of them needs no lock of ours.
void TaskPool::Reap() {
  for (std::thread& thread : ended_) {
    thread.join();
  }
  ended_.clear();
}

void TaskPool::Run(std::list<std::thread>::iterator self) {
  pthread_setname_np(pthread_self(), "s3-task");
  std::unique_lock lock(mutex_);
  for (;;) {
    if (tasks_.empty() && !finishing_ && threads_.size() > most_) {
      ended_.splice(ended_.begin(), threads_, self);
      done_.notify_all();
      return;
    }
    ++idle_;
    done_.notify_all();
    changed_.wait(lock, [&] { return !tasks_.empty() || finishing_; });
    --idle_;
    if (tasks_.empty()) {
      return;
    }
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    ++taken_;
    lock.unlock();
    task();
    task = nullptr;  // what it holds goes before the lock is taken
    lock.lock();
  }
}

void TaskPool::Relieve() {
  pthread_setname_np(pthread_self(), "s3-relief");
  std::unique_lock lock(mutex_);
  while (!finishing_) {
    if (tasks_.empty()) {
      waits_.wait(lock);
      continue;
    }
    const uint64_t taken = taken_;
    waits_.wait_for(lock, patience_, [&] { return finishing_ || taken_ != taken; });
    if (finishing_ || taken_ != taken || tasks_.empty()) {
      continue;
    }
    const size_t most = most_ + most_beyond_;
    const size_t more = std::min({threads_.size(), tasks_.size(), most - threads_.size()});
    for (size_t i = 0; i < more; ++i) {
      try {
        AddThread();
      } catch (const std::system_error&) {
        break;  // those that there are do it, later
      }
    }
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
    waits_.notify_all();
  }
  if (relief_.joinable()) {
    relief_.join();
  }
  // Nobody moves a thread from one list to the other any more.
  for (std::list<std::thread>* list : {&threads_, &ended_}) {
    for (std::thread& thread : *list) {
      thread.join();
    }
    list->clear();
  }
}

size_t TaskPool::threads() {
  std::lock_guard lock(mutex_);
  return threads_.size();
}

}  // namespace sqlite_s3

#pragma once
// OrderedFetch: runs jobs ahead on threads and hands their results out in the order they were asked
// for, with a bound on what is held. For fetching objects that must be used in order: a chain of
// segments, a log to apply.

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/status.h"

namespace sqlite_s3 {

// Push and Pop are called from one thread; the jobs run on others. The destructor waits for jobs
// that run, and drops those that do not yet.
template <typename T>
class OrderedFetch {
 public:
  using Job = std::function<Result<T>()>;

  // `threads` <= 1: no thread at all, jobs run inside Pop. `max_ahead_bytes` bounds the sum of the
  // costs of jobs that were started and not yet popped; one is always let through.
  OrderedFetch(int threads, uint64_t max_ahead_bytes)
      : threads_wanted_(threads), max_ahead_bytes_(max_ahead_bytes) {}
  OrderedFetch(const OrderedFetch&) = delete;
  OrderedFetch& operator=(const OrderedFetch&) = delete;
  ~OrderedFetch() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
    for (std::thread& t : threads_) {
      t.join();
    }
  }

  size_t pending() const { return pending_; }

  void Push(Job job, uint64_t cost_bytes) {
    ++pending_;
    if (threads_wanted_ > 1 && static_cast<int>(threads_.size()) < threads_wanted_) {
      Spawn();
    }
    {
      std::lock_guard lock(mutex_);
      slots_.push_back(std::make_unique<Slot>(Slot{std::move(job), cost_bytes, {}}));
    }
    work_.notify_one();
  }

  // REQUIRES: pending() > 0.
  Result<T> Pop() {
    --pending_;
    if (threads_.empty()) {
      std::unique_ptr<Slot> slot = std::move(slots_.front());
      slots_.pop_front();
      return Run(slot->job);
    }
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return slots_.front()->result.has_value(); });
    std::unique_ptr<Slot> slot = std::move(slots_.front());
    slots_.pop_front();
    --started_;
    ahead_bytes_ -= slot->cost_bytes;
    lock.unlock();
    work_.notify_all();
    return std::move(*slot->result);
  }

 private:
  struct Slot {
    Job job;
    uint64_t cost_bytes;
    std::optional<Result<T>> result;
  };

  static Result<T> Run(const Job& job) {
    try {
      return job();
    } catch (const std::bad_alloc&) {
      return ResourceExhaustedError("out of memory while fetching");
    } catch (const std::exception& e) {
      return InternalError(std::string("unexpected exception: ") + e.what());
    }
  }

  void Spawn() {
    // The library may live in somebody else's process: its signals are not ours to handle.
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
      threads_.emplace_back([this] { Work(); });
    } catch (const std::system_error&) {
      // No more threads to be had: those there are do the work, or Pop does.
      threads_wanted_ = static_cast<int>(threads_.size());
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }

  bool CanStart() const {
    return started_ < slots_.size() &&
           (started_ == 0 || ahead_bytes_ + slots_[started_]->cost_bytes <= max_ahead_bytes_);
  }

  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      work_.wait(lock, [&] { return stopping_ || CanStart(); });
      if (stopping_) {
        return;
      }
      Slot* slot = slots_[started_].get();  // started ones are a prefix of the queue
      ++started_;
      ahead_bytes_ += slot->cost_bytes;
      lock.unlock();
      Result<T> result = Run(slot->job);
      lock.lock();
      slot->result.emplace(std::move(result));
      done_.notify_one();
    }
  }

  int threads_wanted_;
  const uint64_t max_ahead_bytes_;
  size_t pending_ = 0;
  std::vector<std::thread> threads_;
  std::mutex mutex_;  // guards what follows; nobody else is there while threads_ is empty
  std::condition_variable work_;
  std::condition_variable done_;
  std::deque<std::unique_ptr<Slot>> slots_;
  size_t started_ = 0;
  uint64_t ahead_bytes_ = 0;
  bool stopping_ = false;
};

}  // namespace sqlite_s3

#include "agent/ship/work_pool.h"

#include <pthread.h>

#include <algorithm>
#include <string>
#include <system_error>

#include "common/base/clock.h"

namespace sqlite_s3 {
namespace {

// A thread beyond a lane's first ends when it had nothing to do for so long.
constexpr auto kThreadRest = std::chrono::seconds(5);
constexpr std::array<const char*, WorkPool::kLanes> kNames{"s3-ship",  "s3-checkpoint", "s3-big",
                                                           "s3-start", "s3-upload",     "s3-image"};

constexpr int64_t kLongWaitMicros = 5'000'000;
constexpr int64_t kTogetherMicros = 250'000;

int64_t Now() { return Clock::Real().MonotonicMicros(); }

}  // namespace

int64_t WorkPool::WhenDue(int64_t now_us, int64_t wait_us) {
  const int64_t due = now_us + wait_us;
  return wait_us < kLongWaitMicros
             ? due
             : (due + kTogetherMicros - 1) / kTogetherMicros * kTogetherMicros;
}

// Uploads wait for answers: with 20 ms each, 64 at a time are 3,200 a second.
WorkPool::MostThreads WorkPool::Defaults() {
  const size_t cores = std::max(std::thread::hardware_concurrency(), 2U);
  return {cores, 8, 4, 16, 64, 4};
}

WorkPool::WorkPool(const MostThreads& most) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < kLanes; ++i) {
    lanes_[i].most = std::max<size_t>(most[i], 1);
    AddThread(static_cast<Lane>(i));  // the first stays, so that work never waits for memory
  }
  timer_thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "s3-timer");
    RunTimers();
  });
}

WorkPool::~WorkPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    timers_changed_.notify_all();
    for (LaneState& lane : lanes_) {
      lane.ready.notify_all();
    }
  }
  timer_thread_.join();
  // Nobody adds a thread any more, and those that end move themselves from one list to the other.
  for (;;) {
    std::list<std::thread> all;
    {
      std::unique_lock lock(mutex_);
      step_ended_.wait(lock, [&] { return threads_.empty(); });
      all.swap(ended_);
    }
    if (all.empty()) {
      return;
    }
    for (std::thread& thread : all) {
      thread.join();
    }
  }
}

std::shared_ptr<WorkPool::Task> WorkPool::Add(Lane lane, Step step) {
  TaskPtr task(new Task(*this, std::move(step)));
  std::lock_guard lock(mutex_);
  task->lane_ = lane;
  Enqueue(task);
  return task;
}

size_t WorkPool::threads() const {
  std::lock_guard lock(mutex_);
  return threads_.size() + 1;
}

void WorkPool::Enqueue(TaskPtr task) {
  LaneState& lane = At(task->lane_);
  const Lane which = task->lane_;
  task->state_ = Task::State::kQueued;
  lane.queue.push_back(std::move(task));
  if (lane.idle < lane.queue.size() && lane.threads < lane.most && !stopping_) {
    Reap();
    try {
      AddThread(which);
    } catch (const std::system_error&) {
      // Those that there are do it, later.
    }
  }
  lane.ready.notify_one();
}

void WorkPool::WakeLocked(TaskPtr task) {
  switch (task->state_) {
    case Task::State::kRunning:
      task->woken_ = true;
      return;
    case Task::State::kTimed:
      timers_.erase(task);
      Enqueue(std::move(task));
      return;
    case Task::State::kIdle:
      Enqueue(std::move(task));
      return;
    case Task::State::kQueued:
    case Task::State::kEnded:
      return;
  }
}

void WorkPool::AfterStep(TaskPtr task, const Next& next) {
  if (next.end || task->cancelled_) {
    task->state_ = Task::State::kEnded;
    step_ended_.notify_all();
    return;
  }
  task->lane_ = next.lane;
  if (std::exchange(task->woken_, false) || next.wait.count() <= 0) {
    Enqueue(std::move(task));
  } else if (next.wait == std::chrono::microseconds::max()) {
    task->state_ = Task::State::kIdle;
  } else {
    task->state_ = Task::State::kTimed;
    task->due_us_ = WhenDue(Now(), next.wait.count());
    const auto at = timers_.insert(std::move(task)).first;
    if (at == timers_.begin()) {
      timers_changed_.notify_one();
    }
  }
}

void WorkPool::AddThread(Lane lane) {
  threads_.emplace_front();
  const auto self = threads_.begin();
  try {
    *self = std::thread([this, lane, self] { Run(lane, self); });
  } catch (...) {
    threads_.erase(self);
    throw;
  }
  ++At(lane).threads;
}

// Of threads that ended: what is left of them needs no lock of ours.
void WorkPool::Reap() {
  for (std::thread& thread : ended_) {
    thread.join();
  }
  ended_.clear();
}

void WorkPool::Run(Lane which, std::list<std::thread>::iterator self) {
  pthread_setname_np(pthread_self(), kNames[static_cast<size_t>(which)]);
  std::unique_lock lock(mutex_);
  LaneState& lane = At(which);
  for (;;) {
    if (lane.queue.empty()) {
      if (stopping_) {
        break;
      }
      ++lane.idle;
      const bool rung =
          lane.ready.wait_for(lock, kThreadRest, [&] { return !lane.queue.empty() || stopping_; });
      --lane.idle;
      if (!rung && lane.threads > 1) {
        break;
      }
      continue;
    }
    TaskPtr task = std::move(lane.queue.front());
    lane.queue.pop_front();
    if (task->state_ != Task::State::kQueued) {
      continue;  // cancelled meanwhile
    }
    task->state_ = Task::State::kRunning;
    task->woken_ = false;
    lock.unlock();
    const Next next = task->step_(which);
    lock.lock();
    AfterStep(std::move(task), next);
  }
  --lane.threads;
  ended_.splice(ended_.begin(), threads_, self);
  step_ended_.notify_all();
}

void WorkPool::RunTimers() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (timers_.empty()) {
      timers_changed_.wait(lock);
      continue;
    }
    const int64_t left = (*timers_.begin())->due_us_ - Now();
    if (left > 0) {
      timers_changed_.wait_for(lock, std::chrono::microseconds(left));
      continue;
    }
    TaskPtr task = *timers_.begin();
    timers_.erase(timers_.begin());
    Enqueue(std::move(task));
  }
}

void WorkPool::Task::Wake() {
  std::lock_guard lock(pool_.mutex_);
  if (!cancelled_) {
    pool_.WakeLocked(shared_from_this());
  }
}

void WorkPool::Task::Cancel() {
  std::unique_lock lock(pool_.mutex_);
  cancelled_ = true;
  if (state_ == State::kTimed) {
    pool_.timers_.erase(shared_from_this());
  }
  if (state_ != State::kRunning) {
    state_ = State::kEnded;
  }
  pool_.step_ended_.wait(lock, [&] { return state_ == State::kEnded; });
}

}  // namespace sqlite_s3

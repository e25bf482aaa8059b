#include "agent/ship/pin_watch.h"

#include <pthread.h>

#include <csignal>
#include <utility>

namespace sqlite_s3 {

PinWatch::PinWatch(WorkPool* pool, std::chrono::milliseconds every, std::function<void()> look)
    : every_(every), look_(std::move(look)) {
  if (pool != nullptr) {
    task_ = pool->Add(WorkPool::Lane::kCheckpoint, [this](WorkPool::Lane lane) {
      if (std::exchange(begun_, true)) {
        look_();
      }
      return WorkPool::Next::After(every_, lane);
    });
    return;
  }
  // In an application's process its threads handle its signals, not ours.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

PinWatch::~PinWatch() {
  if (task_) {
    task_->Cancel();
    return;
  }
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    stopped_.notify_all();
  }
  thread_.join();
}

void PinWatch::Run() {
  pthread_setname_np(pthread_self(), "s3-pin");
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, every_, [&] { return stop_; })) {
    lock.unlock();
    look_();
    lock.lock();
  }
}

}  // namespace sqlite_s3

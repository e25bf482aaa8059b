#include "server/http/connection_watch.h"

#include <sys/socket.h>

namespace sqlite_s3::server {

ConnectionWatch::ConnectionWatch(std::chrono::seconds head_timeout)
    : head_timeout_(head_timeout), thread_([this] { Run(); }) {}

ConnectionWatch::~ConnectionWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ConnectionWatch::Opened(const void* id, int fd) {
  std::lock_guard lock(mutex_);
  entries_[id] = {fd, false, std::chrono::steady_clock::now()};
}

void ConnectionWatch::Closed(const void* id) {
  std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) {
    return;
  }
  if (entry->second.busy) {
    --busy_;
  }
  entries_.erase(entry);
  changed_.notify_all();
}

void ConnectionWatch::RequestBegan(const void* id) {
  std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry != entries_.end() && !entry->second.busy) {
    entry->second.busy = true;
    ++busy_;
  }
}

void ConnectionWatch::RequestEnded(const void* id) {
  std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || !entry->second.busy) {
    return;
  }
  entry->second.busy = false;
  entry->second.waiting_since = std::chrono::steady_clock::now();
  if (--busy_ == 0) {
    changed_.notify_all();
  }
}

size_t ConnectionWatch::connections() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

bool ConnectionWatch::WaitUntilIdle(std::chrono::milliseconds grace) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, grace, [this] { return busy_ == 0; });
}

void ConnectionWatch::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    changed_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; });
    const Time now = std::chrono::steady_clock::now();
    for (const auto& [id, entry] : entries_) {
      if (!entry.busy && now - entry.waiting_since > head_timeout_) {
        // The connection's own thread wakes up from it, and closes. The descriptor cannot be
        // another's: Closed waits for our mutex.
        ::shutdown(entry.fd, SHUT_RDWR);
      }
    }
  }
}

}  // namespace sqlite_s3::server

#include "server/http/connection_watch.h"

#include <sys/socket.h>

#include <algorithm>

namespace sqlite_s3::server {

int64_t WatchedConnection::CreditForUs(uint64_t bytes) const {
  return static_cast<int64_t>(bytes * 1'000'000 / patience_.min_bytes_per_second);
}

int64_t WatchedConnection::LeftUs() const {
  const int64_t since = waiting_since_us_.load(std::memory_order_relaxed);
  if (since == 0) {
    return patience_.body.count();
  }
  const int64_t waited = clock_.MonotonicMicros() - since;
  return (busy_.load(std::memory_order_relaxed) ? credit_us_.load(std::memory_order_relaxed)
                                                : patience_.head.count()) -
         waited;
}

void WatchedConnection::Working() {
  const int64_t since = waiting_since_us_.load(std::memory_order_relaxed);
  if (since != 0) {
    credit_us_.fetch_sub(clock_.MonotonicMicros() - since, std::memory_order_relaxed);
    waiting_since_us_.store(0, std::memory_order_relaxed);
  }
}

// Bytes buy time, but what was fast once may not be slow for hours.
void WatchedConnection::WaitingAfterReceiving(uint64_t bytes) {
  credit_us_.store(
      std::min<int64_t>(credit_us_.load(std::memory_order_relaxed) + CreditForUs(bytes),
                        patience_.body.count()),
      std::memory_order_relaxed);
  waiting_since_us_.store(clock_.MonotonicMicros(), std::memory_order_relaxed);
}

// All of them are on their way at once, and may take their time.
void WatchedConnection::WaitingAfterSending(uint64_t bytes) {
  credit_us_.store(patience_.body.count() + CreditForUs(bytes), std::memory_order_relaxed);
  waiting_since_us_.store(clock_.MonotonicMicros(), std::memory_order_relaxed);
}

ConnectionWatch::ConnectionWatch(const Clock& clock, const Patience& patience)
    : clock_(clock), patience_(patience) {}

ConnectionWatch::~ConnectionWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void ConnectionWatch::Start() {
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; })) {
      lock.unlock();
      Check();
      lock.lock();
    }
  });
}

WatchedConnection* ConnectionWatch::Opened(int fd) {
  std::lock_guard lock(mutex_);
  connections_.emplace_back(clock_, patience_, fd);
  if (connections_.size() - cut_ > patience_.max_connections) {
    MakeRoom();
  }
  return &connections_.back();
}

void ConnectionWatch::MakeRoom() {
  WatchedConnection* newcomer = &connections_.back();
  WatchedConnection* idle = nullptr;
  WatchedConnection* behind = nullptr;
  for (WatchedConnection& each : connections_) {
    if (each.cut_ || &each == newcomer) {
      continue;
    }
    WatchedConnection*& worst = each.busy_.load(std::memory_order_relaxed) ? behind : idle;
    if (worst == nullptr || each.LeftUs() < worst->LeftUs()) {
      worst = &each;
    }
  }
  if (idle != nullptr) {
    Cut(*idle);
  } else if (behind != nullptr && behind->LeftUs() < patience_.body.count() / 2) {
    Cut(*behind);
  } else {
    Cut(*newcomer);
  }
}

void ConnectionWatch::Cut(WatchedConnection& connection) {
  connection.cut_ = true;
  ++cut_;
  // The descriptor cannot be another's: Closed waits for our mutex.
  ::shutdown(connection.fd_, SHUT_RDWR);
}

void ConnectionWatch::Closed(WatchedConnection* connection) {
  std::lock_guard lock(mutex_);
  if (connection->busy_.load(std::memory_order_relaxed)) {
    --busy_;
  }
  cut_ -= connection->cut_ ? 1 : 0;
  connections_.remove_if([&](const WatchedConnection& each) { return &each == connection; });
  changed_.notify_all();
}

void ConnectionWatch::RequestBegan(WatchedConnection* connection) {
  std::lock_guard lock(mutex_);
  if (!connection->busy_.exchange(true, std::memory_order_relaxed)) {
    ++busy_;
    connection->waiting_since_us_.store(0, std::memory_order_relaxed);
    connection->credit_us_.store(patience_.body.count(), std::memory_order_relaxed);
  }
}

void ConnectionWatch::RequestEnded(WatchedConnection* connection) {
  std::lock_guard lock(mutex_);
  connection->waiting_since_us_.store(clock_.MonotonicMicros(), std::memory_order_relaxed);
  if (connection->busy_.exchange(false, std::memory_order_relaxed) && --busy_ == 0) {
    changed_.notify_all();
  }
}

size_t ConnectionWatch::connections() const {
  std::lock_guard lock(mutex_);
  return connections_.size();
}

bool ConnectionWatch::WaitUntilIdle(std::chrono::milliseconds grace) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, grace, [this] { return busy_ == 0; });
}

void ConnectionWatch::Check() {
  std::lock_guard lock(mutex_);
  for (WatchedConnection& each : connections_) {
    if (!each.cut_ && each.LeftUs() < 0) {
      Cut(each);
    }
  }
}

}  // namespace sqlite_s3::server

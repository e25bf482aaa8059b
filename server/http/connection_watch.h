#pragma once
// ConnectionWatch: which connections are open, what each is waiting for, and who makes the server
// wait too long. libmicrohttpd's own timeout starts again with every byte: a client that trickles
// could hold a thread for ever, and as many as there are threads everybody else.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <thread>

#include "common/base/clock.h"

namespace sqlite_s3::server {

struct Patience {
  // From a connection's start, or its last request's end, to its next head's last byte.
  std::chrono::microseconds head{std::chrono::seconds(60)};
  // How far a body, either way, may fall behind `min_bytes_per_second`. Only the time that the
  // server waits for the client counts.
  std::chrono::microseconds body{std::chrono::seconds(60)};
  uint64_t min_bytes_per_second = 500;
  // Beyond so many the one that has been without a request longest is closed, else the one whose
  // body is furthest behind, if that is half of what it may be, else the newcomer.
  size_t max_connections = 512;
};

// One connection, which ConnectionWatch makes. Its public methods are for its own thread; they cost
// a few atomic stores.
class WatchedConnection {
 public:
  WatchedConnection(const Clock& clock, const Patience& patience, int fd)
      : clock_(clock), patience_(patience), fd_(fd), waiting_since_us_(clock.MonotonicMicros()) {}
  // The server is at work for it: its time does not count.
  void Working();
  // The server waits for the next bytes, having got so many, or for so many to be taken.
  void WaitingAfterReceiving(uint64_t bytes);
  void WaitingAfterSending(uint64_t bytes);

 private:
  friend class ConnectionWatch;
  int64_t CreditForUs(uint64_t bytes) const;
  // Below 0: it is over.
  int64_t LeftUs() const;

  const Clock& clock_;
  const Patience& patience_;
  const int fd_;
  bool cut_ = false;  // the watch's mutex
  std::atomic<bool> busy_{false};
  std::atomic<int64_t> waiting_since_us_;  // 0: it does not wait
  std::atomic<int64_t> credit_us_{0};      // of a body's time, when waiting_since_us_ was set
};

// Thread-safe.
class ConnectionWatch {
 public:
  ConnectionWatch(const Clock& clock, const Patience& patience);
  ~ConnectionWatch();
  ConnectionWatch(const ConnectionWatch&) = delete;
  ConnectionWatch& operator=(const ConnectionWatch&) = delete;

  // A thread that calls Check every second, until the end.
  void Start();
  // `fd` must stay open until Closed returns. Never null; valid until then.
  WatchedConnection* Opened(int fd);
  void Closed(WatchedConnection* connection);
  void RequestBegan(WatchedConnection* connection);  // its head is complete
  void RequestEnded(WatchedConnection* connection);
  // Cuts off who is over time. The connection's own thread wakes up from it, and closes.
  void Check();
  size_t connections() const;
  // True when no request is under way before `grace` is over.
  bool WaitUntilIdle(std::chrono::milliseconds grace);

 private:
  void Cut(WatchedConnection& connection);
  void MakeRoom();

  const Clock& clock_;
  const Patience patience_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<WatchedConnection> connections_;  // oldest first
  size_t cut_ = 0;
  size_t busy_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sqlite_s3::server

#pragma once
// ConnectionWatch: which connections are open, which have a request under way, and who takes too
// long to send a head. libmicrohttpd's own timeout starts again with every byte, so that a client
// that trickles headers could hold a thread for ever.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <thread>

namespace sqlite_s3::server {

// Thread-safe.
class ConnectionWatch {
 public:
  explicit ConnectionWatch(std::chrono::seconds head_timeout);
  ~ConnectionWatch();
  ConnectionWatch(const ConnectionWatch&) = delete;
  ConnectionWatch& operator=(const ConnectionWatch&) = delete;

  // `id` is anything unique; `fd` must stay open until Closed returns.
  void Opened(const void* id, int fd);
  void Closed(const void* id);
  void RequestBegan(const void* id);  // its head is complete
  void RequestEnded(const void* id);
  size_t connections() const;
  // True when no request is under way before `grace` is over.
  bool WaitUntilIdle(std::chrono::milliseconds grace);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Entry {
    int fd = -1;
    bool busy = false;
    Time waiting_since;
  };
  void Run();

  const std::chrono::seconds head_timeout_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<const void*, Entry> entries_;
  size_t busy_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sqlite_s3::server

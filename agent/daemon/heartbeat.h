#pragma once
// Heartbeat: a request to a URL at regular intervals for as long as all is well. Whoever watches
// the other end hears of everything that goes wrong here, the end of this machine included.

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "agent/daemon/log.h"
#include "agent/daemon/task_pool.h"
#include "common/store/http_transport.h"

namespace sqlite_s3 {

class Heartbeat {
 public:
  // `url` is https://..., or http://... . Its path is a secret as a rule: no message has it.
  // kInvalidArgument.
  static Result<std::unique_ptr<Heartbeat>> Create(const std::string& url,
                                                   std::chrono::milliseconds interval, Logger& log);
  ~Heartbeat() { pool_.Finish(); }

  bool sending() const { return sending_; }
  // Sends when the interval is over, all is well and the last request has ended; without waiting.
  // Returns when to call again at the latest. `now_us` monotonic; one thread.
  std::chrono::microseconds Beat(bool all_is_well, int64_t now_us);

 private:
  Heartbeat(std::string url, std::string host, std::chrono::milliseconds interval,
            std::shared_ptr<HttpTransport> transport, Logger& log);
  void Send();
  void Note(const std::string& trouble);

  const std::string url_, host_;
  const std::chrono::microseconds interval_;
  const std::shared_ptr<HttpTransport> transport_;
  Logger& log_;
  int64_t due_us_ = 0;
  std::string trouble_;  // of the last request; the pool's thread's own
  std::atomic<bool> sending_{false};
  TaskPool pool_{1};  // last: its task uses the above
};

}  // namespace sqlite_s3

#pragma once
// ServiceManager: what systemd is told, see sd_notify(3). Does nothing when no one listens
// (NOTIFY_SOCKET is not set). The .cc is the only file that includes libsystemd. Thread-safe.
//
// Never waits: sd_notify() itself blocks once the reader is a few messages behind, and with it
// would everything else. What cannot be delivered yet is kept, and sent by DeliverRest.

#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <deque>
#include <mutex>
#include <string>

#include "common/os/fd.h"

namespace sqlite_s3 {

class ServiceManager {
 public:
  // Reads the environment.
  ServiceManager();

  bool listens() const { return listens_; }
  // WatchdogSec of the unit; 0: it wants no signs of life.
  std::chrono::microseconds watchdog() const { return watchdog_; }

  void Ready();
  // REQUIRES: followed by Ready once the reload is done.
  void Reloading();
  void Stopping();
  void Alive();
  // One line; sent only when it is another than before.
  void SetStatus(const std::string& text);
  // Tries again to send what was not delivered yet. Whether nothing is left.
  bool DeliverRest();

 private:
  void Notify(const std::string& state);
  // REQUIRES: mutex_.
  void Deliver();

  const bool listens_;
  std::chrono::microseconds watchdog_{0};
  std::string status_;  // of the thread that calls SetStatus
  sockaddr_un address_{};
  socklen_t address_bytes_ = 0;
  std::mutex mutex_;
  Fd socket_;
  std::deque<std::string> waiting_;  // in order; of those that say the same thing anew, the last
};

}  // namespace sqlite_s3

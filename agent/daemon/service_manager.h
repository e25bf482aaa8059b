#pragma once
// ServiceManager: what systemd is told, see sd_notify(3). Does nothing when no one listens
// (NOTIFY_SOCKET is not set). The .cc is the only file that includes libsystemd. Thread-safe.

#include <chrono>
#include <string>

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

 private:
  const bool listens_;
  std::chrono::microseconds watchdog_{0};
  std::string status_;  // of the thread that calls SetStatus
};

}  // namespace sqlite_s3

#include "agent/daemon/service_manager.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdlib>

#include "common/base/clock.h"

namespace sqlite_s3 {
namespace {

// What is not delivered is not missed: a manager that is gone has no use for it.
void Notify(const std::string& state) { (void)sd_notify(0, state.c_str()); }

}  // namespace

ServiceManager::ServiceManager() : listens_(getenv("NOTIFY_SOCKET") != nullptr) {
  uint64_t usec = 0;
  if (listens_ && sd_watchdog_enabled(0, &usec) > 0) {
    watchdog_ = std::chrono::microseconds(usec);
  }
}

void ServiceManager::Ready() { Notify("READY=1"); }

void ServiceManager::Reloading() {
  // The time is for Type=notify-reload, and is CLOCK_MONOTONIC's: systemd's own.
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  Notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                     int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000));
}

void ServiceManager::Stopping() { Notify("STOPPING=1"); }

void ServiceManager::Alive() { Notify("WATCHDOG=1"); }

void ServiceManager::SetStatus(const std::string& text) {
  if (text == status_) {
    return;
  }
  status_ = text;
  std::string line = text;
  std::replace(line.begin(), line.end(), '\n', ' ');  // a new line would be another assignment
  Notify("STATUS=" + line);
}

}  // namespace sqlite_s3

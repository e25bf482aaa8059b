#include "agent/daemon/service_manager.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "common/base/clock.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kMostWaiting = 32;

}  // namespace

// A path, or "@name" in the abstract namespace, as sd_notify(3) has it.
ServiceManager::ServiceManager() : listens_(getenv("NOTIFY_SOCKET") != nullptr) {
  if (!listens_) {
    return;
  }
  uint64_t usec = 0;
  if (sd_watchdog_enabled(0, &usec) > 0) {
    watchdog_ = std::chrono::microseconds(usec);
  }
  const std::string name = getenv("NOTIFY_SOCKET");
  if (name.size() < 2 || name.size() >= sizeof(address_.sun_path) ||
      (name[0] != '/' && name[0] != '@')) {
    return;
  }
  address_.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address_.sun_path);
  const bool abstract = name[0] == '@';
  if (abstract) {
    address_.sun_path[0] = '\0';
  }
  address_bytes_ =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (abstract ? 0 : 1));
  socket_ = Fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

void ServiceManager::Notify(const std::string& state) {
  std::lock_guard lock(mutex_);
  if (!socket_.valid()) {
    return;
  }
  const std::string what = state.substr(0, state.find('=') + 1);
  if (what == "STATUS=" || what == "WATCHDOG=") {
    std::erase_if(waiting_, [&](const std::string& other) { return other.starts_with(what); });
  }
  if (waiting_.size() < kMostWaiting) {
    waiting_.push_back(state);
  }
  Deliver();
}

void ServiceManager::Deliver() {
  while (!waiting_.empty()) {
    const std::string& next = waiting_.front();
    const ssize_t sent =
        sendto(socket_.get(), next.data(), next.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address_), address_bytes_);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
      return;
    }
    waiting_.pop_front();  // a manager that is gone has no use for it
  }
}

bool ServiceManager::DeliverRest() {
  std::lock_guard lock(mutex_);
  Deliver();
  return waiting_.empty();
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

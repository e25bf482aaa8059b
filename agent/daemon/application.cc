#include "agent/daemon/application.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

#include "agent/daemon/process_setup.h"
#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

constexpr time_t kPatienceSeconds = 5;

}  // namespace

Application::Application(std::vector<std::string> command, Agent& agent, Logger& log)
    : command_(std::move(command)), agent_(agent), log_(log) {}

Status Application::BeginSoon() {
  patience_ = Fd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const itimerspec once{{}, {kPatienceSeconds, 0}};
  if (!patience_.valid() || timerfd_settime(patience_.get(), 0, &once, nullptr) != 0) {
    return ErrnoStatus(errno, "open", "timerfd");
  }
  agent_.AddSource(patience_.get(), [this] {
    uint64_t times = 0;
    (void)!read(patience_.get(), &times, sizeof(times));
    if (!child_ && started_.ok()) {
      log_.Write(LogLevel::kWarning, "",
                 "the command begins before its database was looked at: the store does not answer");
      Begin();
    }
  });
  return Status::Ok();
}

void Application::Begin() {
  if (child_ || !started_.ok()) {
    return;
  }
  auto child = Child::Start(command_);
  if (child.ok()) {
    child_ = *child;
  } else {
    started_ = child.status();
    agent_.Stop();
  }
  RaiseDescriptorLimit();
}

bool Application::TakeSignal(const signalfd_siginfo& info) {
  if (!child_) {
    return false;
  }
  if (info.ssi_signo == SIGCHLD) {
    if (child_->HasEnded()) {
      agent_.Stop();
    }
  } else if (info.ssi_code != SI_KERNEL) {  // what the terminal sends, it sends to the child too
    child_->Signal(static_cast<int>(info.ssi_signo));
  }
  return true;
}

Result<int> Application::exit_code() const {
  RETURN_IF_ERROR(started_);
  return child_ ? child_->exit_code() : 0;
}

}  // namespace sqlite_s3

#include "agent/ship/background_checkpoint.h"

#include <time.h>

#include <csignal>
#include <system_error>
#include <utility>

namespace sqlite_s3 {
namespace {

// A busy writer holds the lock for a microsecond after each of its commits.
constexpr int kTries = 8;
constexpr long kPauseNanos = 10'000;

}  // namespace

void BackgroundCheckpoint::Start(Connection& connection, const std::function<void()>& begun) {
  (void)Await();
  begun_ = false;
  running_ = true;
  auto tell = [this] {
    std::lock_guard lock(mutex_);
    begun_ = true;
    changed_.notify_all();
  };
  auto run = [this, &begun, tell, db = connection.get()] {
    bool told = false;  // from then on `begun` is gone
    auto began = [&] {
      begun();
      told = true;
      tell();
    };
    PassiveCheckpoint result = RunPassiveCheckpoint(db, began);
    for (int tries = 1; tries < kTries && result.rc == SQLITE_BUSY && !told; ++tries) {
      const timespec pause{0, kPauseNanos};
      nanosleep(&pause, nullptr);
      result = RunPassiveCheckpoint(db, began);
    }
    result_ = result;
    running_ = false;
    tell();
  };
  // A host's signal handlers do not run on a thread of ours.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool here = false;
  try {
    thread_ = std::thread(run);
  } catch (const std::system_error&) {
    here = true;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (here) {
    run();
    return;
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return begun_; });
}

std::optional<PassiveCheckpoint> BackgroundCheckpoint::Await() {
  if (thread_.joinable()) {
    thread_.join();
  }
  return std::exchange(result_, std::nullopt);
}

}  // namespace sqlite_s3

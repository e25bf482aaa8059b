#include "restore/watchdog.h"

#include <chrono>
#include <utility>

namespace sqlite_s3 {
namespace {

constexpr auto kLook = std::chrono::milliseconds(20);

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Watchdog::Watchdog(double grace_seconds, std::function<void()> on_stuck)
    : grace_seconds_(grace_seconds), on_stuck_(std::move(on_stuck)), thread_([this] { Watch(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void Watchdog::Arm(sqlite3* db, double seconds) {
  std::lock_guard lock(mutex_);
  db_ = db;
  deadline_ = Now() + seconds;
  fired_ = false;
}

bool Watchdog::Disarm() {
  std::lock_guard lock(mutex_);
  db_ = nullptr;
  return fired_;
}

bool Watchdog::fired() {
  std::lock_guard lock(mutex_);
  return fired_;
}

// Interrupts again and again: SQLite forgets it when the next statement begins.
void Watchdog::Watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    stop_.wait_for(lock, kLook);
    const double late = db_ == nullptr ? -1 : Now() - deadline_;
    if (late < 0) {
      continue;
    }
    fired_ = true;
    sqlite3_interrupt(db_);
    if (late > grace_seconds_ && on_stuck_ && !std::exchange(stuck_, true)) {
      lock.unlock();
      on_stuck_();
      lock.lock();
    }
  }
}

}  // namespace sqlite_s3

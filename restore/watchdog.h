#pragma once
// Watchdog: ends what a connection executes when it takes too long. SQLite looks at interrupts
// between two steps of a program and while it parses. Within one step nothing does: replace(),
// trim(), LIKE, printf(), json_patch() of long values, a MATCH over a large index can take hours
// there, and no other thread can end them. Then all that is left is to give up the process.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

class Watchdog {
 public:
  // `on_stuck`, if any, is called once, from the watchdog's thread, when the connection has not
  // come back `grace_seconds` after the deadline; it need not return.
  Watchdog(double grace_seconds, std::function<void()> on_stuck);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // From now on `db` is interrupted after so many seconds, until Disarm. `db` must be open until
  // then.
  void Arm(sqlite3* db, double seconds);
  // Whether it was interrupted.
  bool Disarm();
  // So far.
  bool fired();

 private:
  void Watch();

  const double grace_seconds_;
  const std::function<void()> on_stuck_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  sqlite3* db_ = nullptr;  // null: disarmed
  double deadline_ = 0;
  bool fired_ = false;
  bool stuck_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace sqlite_s3

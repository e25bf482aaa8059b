#pragma once
// RequestBudget: how many requests that a store charges as PUTs one database may make in a calendar
// month (UTC), and how they are spread over what is left of it. It never stops anything: what it
// says is how far apart segments shall be.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace sqlite_s3 {

// Thread-safe. The count survives the process: the file says at least what was spent, after a crash
// up to 100 requests or 0.2 % of the budget more.
class RequestBudget {
 public:
  // Of nothing left, segments still go out so often.
  static constexpr std::chrono::microseconds kLongestPace = std::chrono::hours(1);

  // `a_month` 0: no budget; then only what this process spends is counted. `clock` must outlive it.
  RequestBudget(uint64_t a_month, const Clock& clock);

  // From now on the count lies in this file, and what it says was spent counts too. An error: it
  // begins with nothing spent. Again, with the same file: nothing happens.
  Status Open(const std::string& path);
  // Before each request. A count that cannot be saved goes on in memory.
  void Count();
  // Makes the file exact: at the end of a process.
  void Save();

  struct State {
    uint64_t used = 0;  // this month
    // How far apart segments shall be for the rest of the month; 0 without a budget.
    std::chrono::microseconds pace{0};
    bool over = false;  // nothing is left
  };
  State Now();

  enum class Notice { kStretched = 1, kOver = 2 };
  // Whether it is the first one of its kind this month.
  bool IsNews(Notice notice);

 private:
  // REQUIRES: mutex_.
  int64_t Roll();  // returns when the month ends
  void SaveLocked(uint64_t used);

  const uint64_t a_month_;
  const Clock& clock_;
  std::mutex mutex_;
  std::string path_;  // empty: not open
  int month_ = 0;     // since the year 0
  int64_t month_ends_us_ = 0;
  uint64_t used_ = 0;
  uint64_t saved_ = 0;    // what the file says
  unsigned notices_ = 0;  // bits
};

}  // namespace sqlite_s3

#include "agent/ship/request_budget.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

using std::chrono::microseconds;

constexpr uint64_t kMaxFileBytes = 4096;
constexpr uint64_t kMostAhead = 100;

int MonthOf(int64_t wall_us) {
  using namespace std::chrono;
  const year_month_day day(floor<days>(sys_time<microseconds>(microseconds(wall_us))));
  return static_cast<int>(day.year()) * 12 + static_cast<int>(static_cast<unsigned>(day.month())) -
         1;
}

int64_t BeginOf(int month) {
  using namespace std::chrono;
  const sys_days first = year(month / 12) / (month % 12 + 1) / 1;
  return duration_cast<microseconds>(first.time_since_epoch()).count();
}

}  // namespace

RequestBudget::RequestBudget(uint64_t a_month, const Clock& clock)
    : a_month_(a_month), clock_(clock) {
  std::lock_guard lock(mutex_);
  (void)Roll();
}

// A clock that is put back a little does not give the month's requests a second time.
int64_t RequestBudget::Roll() {
  const int64_t now = clock_.WallMicros();
  if (now < month_ends_us_ && now >= BeginOf(month_ - 1)) {
    return month_ends_us_;
  }
  month_ = MonthOf(now);
  month_ends_us_ = BeginOf(month_ + 1);
  used_ = saved_ = 0;
  notices_ = 0;
  return month_ends_us_;
}

Status RequestBudget::Open(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (a_month_ == 0 || path == path_) {
    return Status::Ok();
  }
  path_ = path;
  (void)Roll();
  auto bytes = ReadFile(path, kMaxFileBytes);
  if (!bytes.ok()) {
    return bytes.code() == StatusCode::kNotFound ? Status::Ok() : bytes.status();
  }
  const auto json = nlohmann::json::parse(AsText(*bytes), nullptr, false);
  const auto number = [&](const char* name) -> uint64_t {
    const bool there = json.is_object() && json.contains(name) && json[name].is_number_unsigned();
    return there ? json[name].get<uint64_t>() : 0;
  };
  const uint64_t month = number("month");
  if (month == 0) {
    return CorruptionError("'" + path + "' is not the count of a month's requests");
  }
  // As Roll has it: the month before the file's is the file's, to a clock that was put back.
  const auto here = static_cast<uint64_t>(month_);
  if (month == here || month == here + 1) {
    month_ = static_cast<int>(month);
    month_ends_us_ = BeginOf(month_ + 1);
    saved_ = number("requests");
    used_ += std::min(saved_, uint64_t{1} << 60);
    notices_ |= static_cast<unsigned>(number("notices") & 0xff);
  }
  return Status::Ok();
}

void RequestBudget::Count() {
  std::lock_guard lock(mutex_);
  (void)Roll();
  ++used_;
  if (!path_.empty() && used_ > saved_) {
    SaveLocked(used_ + std::clamp<uint64_t>(a_month_ / 500, 1, kMostAhead) - 1);
  }
}

void RequestBudget::Save() {
  std::lock_guard lock(mutex_);
  if (!path_.empty() && used_ != saved_) {
    SaveLocked(used_);
  }
}

void RequestBudget::SaveLocked(uint64_t used) {
  const nlohmann::json json = {{"month", month_}, {"requests", used}, {"notices", notices_}};
  saved_ = used;  // also after an error: a full disk is not asked again for each request
  (void)WriteFileAtomically(path_, AsBytes(json.dump() + "\n"), 0600, Durability::kVisible);
}

RequestBudget::State RequestBudget::Now() {
  State state;
  std::lock_guard lock(mutex_);
  const int64_t left_us = Roll() - clock_.WallMicros();
  state.used = used_;
  if (a_month_ == 0) {
    return state;
  }
  state.over = used_ >= a_month_;
  state.pace = state.over ? kLongestPace
                          : std::min(microseconds(left_us / static_cast<int64_t>(a_month_ - used_)),
                                     kLongestPace);
  return state;
}

bool RequestBudget::IsNews(Notice notice) {
  std::lock_guard lock(mutex_);
  (void)Roll();
  const auto bit = 1U << static_cast<unsigned>(notice);
  if ((notices_ & bit) != 0) {
    return false;
  }
  notices_ |= bit;
  if (!path_.empty()) {
    SaveLocked(std::max(used_, saved_));
  }
  return true;
}

}  // namespace sqlite_s3

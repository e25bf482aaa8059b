#include "common/base/time.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace sqlite_s3 {
namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;
constexpr std::string_view kPattern = "0000-00-00T00:00:00.000000Z";

}  // namespace

std::string FormatTimeUtc(int64_t time_us) {
  time_us = std::clamp(time_us, kMinTimeMicros, kMaxTimeMicros);
  int64_t day = time_us / kMicrosPerDay - (time_us % kMicrosPerDay < 0 ? 1 : 0);
  int64_t rest = time_us - day * kMicrosPerDay;
  std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{day}}};
  char out[64];
  int n = std::snprintf(out, sizeof(out), "%04d-%02u-%02uT%02u:%02u:%02u.%06uZ",
                        static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                        static_cast<unsigned>(date.day()),
                        static_cast<unsigned>(rest / (3600 * kMicrosPerSecond)),
                        static_cast<unsigned>(rest / (60 * kMicrosPerSecond) % 60),
                        static_cast<unsigned>(rest / kMicrosPerSecond % 60),
                        static_cast<unsigned>(rest % kMicrosPerSecond));
  return {out, static_cast<size_t>(n)};
}

Result<int64_t> ParseTimeUtc(std::string_view text) {
  auto bad = [&] {
    return InvalidArgumentError("not a time: '" + std::string(text.substr(0, 64)) +
                                "', hint: write it as 2023-11-14T22:13:20.000000Z");
  };
  if (text.size() != kPattern.size()) {
    return bad();
  }
  for (size_t i = 0; i < text.size(); ++i) {
    bool digit = text[i] >= '0' && text[i] <= '9';
    if (kPattern[i] == '0' ? !digit : text[i] != kPattern[i]) {
      return bad();
    }
  }
  auto number = [&](size_t from, size_t digits) {
    int value = 0;
    for (char c : text.substr(from, digits)) {
      value = value * 10 + (c - '0');
    }
    return value;
  };
  std::chrono::year_month_day date{std::chrono::year{number(0, 4)},
                                   std::chrono::month{static_cast<unsigned>(number(5, 2))},
                                   std::chrono::day{static_cast<unsigned>(number(8, 2))}};
  int hour = number(11, 2);
  int minute = number(14, 2);
  int second = number(17, 2);
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) {
    return bad();
  }
  int64_t day = std::chrono::sys_days{date}.time_since_epoch().count();
  int64_t seconds = ((day * 24 + hour) * 60 + minute) * 60 + second;
  return seconds * kMicrosPerSecond + number(20, 6);
}

}  // namespace sqlite_s3

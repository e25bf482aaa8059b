// --until: what a person says, as a RestoreTarget.

#include <cctype>
#include <charconv>
#include <chrono>
#include <ctime>
#include <string>

#include "common/base/ascii.h"
#include "common/base/time.h"
#include "common/format/keys.h"
#include "common/replica/restore_plan.h"

namespace sqlite_s3 {
namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;

Status Bad(std::string_view text, const std::string& why) {
  return InvalidArgumentError("cannot read '" + std::string(text.substr(0, 100)) +
                              "' as a restore point: " + why +
                              ", hint: '2026-11-20 14:02:11', '2026-11-20T14:02:11Z', "
                              "'10 minutes ago', txid:HEX, mark:NAME or latest");
}

bool TakePrefix(std::string_view& in, std::string_view prefix) {
  if (!in.starts_with(prefix)) {
    return false;
  }
  in.remove_prefix(prefix.size());
  return true;
}

// Exactly `digits` decimal digits.
bool TakeNumber(std::string_view& in, size_t digits, int* out) {
  if (in.size() < digits) {
    return false;
  }
  int value = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (!IsDigit(in[i])) {
      return false;
    }
    value = value * 10 + (in[i] - '0');
  }
  in.remove_prefix(digits);
  *out = value;
  return true;
}

struct DateTime {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  int64_t micros = 0;
};

// The date and time at the front of `in`; the rest (a zone, or nothing) stays.
bool TakeDateTime(std::string_view& in, DateTime* t) {
  if (!TakeNumber(in, 4, &t->year) || !TakePrefix(in, "-") || !TakeNumber(in, 2, &t->month) ||
      !TakePrefix(in, "-") || !TakeNumber(in, 2, &t->day) ||
      !(TakePrefix(in, " ") || TakePrefix(in, "T") || TakePrefix(in, "t")) ||
      !TakeNumber(in, 2, &t->hour) || !TakePrefix(in, ":") || !TakeNumber(in, 2, &t->minute)) {
    return false;
  }
  if (TakePrefix(in, ":")) {
    if (!TakeNumber(in, 2, &t->second)) {
      return false;
    }
    if (TakePrefix(in, ".")) {
      size_t digits = 0;
      int64_t unit = kMicrosPerSecond;
      for (; digits < in.size() && IsDigit(in[digits]); ++digits) {
        unit /= 10;  // what is finer than a microsecond is dropped: unit is 0 by then
        t->micros += unit * (in[digits] - '0');
      }
      if (digits == 0 || digits > 9) {
        return false;
      }
      in.remove_prefix(digits);
    }
  }
  const std::chrono::year_month_day date{std::chrono::year{t->year},
                                         std::chrono::month{static_cast<unsigned>(t->month)},
                                         std::chrono::day{static_cast<unsigned>(t->day)}};
  // 60 is a leap second; it counts as the first of the next minute.
  return date.ok() && t->hour <= 23 && t->minute <= 59 && t->second <= 60;
}

int64_t UtcSeconds(const DateTime& t) {
  const std::chrono::year_month_day date{std::chrono::year{t.year},
                                         std::chrono::month{static_cast<unsigned>(t.month)},
                                         std::chrono::day{static_cast<unsigned>(t.day)}};
  const int64_t days = std::chrono::sys_days{date}.time_since_epoch().count();
  return ((days * 24 + t.hour) * 60 + t.minute) * 60 + t.second;
}

// "Z" or "+HH:MM": seconds east of UTC.
std::optional<int64_t> ParseZone(std::string_view zone) {
  if (zone == "Z" || zone == "z") {
    return 0;
  }
  const bool east = TakePrefix(zone, "+");
  int hours = 0;
  int minutes = 0;
  if ((!east && !TakePrefix(zone, "-")) || !TakeNumber(zone, 2, &hours) || !TakePrefix(zone, ":") ||
      !TakeNumber(zone, 2, &minutes) || !zone.empty() || hours > 23 || minutes > 59) {
    return std::nullopt;
  }
  const int64_t seconds = (int64_t{hours} * 60 + minutes) * 60;
  return east ? seconds : -seconds;
}

// Seconds since 1970 of a local time under one answer to "is it summer time"; nothing if the clocks
// never showed it so.
std::optional<int64_t> LocalSeconds(const DateTime& t, int is_dst) {
  std::tm tm{};
  tm.tm_year = t.year - 1900;
  tm.tm_mon = t.month - 1;
  tm.tm_mday = t.day;
  tm.tm_hour = t.hour;
  tm.tm_min = t.minute;
  tm.tm_isdst = is_dst;
  const std::time_t at = std::mktime(&tm);
  // mktime repairs what cannot be (an hour that was skipped, the wrong tm_isdst): then fields
  // differ.
  if (tm.tm_hour != t.hour || tm.tm_min != t.minute || tm.tm_mday != t.day ||
      tm.tm_isdst != is_dst) {
    return std::nullopt;
  }
  return int64_t{at} + t.second;
}

Result<RestoreTarget> ParseDateTime(std::string_view text) {
  std::string_view rest = text;
  DateTime t;
  if (!TakeDateTime(rest, &t)) {
    return Bad(text, "not a time");
  }
  int64_t seconds = 0;
  if (!rest.empty()) {
    const auto zone = ParseZone(rest);
    if (!zone) {
      return Bad(text, std::string("not a zone: ").append(rest));
    }
    seconds = UtcSeconds(t) - *zone;
  } else {
    tzset();
    const auto standard = LocalSeconds(t, 0);
    const auto summer = LocalSeconds(t, 1);
    if (!standard && !summer) {
      return Bad(text, "the clocks skipped this local time; give it with a zone");
    }
    if (standard && summer && *standard != *summer) {
      return Bad(text, "the clocks showed this local time twice; give it with a zone, as " +
                           FormatTimeUtc(*summer * kMicrosPerSecond) + " or " +
                           FormatTimeUtc(*standard * kMicrosPerSecond));
    }
    seconds = standard ? *standard : *summer;
  }
  return RestoreTarget(TargetTime{seconds * kMicrosPerSecond + t.micros});
}

Result<RestoreTarget> ParseAgo(std::string_view text, int64_t now_us) {
  uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  while (unit.starts_with(' ')) {
    unit.remove_prefix(1);
  }
  unit.remove_suffix(std::string_view("ago").size());
  while (unit.ends_with(' ')) {
    unit.remove_suffix(1);
  }
  static constexpr struct {
    std::string_view name;
    int64_t seconds;
  } kUnits[] = {{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}, {"week", 604800}};
  for (const auto& u : kUnits) {
    if (unit == u.name || (unit.starts_with(u.name) && unit.substr(u.name.size()) == "s")) {
      const auto limit = static_cast<uint64_t>(kMaxTimeMicros / kMicrosPerSecond / u.seconds);
      if (error != std::errc() || count > limit) {
        break;
      }
      return RestoreTarget(
          TargetTime{now_us - static_cast<int64_t>(count) * u.seconds * kMicrosPerSecond});
    }
  }
  return Bad(text, "not 'N seconds|minutes|hours|days|weeks ago'");
}

Result<RestoreTarget> ParseTxidTarget(std::string_view text, std::string_view digits) {
  std::string padded(digits.size() < 16 ? 16 - digits.size() : 0, '0');
  padded += digits;
  auto txid = ParseTxid(padded);
  if (digits.empty() || !txid.ok() || txid->value == 0) {
    return Bad(text, "a TXID is 1 to 16 lower-case hex digits, and not 0");
  }
  return RestoreTarget(*txid);
}

bool IsHex16(std::string_view text) {
  return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

}  // namespace

Result<RestoreTarget> ParseRestoreTarget(std::string_view text, int64_t now_us) {
  if (text == "latest") {
    return RestoreTarget(TargetLatest{});
  }
  std::string_view rest = text;
  if (TakePrefix(rest, "txid:")) {
    return ParseTxidTarget(text, rest);
  }
  if (TakePrefix(rest, "mark:")) {
    RETURN_IF_ERROR(keys::ValidateMarkName(rest));
    return RestoreTarget(TargetMark{std::string(rest)});
  }
  if (IsHex16(text)) {
    return ParseTxidTarget(text, text);
  }
  if (text.ends_with("ago") && !text.empty() && IsDigit(text.front())) {
    return ParseAgo(text, now_us);
  }
  return ParseDateTime(text);
}

}  // namespace sqlite_s3

#include "common/store/http_date.h"

#include <cstdio>
#include <ctime>

namespace sqlite_s3 {
namespace {

constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
constexpr std::string_view kDays = "SunMonTueWedThuFriSat";

// -1 unless all of them are digits.
int Number(std::string_view text, size_t from, size_t count) {
  int value = 0;
  for (char c : text.substr(from, count)) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

std::optional<int64_t> ToMicros(int year, int month, int day, int hour, int minute, int second) {
  if (year < 1970 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 ||
      minute > 59 || second < 0 || second > 60) {
    return std::nullopt;
  }
  tm parts{};
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_mday = day;
  parts.tm_hour = hour;
  parts.tm_min = minute;
  parts.tm_sec = second;
  time_t seconds = timegm(&parts);
  if (second < 60 && (parts.tm_mday != day || parts.tm_mon != month - 1)) {
    return std::nullopt;  // February 30th
  }
  return int64_t{seconds} * 1'000'000;
}

}  // namespace

std::optional<int64_t> ParseHttpDate(std::string_view text) {
  if (text.size() != 29 || text.substr(3, 2) != ", " || text[7] != ' ' || text[11] != ' ' ||
      text[16] != ' ' || text[19] != ':' || text[22] != ':' || text.substr(25) != " GMT") {
    return std::nullopt;
  }
  size_t month = kMonths.find(text.substr(8, 3));
  if (month == std::string_view::npos || month % 3 != 0) {
    return std::nullopt;
  }
  return ToMicros(Number(text, 12, 4), static_cast<int>(month / 3) + 1, Number(text, 5, 2),
                  Number(text, 17, 2), Number(text, 20, 2), Number(text, 23, 2));
}

std::string FormatHttpDate(int64_t wall_us) {
  time_t seconds = wall_us / 1'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  int length = std::snprintf(text, sizeof(text), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                             kDays.data() + 3 * parts.tm_wday, parts.tm_mday,
                             kMonths.data() + 3 * parts.tm_mon, parts.tm_year + 1900, parts.tm_hour,
                             parts.tm_min, parts.tm_sec);
  return std::string(text, static_cast<size_t>(length));
}

std::optional<int64_t> ParseIsoDate(std::string_view text) {
  if (text.size() < 20 || text.size() > 40 || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
      text[13] != ':' || text[16] != ':' || text.back() != 'Z') {
    return std::nullopt;
  }
  auto whole = ToMicros(Number(text, 0, 4), Number(text, 5, 2), Number(text, 8, 2),
                        Number(text, 11, 2), Number(text, 14, 2), Number(text, 17, 2));
  if (!whole || text.size() == 20) {
    return whole;
  }
  if (text[19] != '.' || text.size() == 21) {
    return std::nullopt;
  }
  int64_t unit = 100'000;
  for (char c : text.substr(20, text.size() - 21)) {
    if (c < '0' || c > '9') return std::nullopt;
    *whole += (c - '0') * unit;
    unit /= 10;
  }
  return whole;
}

}  // namespace sqlite_s3

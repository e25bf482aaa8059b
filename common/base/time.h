#pragma once
// Times as text: RFC 3339 in UTC with exactly six digits of a second, one spelling per microsecond,
// so that equal times are equal strings and sort as text. Pure functions; thread-safe; no locale.

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace sqlite_s3 {

// 0000-01-01T00:00:00.000000Z and 9999-12-31T23:59:59.999999Z in microseconds since 1970 UTC.
inline constexpr int64_t kMinTimeMicros = -62'167'219'200'000'000;
inline constexpr int64_t kMaxTimeMicros = 253'402'300'799'999'999;

// "2023-11-14T22:13:20.000000Z". Times outside the two limits are printed as the nearer limit.
std::string FormatTimeUtc(int64_t time_us);
// Exactly what FormatTimeUtc prints, else kInvalidArgument. No leap second, no other zone.
Result<int64_t> ParseTimeUtc(std::string_view text);

}  // namespace sqlite_s3

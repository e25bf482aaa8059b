#pragma once
// Times as HTTP and S3 write them. Pure, no locale.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sqlite_s3 {

// "Fri, 24 May 2013 00:00:00 GMT" (RFC 9110, section 5.6.7, IMF-fixdate) to microseconds since 1970
// UTC. Nothing for any other form or a date that is none.
std::optional<int64_t> ParseHttpDate(std::string_view text);
std::string FormatHttpDate(int64_t wall_us);
// "2013-05-24T00:00:00.000Z", with any number of digits of a second or none, as in S3's documents.
std::optional<int64_t> ParseIsoDate(std::string_view text);

}  // namespace sqlite_s3

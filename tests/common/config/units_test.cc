#include "common/config/units.h"

#include <gtest/gtest.h>

#include <limits>

#include "common/config/options.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;

std::string InQuotes(const char* text) { return std::string("'").append(text).append("'"); }

TEST(DurationTest, GoodTexts) {
  const struct {
    const char* text;
    int64_t ms;
  } kCases[] = {
      {"0", 0},
      {"250", 250},
      {"250ms", 250},
      {"0s", 0},
      {"1s", 1000},
      {"90s", 90'000},
      {"5m", 300'000},
      {"2h", 7'200'000},
      {"007s", 7000},
      {"7d", 604'800'000},
      {"9223372036854775807", INT64_MAX},
  };
  for (const auto& c : kCases) {
    auto parsed = ParseDuration(c.text);
    ASSERT_TRUE(parsed.ok()) << c.text << ": " << parsed.status().ToString();
    EXPECT_EQ(parsed->count(), c.ms) << c.text;
  }
}

TEST(DurationTest, BadTextsAreNamed) {
  for (const char* text :
       {"", "s", "-1s", "+1s", "1.5s", "1 s", " 1s", "1s ", "1S", "1sec", "1w", "1s2", "0x10",
        "1e3", "9223372036854775808", "106751991168d", "99999999999999999999999"}) {
    auto parsed = ParseDuration(text);
    ASSERT_EQ(parsed.code(), StatusCode::kInvalidArgument) << text;
    EXPECT_NE(parsed.status().message().find(InQuotes(text)), std::string::npos)
        << parsed.status().message();
  }
}

TEST(DurationTest, FormatUsesTheLargestExactUnit) {
  const struct {
    int64_t ms;
    const char* text;
  } kCases[] = {{0, "0"},           {1, "1ms"},      {1500, "1500ms"},    {1000, "1s"},
                {90'000, "90s"},    {300'000, "5m"}, {86'400'000, "24h"}, {172'800'000, "2d"},
                {90'000'000, "25h"}};
  for (const auto& c : kCases) {
    EXPECT_EQ(FormatDuration(milliseconds(c.ms)), c.text);
    EXPECT_EQ(*ParseDuration(c.text), milliseconds(c.ms));
  }
}

TEST(ByteSizeTest, GoodTexts) {
  const struct {
    const char* text;
    uint64_t bytes;
  } kCases[] = {
      {"0", 0},
      {"1", 1},
      {"17B", 17},
      {"64KiB", 65'536},
      {"4MiB", 4 << 20},
      {"1GiB", 1 << 30},
      {"2TiB", uint64_t{2} << 40},
      {"10MB", 10'000'000},
      {"1kB", 1000},
      {"1KB", 1000},
      {"3GB", 3'000'000'000},
      {"1TB", 1'000'000'000'000},
  };
  for (const auto& c : kCases) {
    auto parsed = ParseByteSize(c.text);
    ASSERT_TRUE(parsed.ok()) << c.text << ": " << parsed.status().ToString();
    EXPECT_EQ(*parsed, c.bytes) << c.text;
  }
}

TEST(ByteSizeTest, BadTextsAreNamed) {
  for (const char* text : {"", "MiB", "-1", "+1", "1.5MiB", "4 MiB", "4M", "4mib", "4MIB", "1PiB",
                           "0x1000", "8388608TiB", "18446744073709551616"}) {
    auto parsed = ParseByteSize(text);
    ASSERT_EQ(parsed.code(), StatusCode::kInvalidArgument) << text;
    EXPECT_NE(parsed.status().message().find(InQuotes(text)), std::string::npos);
  }
}

TEST(ByteSizeTest, FormatAndParseAgree) {
  for (uint64_t bytes :
       {uint64_t{0}, uint64_t{1}, uint64_t{1000}, uint64_t{1024}, uint64_t{1} << 20,
        uint64_t{3} << 29, uint64_t{5} << 40, (uint64_t{1} << 40) + 1}) {
    EXPECT_EQ(*ParseByteSize(FormatByteSize(bytes)), bytes) << FormatByteSize(bytes);
  }
  EXPECT_EQ(FormatByteSize(4 << 20), "4MiB");
  EXPECT_EQ(FormatByteSize(10'000'000), "10000000");
}

}  // namespace
}  // namespace sqlite_s3

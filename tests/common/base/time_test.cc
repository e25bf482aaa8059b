#include "common/base/time.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace sqlite_s3 {
namespace {

struct Case {
  int64_t time_us;
  const char* text;
};
constexpr Case kCases[] = {
    {0, "1970-01-01T00:00:00.000000Z"},
    {1, "1970-01-01T00:00:00.000001Z"},
    {-1, "1969-12-31T23:59:59.999999Z"},
    {1'700'000'000'123'456, "2023-11-14T22:13:20.123456Z"},
    {951'782'400'000'000, "2000-02-29T00:00:00.000000Z"},
    {4'107'542'399'999'999, "2100-02-28T23:59:59.999999Z"},
    {4'107'542'400'000'000, "2100-03-01T00:00:00.000000Z"},
    {kMinTimeMicros, "0000-01-01T00:00:00.000000Z"},
    {kMaxTimeMicros, "9999-12-31T23:59:59.999999Z"},
};

TEST(TimeTest, FormatsAndParsesTheSameSpelling) {
  for (const Case& c : kCases) {
    EXPECT_EQ(FormatTimeUtc(c.time_us), c.text);
    auto parsed = ParseTimeUtc(c.text);
    ASSERT_TRUE(parsed.ok()) << c.text;
    EXPECT_EQ(*parsed, c.time_us) << c.text;
  }
}

TEST(TimeTest, EveryMicrosecondRoundTrips) {
  std::mt19937_64 random(1);
  std::uniform_int_distribution<int64_t> any(kMinTimeMicros, kMaxTimeMicros);
  for (int i = 0; i < 20'000; ++i) {
    int64_t time_us = any(random);
    auto parsed = ParseTimeUtc(FormatTimeUtc(time_us));
    ASSERT_TRUE(parsed.ok());
    ASSERT_EQ(*parsed, time_us);
  }
}

TEST(TimeTest, PrintsTheNearerLimitForTimesOutsideTheCalendar) {
  EXPECT_EQ(FormatTimeUtc(std::numeric_limits<int64_t>::max()), FormatTimeUtc(kMaxTimeMicros));
  EXPECT_EQ(FormatTimeUtc(std::numeric_limits<int64_t>::min()), FormatTimeUtc(kMinTimeMicros));
}

TEST(TimeTest, TakesNoOtherSpelling) {
  for (const char* text : {"",
                           "now",
                           "2023-11-14",
                           "2023-11-14T22:13:20Z",
                           "2023-11-14T22:13:20.123Z",
                           "2023-11-14T22:13:20.1234567Z",
                           "2023-11-14 22:13:20.123456Z",
                           "2023-11-14t22:13:20.123456z",
                           "2023-11-14T22:13:20.123456",
                           "2023-11-14T22:13:20.123456+00:00",
                           "2023-11-14T22:13:20.123456Z ",
                           " 2023-11-14T22:13:20.12345Z",
                           "2023-13-14T22:13:20.123456Z",
                           "2023-00-14T22:13:20.123456Z",
                           "2023-11-31T22:13:20.123456Z",
                           "2023-11-00T22:13:20.123456Z",
                           "2023-02-29T22:13:20.123456Z",
                           "2100-02-29T00:00:00.000000Z",
                           "2023-11-14T24:00:00.000000Z",
                           "2023-11-14T22:60:20.123456Z",
                           "2016-12-31T23:59:60.000000Z",
                           "-023-11-14T22:13:20.123456Z",
                           "2023-11-14T22:13:20.12345xZ",
                           "2023-11-14T+2:13:20.123456Z"}) {
    EXPECT_EQ(ParseTimeUtc(text).code(), StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace sqlite_s3

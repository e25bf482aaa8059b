#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "common/base/time.h"
#include "common/replica/restore_plan.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

constexpr int64_t kNow = 1'763'690'531'000'000;  // 2025-11-21T02:02:11Z

class RestoreTargetTest : public ::testing::Test {
 protected:
  RestoreTargetTest() { UseZone("UTC"); }
  ~RestoreTargetTest() override { UseZone("UTC"); }
  static void UseZone(const char* zone) {
    setenv("TZ", zone, 1);
    tzset();
  }
  // What was understood, as text.
  static std::string Understood(const std::string& text) {
    auto target = ParseRestoreTarget(text, kNow);
    if (!target.ok()) {
      EXPECT_STATUS(target, StatusCode::kInvalidArgument) << text;
      return "error";
    }
    if (std::holds_alternative<TargetLatest>(*target)) {
      return "latest";
    }
    if (const auto* txid = std::get_if<Txid>(&*target)) {
      return "txid " + std::to_string(txid->value);
    }
    if (const auto* mark = std::get_if<TargetMark>(&*target)) {
      return "mark " + mark->name;
    }
    return FormatTimeUtc(std::get<TargetTime>(*target).time_us);
  }
};

TEST_F(RestoreTargetTest, UnderstandsEverySpelling) {
  const struct {
    const char* text;
    const char* understood;
  } kCases[] = {
      {"latest", "latest"},
      {"txid:1f", "txid 31"},
      {"txid:000000000000001f", "txid 31"},
      {"000000000000001f", "txid 31"},
      {"mark:before-upgrade", "mark before-upgrade"},
      {"2026-11-20T14:02:11Z", "2026-11-20T14:02:11.000000Z"},
      {"2026-11-20t14:02:11z", "2026-11-20T14:02:11.000000Z"},
      {"2026-11-20T14:02:11.5+02:00", "2026-11-20T12:02:11.500000Z"},
      {"2026-11-20 14:02:11.123456-05:30", "2026-11-20T19:32:11.123456Z"},
      {"2026-11-20 14:02:11.123456789Z", "2026-11-20T14:02:11.123456Z"},
      {"2026-12-31T23:59:60Z", "2027-01-01T00:00:00.000000Z"},
      {"1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000000Z"},
      {"2026-11-20 14:02:11", "2026-11-20T14:02:11.000000Z"},
      {"2026-11-20T14:02:11", "2026-11-20T14:02:11.000000Z"},
      {"2026-11-20 14:02", "2026-11-20T14:02:00.000000Z"},
      {"2024-02-29 00:00:00", "2024-02-29T00:00:00.000000Z"},
      {"10 minutes ago", "2025-11-21T01:52:11.000000Z"},
      {"1 second ago", "2025-11-21T02:02:10.000000Z"},
      {"2 hours ago", "2025-11-21T00:02:11.000000Z"},
      {"1 day ago", "2025-11-20T02:02:11.000000Z"},
      {"2 weeks ago", "2025-11-07T02:02:11.000000Z"},
      {"0 seconds ago", "2025-11-21T02:02:11.000000Z"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Understood(c.text), c.understood) << c.text;
  }
}

TEST_F(RestoreTargetTest, RefusesEverythingElse) {
  for (const char* text : {"",
                           " ",
                           "now",
                           "Latest",
                           "yesterday",
                           "txid:",
                           "txid:0",
                           "txid:xyz",
                           "txid:1F",
                           "txid:11112222333344445",
                           "0000000000000000",
                           "1f",
                           "mark:",
                           "mark:../x",
                           "mark:a b",
                           "2026-11-20",
                           "2026-13-20 14:02:11",
                           "2026-02-30 14:02:11",
                           "2026-11-20 24:00:00",
                           "2026-11-20 14:60:00",
                           "2026-11-20 14:02:61",
                           "2026-11-20 14:02:11.",
                           "2026-11-20 14:02:1",
                           "2026-11-20 14:02:11 ",
                           "2026-11-20 14:02:11.1234567890Z",
                           "2026-11-20T14:02:11+2:00",
                           "2026-11-20T14:02:11+24:00",
                           "2026-11-20T14:02:11Zulu",
                           "20261120T140211Z",
                           "ago",
                           "5 ago",
                           "minutes ago",
                           "-5 minutes ago",
                           "5 parsecs ago",
                           "1.5 hours ago",
                           "99999999999999999999 days ago",
                           "9223372036854775807 weeks ago",
                           "5 minutes"}) {
    EXPECT_EQ(Understood(text), "error") << text;
  }
}

TEST_F(RestoreTargetTest, TimesWithoutAZoneAreLocal) {
  UseZone("Europe/Berlin");
  EXPECT_EQ(Understood("2026-01-15 12:00:00"), "2026-01-15T11:00:00.000000Z");
  EXPECT_EQ(Understood("2026-07-15 12:00:00"), "2026-07-15T10:00:00.000000Z");
  EXPECT_EQ(Understood("2026-07-15 12:00:00Z"), "2026-07-15T12:00:00.000000Z");
}

TEST_F(RestoreTargetTest, LocalTimesThatAreNoneOrTwoAreRefused) {
  // Rules spelled out, so that no zone file is needed: clocks go from 02:00 to 03:00 on the last
  // Sunday of March, and from 03:00 back to 02:00 on that of October.
  UseZone("CET-1CEST,M3.5.0,M10.5.0/3");
  EXPECT_EQ(Understood("2026-03-29 01:59:59"), "2026-03-29T00:59:59.000000Z");
  EXPECT_EQ(Understood("2026-03-29 02:30:00"), "error");
  EXPECT_EQ(Understood("2026-03-29 03:00:00"), "2026-03-29T01:00:00.000000Z");
  EXPECT_EQ(Understood("2026-10-25 01:59:59"), "2026-10-24T23:59:59.000000Z");
  EXPECT_EQ(Understood("2026-10-25 02:30:00"), "error");
  EXPECT_EQ(Understood("2026-10-25 02:30:00+02:00"), "2026-10-25T00:30:00.000000Z");
  EXPECT_EQ(Understood("2026-10-25 03:00:00"), "2026-10-25T02:00:00.000000Z");
}

}  // namespace
}  // namespace sqlite_s3

#include "agent/daemon/health.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "agent/daemon/cost.h"
#include "agent/daemon/position_alarm.h"
#include "agent/daemon/process_setup.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;

// One database as the alarm sees it.
class PositionAlarmTest : public testing::Test {
 protected:
  bool After(int64_t ms) {
    now_us_ += ms * 1000;
    return alarm_.Update(in_, now_us_);
  }

  PositionAlarm alarm_{milliseconds(1000)};
  PositionAlarm::Inputs in_{.behind = true, .shipped_txid = {5}, .progress = 0, .engine = this};
  int64_t now_us_ = 1;
};

TEST_F(PositionAlarmTest, IsOnOnlyWhenThePositionStoodStillForAllThatTime) {
  EXPECT_FALSE(After(5000));  // the first look
  EXPECT_FALSE(After(999));
  EXPECT_TRUE(After(1));
  in_.shipped_txid = {6};
  EXPECT_FALSE(After(1));
  EXPECT_FALSE(After(999));
  EXPECT_TRUE(After(1));
}

TEST_F(PositionAlarmTest, IsOffWhenThereIsNothingToShipAndCountsAnewAfterwards) {
  After(0);
  EXPECT_TRUE(After(1000));
  in_.behind = false;
  EXPECT_FALSE(After(1));
  in_.behind = true;
  EXPECT_FALSE(After(5000));
  EXPECT_TRUE(After(1000));
}

TEST_F(PositionAlarmTest, WorkThatShowsKeepsItOff) {
  After(0);
  for (int i = 1; i < 10; ++i) {
    in_.progress += 1;
    EXPECT_FALSE(After(900));
  }
  EXPECT_TRUE(After(1000));
}

TEST_F(PositionAlarmTest, EnginesThatStartAgainAndAgainAreNoProgress) {
  After(0);
  int engines[4];
  for (int& engine : engines) {
    in_.engine = nullptr;  // it ended
    in_.shipped_txid = {};
    in_.progress = 0;
    After(150);
    in_.engine = &engine;
    in_.shipped_txid = {5};
    in_.progress = 7;
    After(150);
  }
  EXPECT_TRUE(After(0));
}

TEST(HealthTest, AFullDiskHereIsNotCountedAsAStoreThatIsAway) {
  std::vector<DatabaseStatus> all(2);
  all[0].has_engine = all[1].has_engine = true;
  all[0].engine.state = all[1].engine.state = EngineState::kStoreAway;
  all[0].engine.away_of = "store";
  all[1].engine.away_of = "machine";
  EXPECT_EQ(FormatHealth(HealthOf(all)),
            "0 of 2 databases shipping, 1 store away, 1 held up by this machine");
}

TEST(HealthTest, CountsStatesAndNamesTheAlarm) {
  std::vector<DatabaseStatus> all(4);
  all[0].has_engine = all[1].has_engine = all[2].has_engine = true;
  all[0].engine.state = EngineState::kShipping;
  all[1].engine.state = EngineState::kStandby;
  all[2].engine.state = EngineState::kStoreAway;
  all[2].engine.lag_commits = 12;
  all[2].engine.lag_ms = 64'000;
  all[2].engine.database = "/x.db";
  EXPECT_TRUE(HealthOf(all).ok());
  all[2].alarm = true;
  const Health health = HealthOf(all);
  EXPECT_FALSE(health.ok());
  EXPECT_EQ(FormatHealth(health),
            "2 of 4 databases shipping, 1 store away, 1 waiting; 12 commits behind, 64 s; "
            "ALARM: /x.db");
}

TEST(HealthTest, FencedNeedsSomebodyThoughItIsNoAlarmYet) {
  std::vector<DatabaseStatus> one(1);
  one[0].has_engine = true;
  one[0].engine.state = EngineState::kFenced;
  EXPECT_FALSE(HealthOf(one).ok());
}

TEST(CostTest, IsTheMonthThatAnHourAnnounces) {
  StoreTraffic traffic;
  traffic.requests[static_cast<size_t>(StoreOperation::kPut)] = 3600;
  traffic.requests[static_cast<size_t>(StoreOperation::kGet)] = 1000;
  traffic.bytes_sent = 1'000'000'000;
  const int64_t hour_us = int64_t{3600} * 1'000'000;
  // 720 hours: 2,592,000 PUTs, 720,000 GETs, 720 GB.
  EXPECT_NEAR(EstimateMonthlyCost(traffic, hour_us, Prices()), 12.96 + 0.288 + 16.56, 1e-9);
}

TEST(CostTest, TheFirstMomentsAreNotMultipliedWithoutEnd) {
  StoreTraffic traffic;
  traffic.bytes_sent = 1'000'000;
  EXPECT_LT(EstimateMonthlyCost(traffic, 0, Prices()), 1.0);
}

TEST(DescriptorLimitTest, RefusesTheDatabaseThatWouldNotFitAndNamesTheWayOut) {
  const uint64_t ten_thousand =
      10'000 * kDescriptorsPerDatabase + kOtherDescriptors + kMostForStarts;
  EXPECT_TRUE(CheckDescriptorLimit(10'000, ten_thousand).ok());
  const Status refused = CheckDescriptorLimit(10'001, ten_thousand);
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("hint: LimitNOFILE=" +
                                   std::to_string(ten_thousand + kDescriptorsPerDatabase)),
            std::string::npos);
  EXPECT_TRUE(CheckDescriptorLimit(1, 10).ok());  // one alone is tried in any case
  EXPECT_LE(ten_thousand, 65'536U);               // what the unit allows
}

TEST(DescriptorLimitTest, TheSoftLimitIsRaisedToTheHardOne) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{64, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(DescriptorLimit(), 64U);
  RaiseDescriptorLimit();
  EXPECT_EQ(DescriptorLimit(), before.rlim_max);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace sqlite_s3

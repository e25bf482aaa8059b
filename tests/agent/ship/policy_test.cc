// The decisions: tables of what is given and what must be done.
#include "agent/ship/policy.h"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class CutTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options.interval = std::chrono::milliseconds(1000);
    options.segment_bytes = 4 * kMiB;
    options.spool_bytes = 64 * kMiB;
    in.commits = 1;
    in.bytes = 100;
    in.uploader_idle = true;
  }
  CutDecision Decide() const { return DecideCut(in, options); }

  ShipOptions options;
  CutInputs in;
};

TEST_F(CutTest, NothingIsNeverCut) {
  in.commits = 0;
  in.age_us = 10'000'000;
  in.waiter = true;
  EXPECT_EQ(Decide(), CutDecision::kNo);
}

TEST_F(CutTest, AnIdleUploaderGetsWhatIsOfAge) {
  in.age_us = 999'999;
  EXPECT_EQ(Decide(), CutDecision::kNo);
  EXPECT_EQ(MicrosUntilCut(in, options), 1);
  in.age_us = 1'000'000;
  EXPECT_EQ(Decide(), CutDecision::kCut);
  in.paced_us = 5;  // the request budget asks for a longer interval
  EXPECT_EQ(Decide(), CutDecision::kNo);
  EXPECT_EQ(MicrosUntilCut(in, options), 5);
}

TEST_F(CutTest, AWaiterIsServedAtOnceUnlessAnUploadIsOnItsWay) {
  in.waiter = true;
  EXPECT_EQ(Decide(), CutDecision::kCut);
  in.uploader_idle = false;
  EXPECT_EQ(Decide(), CutDecision::kNo);
  in.bytes = options.segment_bytes;  // only size does not wait
  EXPECT_EQ(Decide(), CutDecision::kCut);
}

TEST_F(CutTest, ASpoolTakesNoMoreThanItsBoundUnlessItIsEmpty) {
  in.waiter = true;
  in.spool_bytes = options.spool_bytes - in.bytes;
  EXPECT_EQ(Decide(), CutDecision::kCut);
  ++in.spool_bytes;
  EXPECT_EQ(Decide(), CutDecision::kFull);
  in.spool_bytes = 0;
  in.bytes = options.spool_bytes + 1;
  EXPECT_EQ(Decide(), CutDecision::kCut);
}

class ImageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options.image_log_percent = 50;
    options.image_interval = std::chrono::hours(24);
    in.has_image = true;
    in.changed = true;
    in.image_bytes = 100 * kMiB;
  }
  bool Decide() const { return DecideImage(in, options); }

  ShipOptions options;
  ImageInputs in;
};

TEST_F(ImageTest, TheFirstIsMadeAtOnceAndAlsoBeyondTheBudget) {
  in.has_image = in.changed = false;
  in.over_budget = true;
  EXPECT_TRUE(Decide());
  in.running = true;
  EXPECT_FALSE(Decide());
}

TEST_F(ImageTest, TheNextIsMadeWhenTheLogIsThatShareOfTheLast) {
  in.log_bytes = 49 * kMiB;
  EXPECT_FALSE(Decide());
  in.log_bytes = 51 * kMiB;
  EXPECT_TRUE(Decide());
  in.over_budget = true;
  EXPECT_FALSE(Decide());
  in.over_budget = false;
  options.image_log_percent = 0;
  EXPECT_FALSE(Decide());
}

TEST_F(ImageTest, ASmallDatabaseIsNotImagedForAFewCommits) {
  in.image_bytes = 100;
  in.log_bytes = 8 * kMiB;
  EXPECT_FALSE(Decide());
  ++in.log_bytes;
  EXPECT_TRUE(Decide());
}

TEST_F(ImageTest, TheNextIsMadeOfAnOldOneWhenSomethingChanged) {
  in.age_us = int64_t{24} * 3600 * 1'000'000;
  EXPECT_TRUE(Decide());
  in.changed = false;
  EXPECT_FALSE(Decide());
  in.changed = true;
  options.image_interval = std::chrono::milliseconds(0);
  EXPECT_FALSE(Decide());
}

class StartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    in.head_checksum = 1;
    in.head_page_count = 10;
    in.live_checksum = 2;
    in.live_page_count = 10;
  }
  StartAction Decide() const { return DecideStart(in); }

  StartInputs in;
};

TEST_F(StartTest, OnlyANewReplicaOrAnEmptyOneOfOursGetsAnOrigin) {
  EXPECT_EQ(Decide(), StartAction::kRefuse);
  in.replica_empty = true;
  EXPECT_EQ(Decide(), StartAction::kRefuse) << "somebody else's";
  in.ours = true;
  EXPECT_EQ(Decide(), StartAction::kOrigin);
  in = {};
  in.replica_is_new = true;
  EXPECT_EQ(Decide(), StartAction::kOrigin);
}

TEST_F(StartTest, WhoeverIsAtTheHeadGoesOn) {
  in.live_checksum = in.head_checksum;
  EXPECT_EQ(Decide(), StartAction::kContinue);
  in.live_page_count = 11;
  EXPECT_EQ(Decide(), StartAction::kRefuse);
}

TEST_F(StartTest, OursGoesOnWithItsTailOrWhatDiffers) {
  in.ours = true;
  EXPECT_EQ(Decide(), StartAction::kResync);
  in.tail_verified = true;
  EXPECT_EQ(Decide(), StartAction::kShipTail);
}

TEST_F(StartTest, OursThatWasRestoredBeginsALineOfItsOwn) {
  in.ours = true;
  in.older = Txid{5};
  EXPECT_EQ(Decide(), StartAction::kNewTimeline);
  in.on_conflict = OnConflict::kTakeOver;
  EXPECT_EQ(Decide(), StartAction::kNewTimeline);
  in.on_conflict = OnConflict::kFork;
  EXPECT_EQ(Decide(), StartAction::kFork);
}

TEST_F(StartTest, SomebodyElsesIsRefusedUnlessToldOtherwise) {
  in.on_conflict = OnConflict::kTakeOver;
  EXPECT_EQ(Decide(), StartAction::kResync);
  in.on_conflict = OnConflict::kFork;
  EXPECT_EQ(Decide(), StartAction::kFork);
  in.on_conflict = OnConflict::kRefuse;
  EXPECT_EQ(Decide(), StartAction::kRefuse);
  in.passed_head = true;  // the same database, moved
  EXPECT_EQ(Decide(), StartAction::kResync);
}

TEST(RetryTest, PausesGrowAndLessForAStoreThanForThisMachine) {
  using std::chrono::seconds;
  const auto pauses = [](bool local) {
    std::vector<std::chrono::milliseconds> all;
    for (int i = 0; i < 6; ++i) {
      all.push_back(
          NextRetryPause(i == 0 ? seconds(0) : all.back(), std::chrono::milliseconds(2000), local));
    }
    return all;
  };
  EXPECT_EQ(pauses(false),
            (std::vector<std::chrono::milliseconds>{seconds(2), seconds(4), seconds(8), seconds(8),
                                                    seconds(8), seconds(8)}));
  EXPECT_EQ(pauses(true),
            (std::vector<std::chrono::milliseconds>{seconds(2), seconds(4), seconds(8), seconds(16),
                                                    seconds(32), seconds(32)}));
}

}  // namespace
}  // namespace sqlite_s3

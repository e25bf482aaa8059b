#include "common/replica/restore_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/format/image_part.h"
#include "common/format/keys.h"
#include "common/store/memory_store.h"
#include "tests/support/fault_store.h"
#include "tests/support/history.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kStart = 1'760'000'000 * kSecond;

class RestorePlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(replica_.Open());
    history_.Origin(20);  // TXID 1 at kStart, then one a second
  }

  Result<RestorePlan> Plan(const RestoreTarget& target, PlanOptions options = {}) {
    damage_ = {};
    return PlanRestore(replica_, target, options, &damage_);
  }
  // A commit at `second` seconds after the start, in a segment of its own.
  Txid At(int64_t second) {
    History::Commit how;
    how.time_us = kStart + second * kSecond;
    const Txid txid = history_.CommitRandom(how);
    history_.Cut();
    return txid;
  }
  // The TXID that a time selects; 0: none.
  uint64_t ChosenAt(int64_t second) {
    auto plan = Plan(TargetTime{kStart + second * kSecond});
    EXPECT_TRUE(plan.ok() || plan.code() == StatusCode::kNotFound) << plan.status().ToString();
    return plan.ok() ? plan->txid.value : 0;
  }
  void ExpectState(const RestorePlan& plan, Txid txid) {
    EXPECT_EQ(plan.txid, txid);
    EXPECT_EQ(plan.page_count, history_.PageCountAt(txid));
    EXPECT_EQ(plan.db_checksum, history_.ChecksumAt(txid));
  }

  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>("plan");
  FaultStore counted_{store_};
  History history_{*store_};
  Replica replica_{counted_};
  Damage damage_;
};

TEST_F(RestorePlanTest, StartsFromTheNewestImageAtOrBeforeTheTarget) {
  history_.Grow(30, 4);  // 2..31
  history_.MakeImage(Txid{10});
  history_.MakeImage(Txid{20});
  for (uint64_t t = 1; t <= 31; ++t) {
    ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(Txid{t}));
    ExpectState(plan, Txid{t});
    EXPECT_EQ(plan.image.txid.value, t >= 20 ? 20 : t >= 10 ? 10 : 1) << t;
    EXPECT_EQ(plan.commit_count, t - plan.image.txid.value);
    EXPECT_EQ(plan.commit_time_us, history_.TimeAt(Txid{t}));
    if (t < 31) {
      EXPECT_EQ(plan.next_txid, Txid{t + 1});
      EXPECT_EQ(plan.next_time_us, history_.TimeAt(Txid{t + 1}));
    } else {
      EXPECT_EQ(plan.next_txid, std::nullopt);
    }
    uint32_t largest = 0;
    for (uint64_t i = plan.image.txid.value; i <= t; ++i) {
      largest = std::max(largest, history_.PageCountAt(Txid{i}));
    }
    EXPECT_EQ(plan.max_page_count, largest);
  }
}

TEST_F(RestorePlanTest, LatestIsTheHead) {
  history_.Grow(7);
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetLatest{}));
  ExpectState(plan, Txid{8});
  EXPECT_EQ(plan.next_txid, std::nullopt);
}

TEST_F(RestorePlanTest, CountsWhatIsToBeFetched) {
  history_.Grow(5, 1);
  History::Commit how;
  how.in_parts = true;
  history_.AddCommit({{1, Bytes(512, 7)}}, 40, how);
  history_.Cut();
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetLatest{}));
  uint64_t bytes = 0;
  for (const ImagePartInfo& part : plan.image.parts) {
    bytes += part.size_bytes;
  }
  for (const std::string& key : history_.segment_keys()) {
    if (key != history_.segment_keys().front()) {
      bytes += store_->Head(key)->size_bytes;
    }
  }
  bytes += (*store_->List(keys::PartPrefix(TimelineId{1}), "", 10))[0].size_bytes;
  EXPECT_EQ(plan.fetch_bytes, bytes);
  EXPECT_EQ(plan.fetch_objects, plan.image.parts.size() + 6 + 1);
}

TEST_F(RestorePlanTest, ATimePicksTheLastCommitAtOrBeforeIt) {
  At(10);  // 2
  At(10);  // 3
  At(20);  // 4
  EXPECT_EQ(ChosenAt(-1), 0u);
  EXPECT_EQ(ChosenAt(0), 1u);
  EXPECT_EQ(ChosenAt(9), 1u);
  EXPECT_EQ(ChosenAt(10), 3u);
  EXPECT_EQ(ChosenAt(19), 3u);
  EXPECT_EQ(ChosenAt(20), 4u);
  EXPECT_EQ(ChosenAt(1000), 4u);
  ASSERT_OK_AND_ASSIGN(const RestorePlan just_before, Plan(TargetTime{kStart + 20 * kSecond - 1}));
  EXPECT_EQ(just_before.txid, Txid{3});
}

TEST_F(RestorePlanTest, AClockThatWentBackDoesNotHideWhatCameBefore) {
  At(100);  // 2
  At(50);   // 3: the clock was set back
  At(60);   // 4
  At(110);  // 5
  EXPECT_EQ(ChosenAt(50), 1u) << "TXID 3 follows 2, which was made at 100";
  EXPECT_EQ(ChosenAt(99), 1u);
  EXPECT_EQ(ChosenAt(100), 4u);
  EXPECT_EQ(ChosenAt(110), 5u);
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(Txid{3}));
  EXPECT_EQ(plan.commit_time_us, kStart + 100 * kSecond);
}

TEST_F(RestorePlanTest, AnImageMadeWhileTheClockWasBackIsNotChosenForEarlierTimes) {
  At(100);  // 2
  history_.MakeImage(Txid{2});
  const Txid back = At(50);
  history_.MakeImage(back);  // 3, says 50
  At(120);                   // 4
  EXPECT_EQ(ChosenAt(60), 1u);
  EXPECT_EQ(ChosenAt(100), 3u);
}

TEST_F(RestorePlanTest, AClockThatJumpedAheadAndBackCountsFromTheNextImageOn) {
  At(10);
  At(1'000'000);  // 3
  At(20);         // 4
  EXPECT_EQ(ChosenAt(30), 2u);
  history_.MakeImage(Txid{4});
  At(30);  // 5
  EXPECT_EQ(ChosenAt(15), 2u);
  EXPECT_EQ(ChosenAt(30), 5u);
}

TEST_F(RestorePlanTest, BeforeTheFirstRestorePointIsNotFoundAndNamesIt) {
  auto plan = Plan(TargetTime{kStart - 1});
  EXPECT_STATUS(plan, StatusCode::kNotFound);
  EXPECT_THAT(plan.status().message(), HasSubstr("0000000000000001"));
  EXPECT_THAT(plan.status().message(), HasSubstr("2025-10-09T08:53:20.000000Z"));
}

TEST_F(RestorePlanTest, ATxidBeyondTheHeadIsNotFoundAndNamesTheHead) {
  history_.Grow(3);
  auto plan = Plan(Txid{9});
  EXPECT_STATUS(plan, StatusCode::kNotFound);
  EXPECT_THAT(plan.status().message(), HasSubstr("ends at 0000000000000004"));
  EXPECT_EQ(damage_.key, "");
}

TEST_F(RestorePlanTest, WithoutAnImageNothingCanBeRestored) {
  ASSERT_OK(store_->Delete(keys::ImageManifest(TimelineId{1}, Txid{1})));
  auto plan = Plan(TargetLatest{});
  EXPECT_STATUS(plan, StatusCode::kNotFound);
  EXPECT_THAT(plan.status().message(), HasSubstr("no complete image"));
}

TEST_F(RestorePlanTest, AMarkIsItsTxidOnItsLine) {
  history_.Grow(9, 2);
  history_.MakeMark("m", Txid{5});
  history_.Branch(Txid{3}, true);
  history_.Grow(2);
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetMark{"m"}));
  EXPECT_EQ(plan.txid, Txid{5});
  EXPECT_EQ(plan.timeline, TimelineId{1}) << "the mark names a commit that the new line left";
  EXPECT_STATUS(Plan(TargetMark{"m"}, {TimelineId{2}, {}}), StatusCode::kFailedPrecondition);
  EXPECT_STATUS(Plan(TargetMark{"other"}), StatusCode::kNotFound);
}

TEST_F(RestorePlanTest, FollowsTheHistoryOverItsLines) {
  history_.Grow(10, 3);
  history_.Branch(Txid{6}, true);
  history_.Grow(10, 3);
  history_.Branch(Txid{12}, true);
  history_.Grow(4, 3);
  for (uint64_t t = 1; t <= 16; ++t) {
    ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(Txid{t}));
    ExpectState(plan, Txid{t});
    EXPECT_EQ(plan.timeline, TimelineId{3});
  }
}

TEST_F(RestorePlanTest, AnImageOfTheAbandonedPartOfALineIsNotUsed) {
  history_.Grow(10, 1);
  history_.MakeImage(Txid{9});
  history_.Branch(Txid{6}, true);
  history_.Grow(10, 3);
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(Txid{12}));
  EXPECT_EQ(plan.image.txid, Txid{1});
  ExpectState(plan, Txid{12});
}

TEST_F(RestorePlanTest, SeveralLivingLinesMustBeChosenFrom) {
  history_.Grow(5);
  history_.Branch(Txid{4}, false);
  history_.Grow(5);
  EXPECT_STATUS(Plan(TargetLatest{}), StatusCode::kFailedPrecondition);
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetLatest{}, {TimelineId{2}, {}}));
  ExpectState(plan, Txid{9});
  ASSERT_OK_AND_ASSIGN(plan, Plan(TargetLatest{}, {TimelineId{1}, {}}));
  EXPECT_EQ(plan.txid, Txid{6});
}

TEST_F(RestorePlanTest, AGapIsNamedWithTheBestPointBefore) {
  for (int i = 1; i <= 6; ++i) {
    At(i);  // 2..7
  }
  const std::string lost = keys::LogSegment(TimelineId{1}, Txid{5});
  ASSERT_OK(store_->Delete(lost));
  auto plan = Plan(TargetLatest{});
  EXPECT_STATUS(plan, StatusCode::kNotFound);
  EXPECT_THAT(plan.status().message(), HasSubstr(lost));
  EXPECT_THAT(plan.status().message(), HasSubstr("--until txid:0000000000000004"));
  EXPECT_EQ(damage_.key, lost);
  EXPECT_TRUE(damage_.missing);
  EXPECT_EQ(damage_.best, Txid{4});
  EXPECT_OK(Plan(Txid{4})) << "what is before the gap stays restorable";
  EXPECT_EQ(ChosenAt(2), 3u);
}

TEST_F(RestorePlanTest, AnImageAfterAGapBridgesIt) {
  for (int i = 1; i <= 6; ++i) {
    At(i);
  }
  history_.MakeImage(Txid{6});
  ASSERT_OK(store_->Delete(keys::LogSegment(TimelineId{1}, Txid{5})));
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetLatest{}));
  ExpectState(plan, Txid{7});
}

TEST_F(RestorePlanTest, DamageAfterTheTargetDoesNotMatter) {
  history_.Grow(6, 1);
  ASSERT_OK(store_->Put(keys::LogSegment(TimelineId{1}, Txid{5}), Bytes{1}));
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(Txid{4}));
  ExpectState(plan, Txid{4});
  EXPECT_EQ(plan.next_txid, std::nullopt) << "it cannot be read";
}

TEST_F(RestorePlanTest, TheSegmentBeforeTheImageMayBeExpired) {
  history_.Grow(6, 1);
  history_.MakeImage(Txid{5});
  for (uint64_t t = 1; t <= 5; ++t) {
    ASSERT_OK(store_->Delete(keys::LogSegment(TimelineId{1}, Txid{t})));
  }
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetLatest{}));
  ExpectState(plan, Txid{7});
}

TEST_F(RestorePlanTest, AnImageThatIsNotTheStateOfTheLogIsCorruption) {
  history_.Grow(6, 3);
  ImageManifest image = history_.MakeImage(Txid{4});
  image.db_checksum ^= 1;
  const std::string key = keys::ImageManifest(TimelineId{1}, Txid{4});
  ASSERT_OK(store_->Put(key, AsBytes(FormatImageManifest(image))));
  EXPECT_STATUS(Plan(TargetLatest{}), StatusCode::kCorruption);
  EXPECT_EQ(damage_.key, key);
  EXPECT_EQ(damage_.image, Txid{4});
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetLatest{}, {{}, Txid{4}}));
  EXPECT_EQ(plan.image.txid, Txid{1});
  ExpectState(plan, Txid{7});
}

TEST_F(RestorePlanTest, ADamagedManifestIsPassedOverAndNamed) {
  history_.Grow(6, 3);
  history_.MakeImage(Txid{4});
  const std::string key = keys::ImageManifest(TimelineId{1}, Txid{4});
  ASSERT_OK(store_->Put(key, Bytes{'{'}));
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetLatest{}));
  EXPECT_EQ(plan.image.txid, Txid{1});
  EXPECT_THAT(plan.problems, ElementsAre(HasSubstr(key)));
  ExpectState(plan, Txid{7});
}

TEST_F(RestorePlanTest, SegmentsArePassedOnWithoutASecondFetch) {
  history_.Grow(30, 3);
  replica_.set_keep_bytes(1 << 20);
  replica_.set_parallelism(3);
  ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(TargetLatest{}));
  counted_.ResetCounts();
  for (const SegmentSummary& s : plan.segments) {
    EXPECT_OK(replica_.ReadSegment(s));
    EXPECT_THAT(s.commits, IsEmpty());
  }
  EXPECT_EQ(counted_.TotalCount(), 0);
}

TEST_F(RestorePlanTest, RestorePointTimesAreThoseThatPlansSee) {
  for (int64_t second : {10, 50, 20, 30, 900'000, 40, 45, 44, 60, 55}) {
    At(second);
    if (second == 20 || second == 40 || second == 44) {
      history_.MakeImage(history_.txid());
    }
  }
  ASSERT_OK_AND_ASSIGN(auto timelines, replica_.ListTimelines());
  ASSERT_OK_AND_ASSIGN(auto ancestry, Replica::Ancestry(timelines, TimelineId{1}));
  ASSERT_OK_AND_ASSIGN(auto images, ImagesOfHistory(replica_, ancestry));
  for (uint64_t from : {1u, 5u, 8u}) {
    ASSERT_OK_AND_ASSIGN(auto chain,
                         replica_.ReadChain(timelines, TimelineId{1}, Txid{from}, std::nullopt));
    const std::vector<int64_t> times = RestorePointTimes(chain, images);
    for (size_t i = 0; i < times.size(); ++i) {
      ASSERT_OK_AND_ASSIGN(RestorePlan plan, Plan(Txid{from + i}));
      // From the middle of the chain, the image before must be known by its time alone.
      if (from == 1 || plan.image.txid.value >= from) {
        EXPECT_EQ(times[i], plan.commit_time_us) << from + i;
      }
    }
  }
}

TEST(MonotoneTimesTest, NeverGoBack) {
  std::vector<SegmentSummary> segments(2);
  for (int64_t t : {5, 3, 7}) {
    segments[0].commits.emplace_back().time_us = t;
  }
  for (int64_t t : {6, 9}) {
    segments[1].commits.emplace_back().time_us = t;
  }
  EXPECT_THAT(MonotoneTimes(segments), ElementsAre(5, 5, 7, 7, 9));
  EXPECT_THAT(MonotoneTimes(segments, 6), ElementsAre(6, 6, 7, 7, 9));
}

}  // namespace
}  // namespace sqlite_s3

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/format/keys.h"
#include "common/replica/replica.h"
#include "common/store/memory_store.h"
#include "tests/support/fault_store.h"
#include "tests/support/history.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

class HeadTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(replica_.Open()); }

  Result<Head> Find(uint64_t after = 0, TimelineId timeline = {}) {
    auto timelines = replica_.ListTimelines();
    if (!timelines.ok()) {
      return timelines.status();
    }
    counted_.ResetCounts();
    return replica_.FindHead(*timelines, timeline.value ? timeline : history_.timeline(),
                             Txid{after});
  }

  void ExpectState(const Head& head, Txid txid) {
    EXPECT_EQ(head.txid, txid);
    EXPECT_EQ(head.page_count, history_.PageCountAt(txid));
    EXPECT_EQ(head.db_checksum, history_.ChecksumAt(txid));
    EXPECT_EQ(head.commit_time_us, history_.TimeAt(txid));
  }

  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>("head");
  FaultStore counted_{store_};
  History history_{*store_};
  Replica replica_{counted_};
};

TEST_F(HeadTest, OfAnEmptyReplicaIsNothing) {
  ASSERT_OK_AND_ASSIGN(Head head, Find());
  EXPECT_EQ(head.txid, Txid{});
  EXPECT_EQ(head.segment_key, "");
  EXPECT_EQ(head.timeline, TimelineId{1});
}

TEST_F(HeadTest, IsTheLastCommitOfTheLastSegment) {
  history_.Origin(8);
  history_.Grow(40, 6);
  for (uint64_t after : {0u, 1u, 20u, 40u, 41u}) {
    ASSERT_OK_AND_ASSIGN(Head head, Find(after));
    ExpectState(head, Txid{41});
    EXPECT_EQ(head.segment_key, history_.segment_keys().back());
    EXPECT_EQ(head.writer, WriterId{0x77});
  }
}

TEST_F(HeadTest, CostsAFewListsAndTwoGetsHoweverLongTheLog) {
  history_.Origin(8);
  for (int i = 0; i < 20000; ++i) {
    history_.AddCommit({}, 8);
    history_.Cut();
  }
  ASSERT_OK_AND_ASSIGN(Head head, Find(19990));
  EXPECT_EQ(head.txid, Txid{20001});
  EXPECT_EQ(counted_.Count(StoreOp::kGet), 2) << "the last segment, and none after it";
  EXPECT_LE(counted_.Count(StoreOp::kList), 3);
  ASSERT_OK_AND_ASSIGN(head, Find(0));
  EXPECT_EQ(head.txid, Txid{20001});
  EXPECT_EQ(counted_.Count(StoreOp::kGet), 2);
  EXPECT_LE(counted_.Count(StoreOp::kList), 16);
}

TEST_F(HeadTest, IsFoundWhenTheKnownTxidLiesInALongLastSegment) {
  history_.Origin(8);
  for (int i = 0; i < 2000; ++i) {
    history_.AddCommit({}, 8);
  }
  history_.Cut();
  ASSERT_OK_AND_ASSIGN(Head head, Find(2000));
  ExpectState(head, Txid{2001});
}

TEST_F(HeadTest, OfANewLineIsTheStateItStartsFrom) {
  history_.Origin(8);
  history_.Grow(4, 1);
  for (int i = 0; i < 4; ++i) {
    history_.CommitRandom();
  }
  const std::string key = history_.Cut();  // 6..9
  history_.Branch(Txid{7}, true);
  ASSERT_OK_AND_ASSIGN(Head head, Find());
  ExpectState(head, Txid{7});
  EXPECT_EQ(head.timeline, TimelineId{2});
  EXPECT_EQ(head.segment_key, key);
  EXPECT_EQ(head.wal, WalPosition{});
  history_.Grow(1);
  ASSERT_OK_AND_ASSIGN(head, Find());
  ExpectState(head, Txid{8});
  ASSERT_OK_AND_ASSIGN(head, Find(0, TimelineId{1}));
  EXPECT_EQ(head.txid, Txid{9}) << "the parent keeps its own";
}

TEST_F(HeadTest, OfALineWhoseStartIsGoneIsNotFound) {
  history_.Origin(8);
  history_.Grow(2, 1);
  history_.Branch(Txid{3}, true);
  ASSERT_OK(store_->Delete(keys::LogSegment(TimelineId{1}, Txid{3})));
  EXPECT_STATUS(Find(), StatusCode::kNotFound);
}

TEST_F(HeadTest, IsNotMissedWhenTheLastSmallSegmentOfARollUpExpiredFirst) {
  history_.Origin(8);
  history_.Grow(4, 1);  // 2..5
  history_.RollUp(Txid{2}, Txid{5});
  ASSERT_OK(store_->Delete(keys::LogSegment(TimelineId{1}, Txid{5})));
  ASSERT_OK_AND_ASSIGN(Head head, Find());
  ExpectState(head, Txid{5});
}

TEST_F(HeadTest, NamesTheSmallSegmentWhileItIsThere) {
  history_.Origin(8);
  history_.Grow(4, 1);
  history_.RollUp(Txid{2}, Txid{5});
  ASSERT_OK_AND_ASSIGN(Head head, Find());
  EXPECT_EQ(head.segment_key, keys::LogSegment(TimelineId{1}, Txid{5}));
}

TEST_F(HeadTest, OfAnUnknownLineIsNotFound) {
  EXPECT_STATUS(Find(0, TimelineId{7}), StatusCode::kNotFound);
}

TEST_F(HeadTest, OfDamagedBytesIsCorruption) {
  history_.Origin(8);
  history_.Grow(3, 1);
  ASSERT_OK(store_->Put(history_.segment_keys().back(), Bytes{1, 2, 3}));
  EXPECT_STATUS(Find(), StatusCode::kCorruption);
}

}  // namespace
}  // namespace sqlite_s3

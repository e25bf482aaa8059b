// The chain where it leads through several timelines, and through roll-ups.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/format/keys.h"
#include "tests/common/replica/chain_fixture.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

using ChainLinesTest = ChainTest;

TEST_F(ChainLinesTest, AChildLineLeavesItsParentInTheMiddleOfASegment) {
  history_.Origin(8);
  Segment(4);  // 2..5
  Segment(4);  // 6..9 on line 1
  history_.Branch(Txid{7}, true);
  Segment(3);  // 8..10 on line 2
  ASSERT_OK_AND_ASSIGN(auto chain, Read(1));
  ExpectHistory(chain, 1, 10);
  ASSERT_EQ(chain.size(), 4u);
  EXPECT_EQ(chain[2].last_txid, Txid{7});
  EXPECT_EQ(chain[2].header.last_txid(), Txid{9});
  EXPECT_EQ(chain[2].commits.size(), 2u);
  EXPECT_EQ(chain[3].header.timeline, TimelineId{2});
}

TEST_F(ChainLinesTest, WhatTheParentWroteAfterTheChildLeftIsNotLookedAt) {
  history_.Origin(8);
  Segment(4);  // 2..5
  const std::string abandoned = Segment(4);
  history_.Branch(Txid{5}, true);
  Segment(3);
  ASSERT_OK(store_->Put(abandoned, Bytes{1, 2, 3}));
  ASSERT_OK_AND_ASSIGN(auto chain, Read(1));
  ExpectHistory(chain, 1, 8);
}

TEST_F(ChainLinesTest, TheEndOfAParentLineMustBeThere) {
  history_.Origin(8);
  Segment(4);                           // 2..5
  const std::string lost = Segment(4);  // 6..9, the last of line 1
  history_.Branch(Txid{8}, true);
  Segment(3);
  ASSERT_OK(store_->Delete(lost));
  EXPECT_STATUS(Read(1), StatusCode::kNotFound);
  EXPECT_EQ(damage_.key, lost);
  EXPECT_TRUE(damage_.missing);
  EXPECT_EQ(damage_.best, Txid{5});
}

TEST_F(ChainLinesTest, LinesThatWereLeftBeforeTheirFirstCommitAreSkipped) {
  history_.Origin(8);
  Segment(4);  // 2..5
  history_.Branch(Txid{4}, true);
  history_.Branch(Txid{4}, true);
  Segment(2);  // 5..6 on line 3
  ASSERT_OK_AND_ASSIGN(auto chain, Read(1));
  ExpectHistory(chain, 1, 6);
  EXPECT_EQ(chain.back().header.timeline, TimelineId{3});
}

// --- roll-ups ------------------------------------------------------------------------------------

TEST_F(ChainLinesTest, ARollUpWinsOverTheSegmentsItReplaces) {
  history_.Origin(8);
  const std::string a = Segment(2);  // 2..3
  const std::string b = Segment(2);  // 4..5
  Segment(2);                        // 6..7
  const std::string rollup = history_.RollUp(Txid{2}, Txid{5});
  for (const bool expired : {false, true}) {
    for (uint64_t from = 1; from <= 7; ++from) {
      ASSERT_OK_AND_ASSIGN(auto chain, Read(from));
      ExpectHistory(chain, from, 7);
      EXPECT_EQ(chain.front().key == rollup, from >= 2 && from <= 5) << from;
    }
    if (!expired) {
      ASSERT_OK(store_->Delete(a));
      ASSERT_OK(store_->Delete(b));
    }
  }
}

TEST_F(ChainLinesTest, TheLargerOfTwoRollUpsWins) {
  history_.Origin(8);
  history_.Grow(9, 1);  // 2..10
  history_.RollUp(Txid{2}, Txid{4});
  history_.RollUp(Txid{5}, Txid{7});
  const std::string larger = history_.RollUp(Txid{2}, Txid{7});
  ASSERT_OK_AND_ASSIGN(auto chain, Read(2));
  ExpectHistory(chain, 2, 10);
  EXPECT_EQ(chain.front().key, larger);
  EXPECT_EQ(chain.size(), 4u);
}

TEST_F(ChainLinesTest, TheLogMayBeRolledUpToItsHead) {
  history_.Origin(8);
  history_.Grow(4, 1);
  history_.RollUp(Txid{1}, Txid{5});
  for (const std::string& key : history_.segment_keys()) {
    ASSERT_OK(store_->Delete(key));
  }
  ASSERT_OK_AND_ASSIGN(auto chain, Read(3));
  ExpectHistory(chain, 1, 5);
}

}  // namespace
}  // namespace sqlite_s3

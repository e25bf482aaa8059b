#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/format/keys.h"
#include "tests/common/replica/chain_fixture.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

TEST_F(ChainTest, GoesFromTheSegmentThatHoldsTheFirstTxidToTheHead) {
  history_.Origin(8);
  history_.Grow(60, 7);
  for (uint64_t from = 1; from <= 61; ++from) {
    ASSERT_OK_AND_ASSIGN(auto chain, Read(from));
    ExpectHistory(chain, from, 61);
    EXPECT_GE(chain.front().last_txid.value, from);
  }
}

TEST_F(ChainTest, EndsWithTheSegmentThatHoldsTheLastTxid) {
  history_.Origin(8);
  Segment(4);  // 2..5
  Segment(4);  // 6..9
  ASSERT_OK_AND_ASSIGN(auto chain, Read(3, Txid{5}));
  ExpectHistory(chain, 2, 5);
  ASSERT_OK_AND_ASSIGN(chain, Read(3, Txid{6}));
  ExpectHistory(chain, 2, 9);
}

TEST_F(ChainTest, IsEmptyJustPastTheHead) {
  history_.Origin(8);
  Segment(3);
  ASSERT_OK_AND_ASSIGN(auto chain, Read(5));
  EXPECT_TRUE(chain.empty());
}

TEST_F(ChainTest, NamesTheEndOfTheLogWhenTheLastTxidIsBeyondIt) {
  history_.Origin(8);
  Segment(3);
  auto chain = Read(2, Txid{9});
  EXPECT_STATUS(chain, StatusCode::kNotFound);
  EXPECT_THAT(chain.status().message(), HasSubstr("ends at TXID 0000000000000004"));
  EXPECT_EQ(good_.size(), 1u);
  EXPECT_EQ(damage_.key, "");
}

TEST_F(ChainTest, FetchesInParallelWhatItFetchesInOrder) {
  history_.Origin(8);
  history_.Grow(100, 3);
  replica_.set_parallelism(4);
  ASSERT_OK_AND_ASSIGN(auto chain, Read(1));
  ExpectHistory(chain, 1, 101);
}

TEST_F(ChainTest, ListsLogsOfMoreThanOnePage) {
  history_.Origin(8);
  for (int i = 0; i < 2100; ++i) {
    Segment(1);
  }
  ASSERT_OK_AND_ASSIGN(auto chain, Read(1));
  ExpectHistory(chain, 1, 2101);
  counted_.ResetCounts();
  ASSERT_OK_AND_ASSIGN(chain, Read(2095));
  ExpectHistory(chain, 2095, 2101);
  EXPECT_EQ(counted_.Count(StoreOp::kGet), 7 + 2)
      << "seven segments, the timeline, and the one after it, which is not there";
}

TEST_F(ChainTest, FindsALongSegmentByATxidInItsMiddle) {
  history_.Origin(8);
  Segment(2);
  Segment(3000);  // 4..3003
  Segment(2);
  ASSERT_OK_AND_ASSIGN(auto chain, Read(3000));
  ExpectHistory(chain, 4, 3005);
}

TEST_F(ChainTest, AMissingSegmentInTheMiddleIsAGapNamedWithTheBestTxidBefore) {
  history_.Origin(8);
  Segment(3);                           // 2..4
  const std::string lost = Segment(3);  // 5..7
  Segment(3);                           // 8..10
  ASSERT_OK(store_->Delete(lost));
  auto chain = Read(2);
  EXPECT_STATUS(chain, StatusCode::kNotFound);
  EXPECT_THAT(chain.status().message(), HasSubstr(lost));
  EXPECT_THAT(chain.status().message(), HasSubstr("best TXID before it is 0000000000000004"));
  EXPECT_EQ(damage_.key, lost);
  EXPECT_TRUE(damage_.missing);
  EXPECT_EQ(damage_.best, Txid{4});
  ASSERT_EQ(good_.size(), 1u);
  ExpectHistory(good_, 2, 4);
}

TEST_F(ChainTest, AMissingFirstSegmentIsAGap) {
  history_.Origin(8);
  const std::string lost = Segment(3);  // 2..4
  Segment(3);                           // 5..7
  ASSERT_OK(store_->Delete(lost));
  EXPECT_STATUS(Read(2), StatusCode::kNotFound);
  EXPECT_EQ(damage_.key, lost);
  EXPECT_EQ(damage_.best, std::nullopt);
}

TEST_F(ChainTest, AMissingLastSegmentIsTheHeadBeforeIt) {
  history_.Origin(8);
  Segment(3);
  const std::string lost = Segment(3);
  ASSERT_OK(store_->Delete(lost));
  ASSERT_OK_AND_ASSIGN(auto chain, Read(1));
  ExpectHistory(chain, 1, 4);
}

TEST_F(ChainTest, EveryBitFlipIsCorruptionOfThatKey) {
  history_.Origin(8);
  Segment(2);
  const std::string key = Segment(2);
  Segment(2);
  const Bytes whole = Get(key);
  for (size_t i = 0; i < whole.size(); i += 3) {
    Bytes bent = whole;
    bent[i] ^= static_cast<uint8_t>(1 << (i % 8));
    ASSERT_OK(store_->Put(key, bent));
    auto chain = Read(1);
    // A flipped version number is a newer format to a reader, which is an error as well.
    EXPECT_FALSE(chain.ok()) << "byte " << i;
    EXPECT_THAT(chain.status().message(), HasSubstr(key)) << "byte " << i;
    EXPECT_EQ(good_.size(), 2u) << "byte " << i;
  }
}

TEST_F(ChainTest, ASegmentUnderAnotherKeyIsCorruption) {
  history_.Origin(8);
  const std::string first = Segment(2);
  const std::string second = Segment(2);
  ASSERT_OK(store_->Put(second, Get(first)));
  EXPECT_STATUS(Read(1), StatusCode::kCorruption);
  EXPECT_EQ(damage_.key, second);
  EXPECT_FALSE(damage_.missing);
}

TEST_F(ChainTest, ASegmentOfAnotherDatabaseIsCorruption) {
  history_.Origin(8);
  Segment(2);
  const std::string key = Segment(2);
  MemoryStore elsewhere("elsewhere");
  History::Options options;
  options.seed = 2;
  History other(elsewhere, options);
  other.Origin(8);
  other.Grow(2, 1);
  other.AddCommit({}, 8);
  other.Cut();
  ASSERT_OK_AND_ASSIGN(Bytes foreign, elsewhere.Get(key, kMaxSegmentBytes));
  ASSERT_OK(store_->Put(key, foreign));
  auto chain = Read(1);
  EXPECT_STATUS(chain, StatusCode::kCorruption);
  EXPECT_THAT(chain.status().message(), HasSubstr("of database"));
  EXPECT_EQ(damage_.key, key);
}

TEST_F(ChainTest, AnOlderVersionOfASegmentBreaksTheChain) {
  // Two writers that both believed to be alone: same TXIDs, same place, other bytes.
  MemoryStore elsewhere("elsewhere");
  History other(elsewhere);
  for (History* h : {&history_, &other}) {
    h->Origin(8);
    h->Grow(4, 1);
  }
  other.AddCommit({{1, Bytes(512, 1)}}, 9);
  const std::string key = other.Cut();
  EXPECT_EQ(Segment(1), key);
  Segment(1);
  ASSERT_OK_AND_ASSIGN(Bytes swapped, elsewhere.Get(key, kMaxSegmentBytes));
  ASSERT_OK(store_->Put(key, swapped));
  EXPECT_STATUS(Read(1), StatusCode::kCorruption);
  EXPECT_EQ(damage_.best, Txid{6}) << "the swapped one is whole; its successor does not follow it";
}

// The same commits, written by another: each state fits, and yet it is not what was there.
TEST_F(ChainTest, ASegmentThatWasWrittenAgainBreaksTheChainThoughItsCommitsAreTheSame) {
  history_.Origin(8);
  Segment(2);
  Rewrite(history_.segment_keys()[0], [](SegmentHeader& header) { ++header.writer.value; });
  EXPECT_STATUS(Read(1), StatusCode::kCorruption);
  EXPECT_EQ(damage_.key, history_.segment_keys()[1]);
  EXPECT_EQ(damage_.best, Txid{1});
}

TEST_F(ChainTest, ASegmentThatStartsFromAnotherStateBreaksTheChainThoughItNamesItsPredecessor) {
  history_.Origin(8);
  const std::string key = Segment(2);
  Rewrite(key, [](SegmentHeader& header) { header.start_checksum ^= 1; });
  EXPECT_STATUS(Read(1), StatusCode::kCorruption);
  EXPECT_EQ(damage_.key, key);
}

TEST_F(ChainTest, OverlappingSegmentsAreCorruption) {
  history_.Origin(8);
  const std::string key = Segment(4);  // 2..5
  Segment(2);
  ASSERT_OK(store_->Put(keys::LogSegment(TimelineId{1}, Txid{4}), Get(key)));
  EXPECT_STATUS(Read(2), StatusCode::kCorruption);
  EXPECT_EQ(damage_.key, keys::LogSegment(TimelineId{1}, Txid{4}));
  EXPECT_EQ(damage_.best, Txid{5});
}

TEST_F(ChainTest, IgnoresWhatIsNotASegment) {
  history_.Origin(8);
  Segment(2);
  ASSERT_OK(store_->Put("00000001/log/0000000000000002.seg.bak", Bytes{1}));
  ASSERT_OK(store_->Put("00000001/log/README", Bytes{1}));
  ASSERT_OK_AND_ASSIGN(auto chain, Read(1));
  ExpectHistory(chain, 1, 3);
}

TEST_F(ChainTest, ReadSegmentGivesTheWholeOfWhatTheChainNamed) {
  history_.Origin(8);
  Segment(2);
  ASSERT_OK_AND_ASSIGN(auto chain, Read(2));
  ASSERT_OK_AND_ASSIGN(auto segment, replica_.ReadSegment(chain[0]));
  EXPECT_EQ(segment.commits, chain[0].commits);
  EXPECT_EQ(segment.chunk_data.size(), 2u);
  ASSERT_OK(store_->Delete(chain[0].key));
  EXPECT_STATUS(replica_.ReadSegment(chain[0]), StatusCode::kNotFound);
  EXPECT_STATUS(replica_.ReadSegment(TimelineId{1}, Txid{2}), StatusCode::kNotFound);
}

TEST_F(ChainTest, ReadSegmentRefusesOneThatWasReplacedSince) {
  history_.Origin(8);
  Segment(2);
  ASSERT_OK_AND_ASSIGN(auto chain, Read(2));
  chain[0].digest.bytes[0] ^= 1;
  EXPECT_STATUS(replica_.ReadSegment(chain[0]), StatusCode::kCorruption);
}

TEST_F(ChainTest, KeptSegmentsAreNotFetchedAgain) {
  history_.Origin(8);
  history_.Grow(20, 2);
  replica_.set_keep_bytes(1 << 20);
  ASSERT_OK_AND_ASSIGN(auto chain, Read(2));
  counted_.ResetCounts();
  for (const SegmentSummary& s : chain) {
    ASSERT_OK(replica_.ReadSegment(s));
  }
  EXPECT_EQ(counted_.TotalCount(), 0);
  ASSERT_OK(replica_.ReadSegment(chain[0]));
  EXPECT_EQ(counted_.TotalCount(), 1) << "each is handed out once";
}

TEST_F(ChainTest, KeepsNoMoreThanItsBound) {
  history_.Origin(8);
  history_.Grow(20, 2);
  replica_.set_keep_bytes(3000);
  ASSERT_OK_AND_ASSIGN(auto chain, Read(2));
  counted_.ResetCounts();
  for (const SegmentSummary& s : chain) {
    ASSERT_OK(replica_.ReadSegment(s));
  }
  EXPECT_GT(counted_.Count(StoreOp::kGet), 0);
  EXPECT_LT(counted_.Count(StoreOp::kGet), static_cast<int>(chain.size()));
}

TEST_F(ChainTest, AStoreThatIsAwayIsNoDamage) {
  history_.Origin(8);
  Segment(2);
  counted_.FailAll(StoreOp::kGet, StatusCode::kUnavailable);
  ASSERT_OK_AND_ASSIGN(auto timelines, Replica(*store_).ListTimelines());
  EXPECT_STATUS(replica_.ReadChain(timelines, TimelineId{1}, Txid{1}, {}, nullptr, &damage_),
                StatusCode::kUnavailable);
  EXPECT_EQ(damage_.key, "");
}

// --- lines of history ----------------------------------------------------------------------------

}  // namespace
}  // namespace sqlite_s3

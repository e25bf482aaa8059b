#pragma once
// A history in a store, and the chain that a replica reads of it.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/replica/replica.h"
#include "common/store/memory_store.h"
#include "tests/support/fault_store.h"
#include "tests/support/history.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {

class ChainTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(replica_.Open()); }

  Result<std::vector<SegmentSummary>> Read(uint64_t from, std::optional<Txid> to = std::nullopt,
                                           TimelineId timeline = {}) {
    damage_ = {};
    good_.clear();
    auto timelines = replica_.ListTimelines();
    if (!timelines.ok()) {
      return timelines.status();
    }
    return replica_.ReadChain(*timelines, timeline.value ? timeline : history_.timeline(),
                              Txid{from}, to, &good_, &damage_);
  }

  // n commits in one segment; its key.
  std::string Segment(int commits) {
    for (int i = 0; i < commits; ++i) {
      history_.CommitRandom();
    }
    return history_.Cut();
  }

  // The segment with another header, whole and well-formed.
  void Rewrite(const std::string& key, const std::function<void(SegmentHeader&)>& change) {
    ASSERT_OK_AND_ASSIGN(const auto segment, ParseSegment(Get(key), key));
    SegmentHeader header = segment.header;
    change(header);
    SegmentBuilder builder(header);
    for (size_t i = 0; i < segment.commits.size(); ++i) {
      const ByteSpan chunks = segment.chunk_data[i];
      ASSERT_OK(builder.Add(segment.commits[i], Bytes(chunks.begin(), chunks.end())));
    }
    ASSERT_OK_AND_ASSIGN(const SegmentBuilder::Finished built, builder.Finish({}));
    ASSERT_OK(store_->Put(key, built.bytes));
  }

  Bytes Get(const std::string& key) {
    auto bytes = store_->Get(key, kMaxSegmentBytes);
    EXPECT_OK(bytes);
    return bytes.ok() ? *bytes : Bytes();
  }

  // The records of the chain are those of the history from `from` on, without a hole.
  void ExpectHistory(const std::vector<SegmentSummary>& chain, uint64_t from, uint64_t to) {
    ASSERT_FALSE(chain.empty());
    ASSERT_LE(chain.front().header.first_txid.value, from);
    Txid next = chain.front().header.first_txid;
    for (const SegmentSummary& s : chain) {
      EXPECT_EQ(s.header.first_txid, next) << s.key;
      for (const CommitRecord& record : s.commits) {
        EXPECT_EQ(record.db_checksum, history_.ChecksumAt(next)) << FormatTxid(next);
        next = next.Next();
      }
      EXPECT_EQ(s.last_txid, next.Prev());
    }
    EXPECT_EQ(next.value, to + 1);
  }

  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>("chain");
  FaultStore counted_{store_};
  History history_{*store_};
  Replica replica_{counted_};
  std::vector<SegmentSummary> good_;
  Damage damage_;
};

}  // namespace sqlite_s3

// A LIST that is older than what it lists: some stores serve one for a while. What it leaves out at
// the end would be missed without a word, were the next key not known and asked for.

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "common/format/keys.h"
#include "common/replica/replica.h"
#include "common/store/memory_store.h"
#include "tests/support/fault_store.h"
#include "tests/support/history.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

class StaleStore : public FaultStore {
 public:
  using FaultStore::FaultStore;

  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       int max_keys) override {
    auto page = FaultStore::List(prefix, start_after, max_keys);
    if (page.ok()) {
      std::erase_if(*page,
                    [this](const ObjectInfo& object) { return unlisted.contains(object.key); });
    }
    return page;
  }

  std::set<std::string> unlisted;
};

class StaleListTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(replica_.Open());
    history_.Origin(8);
    history_.Grow(12, 3);
  }

  void LeaveOutLastSegments(size_t n) {
    const auto& keys = history_.segment_keys();
    store_.unlisted.insert(keys.end() - static_cast<ptrdiff_t>(n), keys.end());
  }

  std::shared_ptr<MemoryStore> inner_ = std::make_shared<MemoryStore>("stale");
  StaleStore store_{inner_};
  History history_{*inner_};
  Replica replica_{store_};
};

TEST_F(StaleListTest, TheHeadIsTheLastSegmentAllTheSame) {
  for (size_t n = 1; n <= history_.segment_keys().size(); ++n) {
    LeaveOutLastSegments(n);
    ASSERT_OK_AND_ASSIGN(const auto timelines, replica_.ListTimelines());
    ASSERT_OK_AND_ASSIGN(const Head head, replica_.FindHead(timelines, history_.timeline()));
    EXPECT_EQ(head.txid, Txid{13}) << n;
  }
}

TEST_F(StaleListTest, TheChainGoesToTheLastSegmentAllTheSame) {
  ASSERT_OK_AND_ASSIGN(const auto timelines, replica_.ListTimelines());
  for (size_t n = 1; n < history_.segment_keys().size(); ++n) {
    LeaveOutLastSegments(n);
    for (uint64_t from = 1; from <= 13; ++from) {
      ASSERT_OK_AND_ASSIGN(const auto chain, replica_.ReadChain(timelines, history_.timeline(),
                                                                Txid{from}, std::nullopt));
      ASSERT_FALSE(chain.empty()) << n << " from " << from;
      EXPECT_EQ(chain.back().last_txid, Txid{13}) << n << " from " << from;
    }
  }
}

TEST_F(StaleListTest, ALineThatTookTheOtherSPlaceIsTheLatestAllTheSame) {
  history_.Branch(Txid{9}, true);
  history_.Grow(3, 1);
  store_.unlisted = {keys::TimelineFile(TimelineId{2})};
  ASSERT_OK_AND_ASSIGN(const auto timelines, replica_.ListTimelines());
  ASSERT_OK_AND_ASSIGN(const TimelineId latest, Replica::LatestTimeline(timelines));
  EXPECT_EQ(latest, TimelineId{2});
}

}  // namespace
}  // namespace sqlite_s3

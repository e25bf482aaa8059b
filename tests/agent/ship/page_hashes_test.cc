#include "agent/ship/page_hashes.h"

#include <fcntl.h>

#include <map>
#include <optional>
#include <random>

#include "common/os/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kPageSize = 4096;

// A history of segments beside a plain map, which knows every state.
class PageHashesTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    auto opened = PageHashes::Open(dir_.path());
    ASSERT_OK(opened.status());
    hashes_.emplace(std::move(opened).value());
  }
  void Adopt(uint32_t pages) {
    ASSERT_OK_AND_ASSIGN(HashTableFile scan, HashTableFile::Create(dir_.path() + "/hashes.scan"));
    for (PageNumber page = 1; page <= pages; ++page) {
      now_[page] = random_();
      ASSERT_OK(scan.Set(page, now_[page]));
    }
    ASSERT_OK(hashes_->Adopt(std::move(scan)));
    states_[txid_] = now_;
  }
  void Set(PageNumber page) {
    now_[page] = random_();
    ASSERT_OK(hashes_->Set(page, now_[page], Txid{txid_ + 1}));
  }
  void Cut() {
    ++txid_;
    ASSERT_OK(hashes_->LogSegment(Txid{txid_}));
    states_[txid_] = now_;
  }
  // A segment of `changes` pages among the first `pages`.
  void Segment(int changes, uint32_t pages) {
    for (int i = 0; i < changes; ++i) {
      Set(static_cast<PageNumber>(random_() % pages + 1));
    }
    Cut();
  }
  static uint64_t Sum(const std::map<PageNumber, uint64_t>& state) {
    uint64_t sum = 0;
    for (const auto& [page, hash] : state) {
      sum ^= hash;
    }
    return sum;
  }
  bool LoadAt(uint64_t txid) {
    const auto& state = states_.at(txid);
    auto loaded = hashes_->LoadAt(Txid{txid}, state.rbegin()->first, Sum(state), kPageSize);
    EXPECT_OK(loaded.status());
    if (!loaded.ok() || !*loaded) {
      return false;
    }
    txid_ = txid;
    now_ = state;
    return true;
  }
  void ExpectState() {
    for (const auto& [page, hash] : now_) {
      ASSERT_OK_AND_ASSIGN(uint64_t got, hashes_->Get(page));
      ASSERT_EQ(got, hash) << "page " << page << " at " << txid_;
    }
  }
  size_t UndoFiles() {
    auto names = ListDirectory(dir_.path());
    size_t n = 0;
    for (const std::string& name : *names) {
      n += name.starts_with("hashes.undo.") ? size_t{1} : 0;
    }
    return n;
  }

  TempDir dir_;
  std::mt19937_64 random_{7};
  std::optional<PageHashes> hashes_;
  uint64_t txid_ = 10;
  std::map<PageNumber, uint64_t> now_;
  std::map<uint64_t, std::map<PageNumber, uint64_t>> states_;
};

class PageHashesGoBackTest : public PageHashesTest,
                             public ::testing::WithParamInterface<uint64_t> {};

TEST_P(PageHashesGoBackTest, ToEverySegmentThatIsNotAcknowledged) {
  Adopt(300);
  const uint64_t target = txid_ + GetParam();
  for (int i = 0; i < 20; ++i) {
    Segment(40, 300 + static_cast<uint32_t>(i) * 5);
    ASSERT_NO_FATAL_FAILURE(ExpectState());
  }
  Reopen();
  ASSERT_TRUE(LoadAt(target));
  ASSERT_NO_FATAL_FAILURE(ExpectState());
  // These die unshipped too, and their TXIDs have been used before.
  Segment(10, 300);
  Segment(10, 300);
  Reopen();
  ASSERT_TRUE(LoadAt(target));
  ASSERT_NO_FATAL_FAILURE(ExpectState());
}

INSTANTIATE_TEST_SUITE_P(Targets, PageHashesGoBackTest, ::testing::Values(0, 1, 7, 13, 19, 20));

TEST_F(PageHashesTest, WhatWasNotCutIsForgotten) {
  Adopt(100);
  Segment(10, 100);
  const auto cut = now_;
  Set(3);
  now_ = cut;
  Reopen();
  ASSERT_TRUE(LoadAt(txid_));
  ExpectState();
}

TEST_F(PageHashesTest, ACommitOfAnySizeIsWrittenDownInItsMiddleAndUndoneWhole) {
  Adopt(10);
  const uint64_t before = txid_;
  for (PageNumber page = 1; page <= 200'000; ++page) {
    Set(page);
  }
  ExpectState();
  Reopen();  // dies before the cut
  ASSERT_TRUE(LoadAt(before));
  ExpectState();
}

TEST_F(PageHashesTest, TheUndoLogFollowsTheAcknowledgements) {
  Adopt(1000);
  for (int i = 0; i < 40; ++i) {
    for (PageNumber page = 1; page <= 60'000; ++page) {
      Set(page);
    }
    Cut();
  }
  const size_t unacknowledged = UndoFiles();
  EXPECT_GE(unacknowledged, 3u);
  ASSERT_OK(hashes_->Acknowledge(Txid{txid_ - 1}));
  EXPECT_LT(UndoFiles(), unacknowledged);
  const uint64_t last = txid_;
  Reopen();
  ASSERT_TRUE(LoadAt(last - 1));
  ExpectState();
}

TEST_F(PageHashesTest, ATornUndoRecordChangesNothing) {
  Adopt(100);
  Segment(10, 100);
  const std::string path = dir_.path() + "/hashes.undo.1";
  ASSERT_OK_AND_ASSIGN(Bytes log, ReadFile(path, 1 << 20));
  const auto state = now_;
  // The next segment's record as a crash may leave it: the table has not been touched.
  Bytes whole = log;
  Bytes record(log.begin(), log.end());
  record[8] = static_cast<uint8_t>(txid_ + 1);
  whole.insert(whole.end(), record.begin(), record.end());
  for (size_t cut = log.size(); cut < whole.size(); cut += 5) {
    ASSERT_OK(WriteFileAtomically(path, ByteSpan(whole).first(cut), 0600, Durability::kVisible));
    Reopen();
    now_ = state;
    ASSERT_TRUE(LoadAt(txid_)) << cut;
  }
}

TEST_F(PageHashesTest, ATableThatIsNotTheHeadsIsFoundOut) {
  Adopt(100);
  Segment(10, 100);
  ASSERT_OK_AND_ASSIGN(Fd table, OpenFile(dir_.path() + "/hashes", O_RDWR));
  const uint8_t wrong[] = {1};
  ASSERT_OK(WriteAt(table, 8 * 50 + 3, wrong, "hashes"));
  Reopen();
  EXPECT_FALSE(LoadAt(txid_));
}

}  // namespace
}  // namespace sqlite_s3

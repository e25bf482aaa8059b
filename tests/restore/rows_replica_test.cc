// diff and undo on replicas that are damaged, rolled up or forked: the right answer, or an error
// that names the object.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/format/keys.h"
#include "tests/restore/rows_fixture.h"

namespace sqlite_s3 {
namespace {

constexpr Txid kSecondImage{6};
constexpr Txid kLast{10};

class RowsReplicaTest : public RowsFixture {
 protected:
  void SetUp() override {
    history_.Run("INSERT INTO t(a, b) SELECT 'row', zeroblob(700) FROM (VALUES(1),(2),(3),(4))");
    for (int i = 3; i <= static_cast<int>(kLast.value); ++i) {
      history_.history().Cut();
      if (Txid{static_cast<uint64_t>(i) - 1} == kSecondImage) {
        history_.history().MakeImage(kSecondImage);
      }
      const std::string n = std::to_string(i);
      ASSERT_TRUE(history_.Run("BEGIN;INSERT INTO t(a, b) VALUES('" + n + "', randomblob(900));" +
                               "UPDATE t SET a='" + n + "' WHERE id=" + n + "-2;COMMIT"));
    }
    history_.history().Cut();
    ASSERT_EQ(history_.history().txid(), kLast);
  }
  std::string Script(Txid a, Txid b) {
    auto difference = Diff(a, b, /*script=*/true);
    EXPECT_OK(difference);
    return difference.ok() ? difference->script : "";
  }
  std::vector<ObjectInfo> Objects(const std::string& prefix) {
    auto objects = ListAll(*store_, prefix);
    EXPECT_OK(objects);
    return objects.ok() ? *objects : std::vector<ObjectInfo>();
  }
  static bool NamesDamage(StatusCode code) {
    return code == StatusCode::kCorruption || code == StatusCode::kNotFound ||
           code == StatusCode::kUnimplemented;
  }

  SqliteHistory history_{*store_, 1024, 5};
};

TEST_F(RowsReplicaTest, ADamagedImageIsDoneWithoutWhereThereIsAnOlderOne) {
  const std::string right = Script(kSecondImage, kLast);
  ASSERT_THAT(right, ::testing::HasSubstr("INSERT"));
  int damaged = 0;
  for (const ObjectInfo& object : Objects(keys::ImagePrefix(TimelineId{1}, kSecondImage))) {
    ASSERT_OK_AND_ASSIGN(const Bytes whole, store_->Get(object.key, object.size_bytes));
    for (const int how : {0, 1, 2}) {
      Bytes bent = whole;
      for (size_t at = 10; at < bent.size(); at += 40) {
        bent[at] ^= 0x20;
      }
      ASSERT_OK(how == 0   ? store_->Delete(object.key)
                : how == 1 ? store_->Put(object.key, bent).status()
                           : store_->Put(object.key, ByteSpan(whole).first(5)).status());
      EXPECT_EQ(Script(kSecondImage, kLast), right) << object.key << " " << how;
      damaged += damage_.key == object.key ? 1 : 0;
    }
    ASSERT_OK(store_->Put(object.key, whole));
  }
  EXPECT_EQ(damaged, 0) << "what was done without is no damage of the answer";
}

TEST_F(RowsReplicaTest, ADamagedImageWithoutAnOlderOneIsTheErrorAndNamed) {
  for (const ObjectInfo& object : Objects(keys::ImagePrefix(TimelineId{1}, Txid{1}))) {
    if (object.key == keys::ImageManifest(TimelineId{1}, Txid{1})) {
      continue;  // without it there is no image
    }
    ASSERT_OK_AND_ASSIGN(const Bytes whole, store_->Get(object.key, object.size_bytes));
    ASSERT_OK(store_->Delete(object.key));
    auto difference = Diff(Txid{2}, Txid{4});
    EXPECT_STATUS(difference, StatusCode::kNotFound);
    EXPECT_EQ(damage_.key, object.key);
    EXPECT_TRUE(damage_.missing);
    EXPECT_EQ(damage_.image, Txid{1});
    ASSERT_OK(store_->Put(object.key, whole));
  }
}

TEST_F(RowsReplicaTest, WhateverObjectIsBentTheAnswerIsRightOrAnError) {
  const std::string right = Script(Txid{3}, kLast);
  int errors = 0;
  for (const ObjectInfo& object : Objects("")) {
    ASSERT_OK_AND_ASSIGN(const Bytes whole, store_->Get(object.key, object.size_bytes));
    for (size_t part = 0; part < 4; ++part) {
      Bytes bent = whole;
      bent[part * (bent.size() - 1) / 3] ^= 0x41;
      ASSERT_OK(store_->Put(object.key, bent));
      auto difference = Diff(Txid{3}, kLast, /*script=*/true);
      if (difference.ok()) {
        EXPECT_EQ(difference->script, right) << object.key;
        continue;
      }
      ++errors;
      EXPECT_TRUE(NamesDamage(difference.code())) << difference.status().ToString();
    }
    ASSERT_OK(store_->Put(object.key, whole));
  }
  EXPECT_GT(errors, 10);
  EXPECT_EQ(Script(Txid{3}, kLast), right);
}

TEST_F(RowsReplicaTest, AGapHidesWhatLiesBehindItUpToTheNextImage) {
  const std::string behind = Script(kSecondImage, kLast);
  const std::string& lost = history_.history().segment_keys()[2];
  ASSERT_OK(store_->Delete(lost));
  auto across = Diff(Txid{2}, kLast);
  EXPECT_TRUE(NamesDamage(across.code())) << across.status().ToString();
  EXPECT_THAT(across.status().message(), ::testing::HasSubstr("TXID"));
  EXPECT_EQ(Script(kSecondImage, kLast), behind);
  auto plan = Plan(kLast, kLast);
  ASSERT_OK(plan);
  EXPECT_FALSE(plan->script.empty());
}

TEST_F(RowsReplicaTest, RolledUpCommitsAreTheSame) {
  const std::string right = Script(Txid{3}, kLast);
  auto plan = Plan(Txid{5}, kLast);
  ASSERT_OK(plan);
  const auto keys = history_.history().segment_keys();
  history_.history().RollUp(Txid{2}, kLast);
  for (size_t i = 1; i < keys.size(); ++i) {
    ASSERT_OK(store_->Delete(keys[i]));
  }
  EXPECT_EQ(Script(Txid{3}, kLast), right);
  auto again = Plan(Txid{5}, kLast);
  ASSERT_OK(again);
  EXPECT_EQ(again->script, plan->script);
}

TEST_F(RowsReplicaTest, AForkHasTheHistoryOfItsParentUpToWhereItLeftAndItsOwnBehind) {
  const Txid fork{7};
  const std::string parents = Script(Txid{4}, fork);
  const std::string both = Script(Txid{4}, kLast);
  // The other line does in one commit what the first did in many.
  History& line = history_.history();
  const Bytes at_fork = history_.Reference(fork);
  const Bytes at_last = history_.Reference(kLast);
  line.Branch(fork, /*supersedes=*/true);
  History::Pages pages;
  const uint32_t page_size = line.document().page_size;
  for (size_t at = 0; at < at_last.size(); at += page_size) {
    const ByteSpan page = ByteSpan(at_last).subspan(at, page_size);
    if (at >= at_fork.size() ||
        !std::equal(page.begin(), page.end(), at_fork.begin() + static_cast<ptrdiff_t>(at))) {
      pages[static_cast<PageNumber>(at / page_size + 1)] = Bytes(page.begin(), page.end());
    }
  }
  const Txid merged = line.AddCommit(pages, static_cast<uint32_t>(at_last.size() / page_size));
  line.Cut();
  ASSERT_EQ(merged, fork.Next());
  EXPECT_EQ(Script(Txid{4}, fork), parents);
  auto across = Diff(Txid{4}, merged, /*script=*/true);
  ASSERT_OK(across);
  const auto without_title = [](const std::string& s) { return s.substr(s.find('\n')); };
  EXPECT_EQ(without_title(across->script), without_title(both));
  EXPECT_STATUS(Diff(Txid{4}, kLast), StatusCode::kNotFound) << "on the other line only";
  auto undo = Plan(merged, merged);
  ASSERT_OK(undo);
  EXPECT_EQ(Apply(at_last, undo->script, true).Difference(ReadContent(at_fork)), "");
}

}  // namespace
}  // namespace sqlite_s3

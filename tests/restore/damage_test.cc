// Whatever is done to the objects of a replica: an error that names the object, or the right
// database.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/format/image_part.h"
#include "common/format/keys.h"
#include "tests/restore/restore_fixture.h"
#include "tests/restore/sqlite_history.h"
#include "tests/support/fault_store.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Txid kSecondImage{10};

class DamageTest : public RestoreFixture {
 protected:
  void SetUp() override {
    // Two images, segments of some commits, a commit in parts, two lines.
    for (int i = 0; i < 3; ++i) {
      Commits(2);
    }
    History::Commit how;
    how.in_parts = true;
    source_.Run("INSERT INTO t(a, b) VALUES('x', zeroblob(9000))", how);
    source_.history().Cut();
    Commits(2);
    ASSERT_EQ(source_.history().txid(), kSecondImage);
    source_.history().MakeImage(kSecondImage);
    Commits(2);
    Commits(2);
    ASSERT_OK_AND_ASSIGN(objects_, ListAll(*store_, ""));
  }
  void Commits(int n) {
    for (int i = 0; i < n; ++i) {
      source_.Run("INSERT INTO t(a, b) VALUES(hex(randomblob(9)), randomblob(300))");
    }
    source_.history().Cut();
  }

  // A restore of each TXID is right, or an error of damage; how many were errors.
  int ExpectRightOrError(const std::string& key, const std::vector<Txid>& txids) {
    int errors = 0;
    for (const Txid txid : txids) {
      auto report = Restore(txid);
      if (report.ok()) {
        EXPECT_EQ(Output(), source_.Reference(txid)) << key << " " << FormatTxid(txid);
        RemoveOutput();
        continue;
      }
      ++errors;
      EXPECT_TRUE(report.code() == StatusCode::kCorruption ||
                  report.code() == StatusCode::kNotFound ||
                  report.code() == StatusCode::kUnimplemented)
          << report.status().ToString();
      EXPECT_THAT(Files(), IsEmpty()) << key;
      // A missing manifest is an image that was never finished: what it held cannot be named. Nor
      // can a last segment that is missing: then the log ends before it.
      const bool nameless = keys::ParseImageManifest(key) ||
                            report.status().message().find("which ends at") != std::string::npos;
      if (!nameless) {
        EXPECT_THAT(report.status().message(), HasSubstr(key));
      }
    }
    return errors;
  }

  SqliteHistory source_{*store_, 1024, 3};
  std::vector<ObjectInfo> objects_;
};

TEST_F(DamageTest, EachObjectDeletedInTurn) {
  std::vector<Txid> all;
  for (Txid txid{1}; txid <= source_.history().txid(); txid = txid.Next()) {
    all.push_back(txid);
  }
  for (const ObjectInfo& object : objects_) {
    ASSERT_OK_AND_ASSIGN(const Bytes whole, store_->Get(object.key, object.size_bytes));
    ASSERT_OK(store_->Delete(object.key));
    const int errors = ExpectRightOrError(object.key, all);
    // Hashes are for the agent; the first segment says nothing that its image does not; and where
    // the second image is damaged the first one does.
    const bool needed = !object.key.ends_with(".hashes") &&
                        object.key != source_.history().segment_keys().front() &&
                        !object.key.starts_with(keys::ImagePrefix(TimelineId{1}, kSecondImage));
    EXPECT_EQ(errors > 0, needed) << object.key;
    ASSERT_OK(store_->Put(object.key, whole));
  }
}

TEST_F(DamageTest, BitsFlippedInEachObject) {
  std::mt19937 random(1);
  const std::vector<Txid> some = {Txid{3}, kSecondImage, source_.history().txid()};
  for (const ObjectInfo& object : objects_) {
    ASSERT_OK_AND_ASSIGN(const Bytes whole, store_->Get(object.key, object.size_bytes));
    for (int i = 0; i < 12; ++i) {
      Bytes bent = whole;
      bent[random() % bent.size()] ^= static_cast<uint8_t>(1u << (random() % 8));
      ASSERT_OK(store_->Put(object.key, bent));
      ExpectRightOrError(object.key, some);
    }
    for (const size_t size : {size_t{0}, whole.size() / 2, whole.size() - 1}) {
      ASSERT_OK(store_->Put(object.key,
                            Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))));
      ExpectRightOrError(object.key, some);
    }
    ASSERT_OK(store_->Put(object.key, whole));
  }
}

TEST_F(DamageTest, ADamagedImageIsPassedOverForAnOlderOneAndNamed) {
  ASSERT_OK_AND_ASSIGN(auto parts,
                       ListAll(*store_, keys::ImagePrefix(TimelineId{1}, kSecondImage)));
  ASSERT_GE(parts.size(), 3u);
  const std::string key = parts[1].key;
  ASSERT_TRUE(key.ends_with(".part"));
  for (const bool missing : {false, true}) {
    ASSERT_OK(missing ? store_->Delete(key) : store_->Put(key, Bytes{1, 2}).status());
    ASSERT_OK_AND_ASSIGN(RestoreReport report, Restore(TargetLatest{}));
    EXPECT_EQ(Output(), source_.Reference(source_.history().txid()));
    EXPECT_EQ(report.plan.image.txid, Txid{1});
    EXPECT_THAT(report.problems, ElementsAre(HasSubstr(key)));
    RemoveOutput();
  }
}

TEST_F(DamageTest, ADamagedImageWithoutAnOlderOneIsTheError) {
  ASSERT_OK_AND_ASSIGN(auto parts, ListAll(*store_, keys::ImagePrefix(TimelineId{1}, Txid{1})));
  ASSERT_OK(store_->Delete(parts[0].key));
  auto report = Restore(Txid{5});
  EXPECT_STATUS(report, StatusCode::kNotFound);
  EXPECT_EQ(damage_.key, parts[0].key);
  EXPECT_TRUE(damage_.missing);
}

TEST_F(DamageTest, AnImagePartThatWasSwappedForAWholeOneIsNamed) {
  // Sound in itself, and of the size that the manifest tells: a page of it is another one.
  ASSERT_OK_AND_ASSIGN(auto parts, ListAll(*store_, keys::ImagePrefix(TimelineId{1}, Txid{1})));
  ASSERT_OK_AND_ASSIGN(Bytes part, store_->Get(parts[0].key, 1 << 20));
  ASSERT_OK_AND_ASSIGN(auto frames, ParseImagePart(part, 1024, "part"));
  ImagePartBuilder builder(1024, 1);
  for (const ImageFrame& frame : frames) {
    Bytes pages(size_t{frame.page_count} * 1024);
    ASSERT_OK(DecodeImageFrame(part, frame, 1024, pages, "part"));
    std::vector<PageNumber> numbers;
    for (const PageRun& run : frame.runs) {
      for (uint32_t i = 0; i < run.count; ++i) {
        numbers.push_back(run.first + i);
      }
    }
    std::swap(pages[200], pages[201]);
    pages[300] ^= 1;
    ASSERT_OK(builder.AddFrame(numbers, pages));
  }
  Bytes swapped = builder.Finish();
  ASSERT_OK(store_->Put(parts[0].key, swapped));
  auto report = Restore(Txid{3});
  EXPECT_STATUS(report, StatusCode::kCorruption);
  EXPECT_EQ(damage_.key, parts[0].key);
  EXPECT_EQ(damage_.image, Txid{1});
}

TEST_F(DamageTest, ACommitThatMakesAnotherDatabaseThanItSaysIsNamedAlsoWhenALaterOneIsWanted) {
  const Txid before = source_.history().txid();
  History::Commit wrong;
  wrong.wrong_checksum = true;
  source_.Run("INSERT INTO t(a, b) VALUES('wrong', 1)", wrong);
  source_.Run("INSERT INTO t(a, b) VALUES('right', 2)");
  source_.history().Cut();
  EXPECT_OK(Restore(before));
  RemoveOutput();
  auto report = Restore(before.Next().Next());
  EXPECT_STATUS(report, StatusCode::kCorruption);
  EXPECT_THAT(report.status().message(), HasSubstr("TXID " + FormatTxid(before.Next())));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(DamageTest, AMissingPartOfACommitIsAGapWithTheBestPointBefore) {
  ASSERT_OK_AND_ASSIGN(auto parts, ListAll(*store_, keys::PartPrefix(TimelineId{1})));
  ASSERT_EQ(parts.size(), 1u);
  ASSERT_OK(store_->Delete(parts[0].key));
  EXPECT_STATUS(Restore(Txid{9}), StatusCode::kNotFound);
  EXPECT_EQ(damage_.key, parts[0].key);
  EXPECT_TRUE(damage_.missing);
  EXPECT_EQ(damage_.best, Txid{7});
  EXPECT_OK(Restore(Txid{7}));
}

TEST_F(DamageTest, ASegmentThatGoesAwayBetweenPlanAndReplayIsAGap) {
  FaultStore faulty(store_);
  const std::string key = source_.history().segment_keys().at(2);
  int seen = 0;
  faulty.SetHook([&](StoreOp op, std::string_view asked, int) {
    return op == StoreOp::kGet && asked == key && ++seen == 2 ? NotFoundError("gone")
                                                              : Status::Ok();
  });
  Replica replica(faulty);
  ASSERT_OK(replica.Open());
  Progress progress(false);
  RestoreOptions options;
  options.output = output_;
  options.target = Txid{7};
  EXPECT_STATUS(Restorer(replica, options, progress).Run(&damage_), StatusCode::kNotFound);
  EXPECT_EQ(damage_.key, key);
  EXPECT_TRUE(damage_.missing);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(DamageTest, SegmentsAreFetchedOnce) {
  FaultStore counted(store_);
  std::map<std::string, int> gets;
  std::mutex mutex;
  counted.SetHook([&](StoreOp op, std::string_view key, int) {
    std::lock_guard lock(mutex);
    gets[std::string(key)] += op == StoreOp::kGet ? 1 : 0;
    return Status::Ok();
  });
  Replica replica(counted);
  ASSERT_OK(replica.Open());
  replica.set_keep_bytes(1 << 20);
  Progress progress(false);
  RestoreOptions options;
  options.output = output_;
  ASSERT_OK(Restorer(replica, options, progress).Run(&damage_));
  for (const auto& [key, count] : gets) {
    EXPECT_LE(count, 1) << key;
  }
}

TEST_F(DamageTest, AStoreThatGoesAwayIsNoDamageAndLeavesNothing) {
  int failed = 0;
  for (bool done = false; !done;) {
    FaultStore faulty(store_);
    Replica replica(faulty);
    ASSERT_OK(replica.Open());
    faulty.FailCall(StoreOp::kGet, failed + 1, StatusCode::kUnavailable);
    Progress progress(false);
    RestoreOptions options;
    options.output = output_;
    damage_ = {};
    auto report = Restorer(replica, options, progress).Run(&damage_);
    done = report.ok();
    if (!done) {
      ++failed;
      EXPECT_STATUS(report, StatusCode::kUnavailable);
      EXPECT_EQ(damage_.key, "");
      EXPECT_THAT(Files(), IsEmpty());
    }
  }
  EXPECT_GE(failed, 6);
}

}  // namespace
}  // namespace sqlite_s3

#include "common/replica/replica.h"

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

ReplicaDocument SomeDocument() {
  ReplicaDocument document;
  document.database_id.bytes = {1, 2, 3};
  document.page_size = 4096;
  document.checksum_key.bytes = {9};
  document.created_us = 1'700'000'000'000'000;
  return document;
}

TEST(ReplicaTest, OpensWhatItCreated) {
  MemoryStore store("replica");
  Replica created(store);
  ASSERT_OK(created.Create(SomeDocument(), WriterId{5}));
  Replica opened(store);
  ASSERT_OK(opened.Open());
  EXPECT_EQ(opened.document(), SomeDocument());
  ASSERT_OK_AND_ASSIGN(auto timelines, opened.ListTimelines());
  ASSERT_EQ(timelines.size(), 1u);
  EXPECT_EQ(timelines[0].timeline, TimelineId{1});
  EXPECT_EQ(timelines[0].writer, WriterId{5});
}

TEST(ReplicaTest, NoReplicaIsNotFoundWithAHint) {
  MemoryStore store("nothing here");
  Status status = Replica(store).Open();
  EXPECT_STATUS(status, StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("hint:"));
}

TEST(ReplicaTest, IsCreatedOnce) {
  MemoryStore store("replica");
  ASSERT_OK(Replica(store).Create(SomeDocument(), WriterId{5}));
  EXPECT_STATUS(Replica(store).Create(SomeDocument(), WriterId{6}), StatusCode::kAlreadyExists);
}

TEST(ReplicaTest, CreationThatStoppedHalfWayIsCompletedByTheNext) {
  auto inner = std::make_shared<MemoryStore>("replica");
  FaultStore store(inner);
  store.FailCall(StoreOp::kPutIfAbsent, 2, StatusCode::kUnavailable);
  EXPECT_STATUS(Replica(store).Create(SomeDocument(), WriterId{5}), StatusCode::kUnavailable);
  EXPECT_STATUS(Replica(store).Open(), StatusCode::kNotFound);
  ASSERT_OK(Replica(store).Create(SomeDocument(), WriterId{6}));
  ASSERT_OK(Replica(store).Open());
  ASSERT_OK(Replica(store).ListTimelines());
}

class ListingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(replica_.Open());
    history_.Origin(20);
  }
  Bytes Get(const std::string& key) { return *store_->Get(key, kMaxSegmentBytes); }

  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>("listing");
  FaultStore counted_{store_};
  History history_{*store_};
  Replica replica_{counted_};
};

TEST_F(ListingTest, TimelinesMustHaveTheirParents) {
  history_.Branch(Txid{1}, true);
  history_.Branch(Txid{1}, true);
  ASSERT_OK_AND_ASSIGN(auto timelines, replica_.ListTimelines());
  EXPECT_EQ(timelines.size(), 3u);
  const std::string key = keys::TimelineFile(TimelineId{2});
  const Bytes document = Get(key);
  ASSERT_OK(store_->Delete(key));
  auto listed = replica_.ListTimelines();
  EXPECT_STATUS(listed, StatusCode::kNotFound);
  EXPECT_THAT(listed.status().message(), HasSubstr(key));
  ASSERT_OK(store_->Put(key, Get(keys::TimelineFile(TimelineId{3}))));
  EXPECT_STATUS(replica_.ListTimelines(), StatusCode::kCorruption);
}

TEST_F(ListingTest, ImagesWithAManifestAreListedAscending) {
  history_.Grow(300, 10);
  history_.MakeImage(Txid{0x101});
  history_.MakeImage(Txid{0x20});
  const ImageManifest unfinished = history_.MakeImage(Txid{0x30});
  ASSERT_OK(store_->Delete(keys::ImageManifest(TimelineId{1}, Txid{0x30})));
  for (int parallelism : {1, 4}) {
    replica_.set_parallelism(parallelism);
    ASSERT_OK_AND_ASSIGN(auto images, replica_.ListImages(TimelineId{1}));
    ASSERT_EQ(images.size(), 3u);
    EXPECT_EQ(images[0].txid, Txid{1});
    EXPECT_EQ(images[1].txid, Txid{0x20});
    EXPECT_EQ(images[2].txid, Txid{0x101});
    EXPECT_EQ(images[2].db_checksum, history_.ChecksumAt(Txid{0x101}));
  }
}

TEST_F(ListingTest, ImagesOfManyPartsCostNoListOfThemAll) {
  const std::string prefix = keys::ImagePrefix(TimelineId{1}, Txid{1});
  for (int i = 0; i < 3000; ++i) {
    char name[64];
    std::snprintf(name, sizeof(name), "%016x-%08x.part", 7, i);
    ASSERT_OK(store_->Put(prefix + name, Bytes{1}));
  }
  history_.Grow(1);
  history_.MakeImage(Txid{2});
  counted_.ResetCounts();
  ASSERT_OK_AND_ASSIGN(auto images, replica_.ListImages(TimelineId{1}));
  EXPECT_EQ(images.size(), 2u);
  EXPECT_EQ(counted_.Count(StoreOp::kList), 3) << "one per image, and the empty page";
}

TEST_F(ListingTest, ADamagedManifestIsSkippedAndNamed) {
  history_.Grow(5);
  history_.MakeImage(Txid{3});
  const std::string key = keys::ImageManifest(TimelineId{1}, Txid{3});
  const Bytes whole = Get(key);
  Bytes bent = whole;
  bent[bent.size() / 2] ^= 1;
  const Bytes foreign = Get(keys::ImageManifest(TimelineId{1}, Txid{1}));
  for (const Bytes& bad : {bent, foreign, Bytes{}}) {
    ASSERT_OK(store_->Put(key, bad));
    std::vector<std::string> problems;
    ASSERT_OK_AND_ASSIGN(auto images, replica_.ListImages(TimelineId{1}, &problems));
    EXPECT_EQ(images.size(), 1u);
    EXPECT_THAT(problems, ElementsAre(HasSubstr(key)));
  }
}

TEST_F(ListingTest, ImageHashesAreThoseOfThePages) {
  ASSERT_OK_AND_ASSIGN(auto images, replica_.ListImages(TimelineId{1}));
  ASSERT_OK_AND_ASSIGN(auto hashes, replica_.ReadImageHashes(images[0]));
  ASSERT_EQ(hashes.size(), 20u);
  PageHasher hasher(history_.document().checksum_key);
  uint64_t checksum = 0;
  for (PageNumber n = 1; n <= 20; ++n) {
    EXPECT_EQ(hashes[n - 1], hasher.Hash(n, history_.PageAt(Txid{1}, n)));
    checksum ^= hashes[n - 1];
  }
  EXPECT_EQ(checksum, images[0].db_checksum);
}

TEST_F(ListingTest, DamagedHashesAndPartsAreCorruptionAndMissingOnesNotFound) {
  ASSERT_OK_AND_ASSIGN(auto images, replica_.ListImages(TimelineId{1}));
  const ImageManifest& image = images[0];
  const std::string hashes = keys::ImageHashes(image.timeline, image.txid, image.nonce);
  const std::string part = keys::ImagePart(image.timeline, image.txid, image.nonce, 0);
  for (const std::string& key : {hashes, part}) {
    const auto read = [&] {
      return key == hashes ? replica_.ReadImageHashes(image).status()
                           : replica_.ReadImagePart(image, image.parts[0]).status();
    };
    EXPECT_OK(read());
    const Bytes whole = Get(key);
    Bytes bent = whole;
    bent.back() ^= 1;
    Bytes longer = whole;
    longer.push_back(0);
    const Bytes shorter(whole.begin(), whole.end() - 1);
    for (const Bytes& bad : {bent, longer, shorter, Bytes{}}) {
      ASSERT_OK(store_->Put(key, bad));
      Status status = read();
      EXPECT_STATUS(status, StatusCode::kCorruption);
      EXPECT_THAT(status.message(), HasSubstr(key));
    }
    ASSERT_OK(store_->Delete(key));
    Status status = read();
    EXPECT_STATUS(status, StatusCode::kNotFound);
    EXPECT_THAT(status.message(), HasSubstr(key));
  }
}

TEST_F(ListingTest, MarksAreWrittenOnceAndNeverMoved) {
  const MarkDocument mark{"before-upgrade", TimelineId{1}, Txid{1}, 1'700'000'000'000'000};
  ASSERT_OK(replica_.WriteMark(mark));
  MarkDocument again = mark;
  again.created_us += 5;
  EXPECT_OK(replica_.WriteMark(again));
  again.txid = Txid{2};
  EXPECT_STATUS(replica_.WriteMark(again), StatusCode::kAlreadyExists);
  ASSERT_OK_AND_ASSIGN(MarkDocument read, replica_.ReadMark("before-upgrade"));
  EXPECT_EQ(read, mark);
}

TEST_F(ListingTest, MarksAreListedAndBadNamesRefused) {
  history_.MakeMark("b", Txid{1});
  history_.MakeMark("a", Txid{1});
  ASSERT_OK(store_->Put(keys::Mark("broken"), Bytes{'{'}));
  ASSERT_OK(store_->Put(keys::Mark("copied"), Get(keys::Mark("a"))));
  std::vector<std::string> problems;
  ASSERT_OK_AND_ASSIGN(auto marks, replica_.ListMarks(&problems));
  ASSERT_EQ(marks.size(), 2u);
  EXPECT_EQ(marks[0].name, "a");
  EXPECT_EQ(problems.size(), 2u);
  EXPECT_STATUS(replica_.ReadMark("nobody"), StatusCode::kNotFound);
  EXPECT_STATUS(replica_.ReadMark("../replica"), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sqlite_s3

#include "restore/verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/format/keys.h"
#include "tests/restore/restore_fixture.h"
#include "tests/support/history.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class VerifierTest : public RestoreFixture {
 protected:
  // TXIDs 1..31 one a segment, images of 1, 11 and 21.
  void SetUp() override {
    history_.Origin(10);
    for (int i = 0; i < 30; ++i) {
      history_.CommitRandom();
      history_.Cut();
    }
    history_.MakeImage(Txid{11});
    history_.MakeImage(Txid{21});
  }
  VerifyReport Verify(const RestoreTarget& target = TargetLatest{},
                      std::optional<TimelineId> timeline = std::nullopt) {
    Replica replica(*store_);
    EXPECT_OK(replica.Open());
    Progress progress(false);
    auto report = VerifyReplica(replica, target, timeline, progress);
    EXPECT_OK(report);
    return report.ok() ? *report : VerifyReport();
  }
  // "1:1-31", ranges as text.
  static std::string Ranges(const VerifyReport& report) {
    std::string text;
    for (const RestorableRange& r : report.restorable) {
      text.append(text.empty() ? "" : " ").append(std::to_string(r.timeline.value)).append(":");
      text.append(std::to_string(r.first.value)).append("-").append(std::to_string(r.last.value));
    }
    return text;
  }
  // What a restore says of each TXID must be what the ranges say.
  void ExpectRangesAreTrue(const VerifyReport& report) {
    for (Txid txid{1}; txid <= history_.txid(); txid = txid.Next()) {
      bool claimed = false;
      for (const RestorableRange& r : report.restorable) {
        claimed |= r.timeline == history_.timeline() && txid >= r.first && txid <= r.last;
      }
      auto restored = Restore(txid);
      EXPECT_EQ(restored.ok(), claimed) << FormatTxid(txid);
      if (restored.ok()) {
        RemoveOutput();
      }
    }
  }
  std::string Segment(uint64_t txid) { return keys::LogSegment(TimelineId{1}, Txid{txid}); }
  void Damage(const std::string& key) { ASSERT_OK(store_->Put(key, Bytes{1, 2, 3})); }
  std::string PartOf(Txid image) {
    auto objects = ListAll(*store_, keys::ImagePrefix(TimelineId{1}, image));
    return (*objects)[0].key;
  }

  History history_{*store_};
};

TEST_F(VerifierTest, ReplaysEveryCommitOfASoundReplica) {
  const VerifyReport report = Verify();
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_EQ(report.images, 3u);
  EXPECT_EQ(report.commits, 30u);
  EXPECT_EQ(Ranges(report), "1:1-31");
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(VerifierTest, AMissingSegmentMakesAHoleUpToTheNextImage) {
  ASSERT_OK(store_->Delete(Segment(15)));
  const VerifyReport report = Verify();
  ASSERT_THAT(report.findings, SizeIs(1));
  EXPECT_EQ(report.findings[0].object, Segment(15));
  EXPECT_TRUE(report.findings[0].missing);
  EXPECT_EQ(Ranges(report), "1:1-14 1:21-31");
  ExpectRangesAreTrue(report);
}

TEST_F(VerifierTest, ADamagedSegmentAfterTheLastImageCutsOffTheRest) {
  Damage(Segment(25));
  const VerifyReport report = Verify();
  ASSERT_THAT(report.findings, SizeIs(1));
  EXPECT_EQ(report.findings[0].object, Segment(25));
  EXPECT_FALSE(report.findings[0].missing);
  EXPECT_EQ(Ranges(report), "1:1-24");
  ExpectRangesAreTrue(report);
}

TEST_F(VerifierTest, ADamagedImageCostsNoRestorePointWhileTheLogReachesFurtherBack) {
  const std::string part = PartOf(Txid{11});
  Damage(part);
  const VerifyReport report = Verify();
  ASSERT_THAT(report.findings, SizeIs(1));
  EXPECT_EQ(report.findings[0].object, part);
  EXPECT_EQ(Ranges(report), "1:1-31");
  EXPECT_EQ(report.images, 2u);
  ExpectRangesAreTrue(report);
}

TEST_F(VerifierTest, ADamagedFirstImageCostsWhatOnlyItLeadsTo) {
  Damage(PartOf(Txid{1}));
  const VerifyReport report = Verify();
  EXPECT_THAT(report.findings, SizeIs(1));
  EXPECT_EQ(Ranges(report), "1:11-31");
  ExpectRangesAreTrue(report);
}

TEST_F(VerifierTest, NamesEveryDamagedObjectOnce) {
  Damage(Segment(5));
  Damage(PartOf(Txid{11}));
  ASSERT_OK(store_->Delete(Segment(18)));
  Damage(Segment(28));
  const VerifyReport report = Verify();
  EXPECT_EQ(Ranges(report), "1:1-4 1:21-27");
  std::set<std::string> objects;
  for (const VerifyFinding& finding : report.findings) {
    EXPECT_TRUE(objects.insert(finding.object).second) << finding.object;
  }
  EXPECT_TRUE(objects.contains(Segment(5)));
  EXPECT_TRUE(objects.contains(Segment(28)));
  ExpectRangesAreTrue(report);
}

TEST_F(VerifierTest, LooksAtManifestsHashesAndMarksToo) {
  history_.MakeMark("fine", Txid{7});
  history_.MakeMark("lost", Txid{31});
  ASSERT_OK(store_->Delete(Segment(30)));
  Damage(keys::Mark("broken"));
  Damage(keys::ImageManifest(TimelineId{1}, Txid{11}));
  auto objects = ListAll(*store_, keys::ImagePrefix(TimelineId{1}, Txid{21}));
  for (const ObjectInfo& object : *objects) {
    if (object.key.ends_with(".hashes")) {
      ASSERT_OK(store_->Delete(object.key));
    }
  }
  const VerifyReport report = Verify();
  std::set<std::string> found;
  for (const VerifyFinding& finding : report.findings) {
    found.insert(finding.object);
    EXPECT_THAT(finding.message, HasSubstr(finding.object));
  }
  EXPECT_THAT(found, SizeIs(5));
  EXPECT_TRUE(found.contains(keys::Mark("lost")));
  EXPECT_TRUE(found.contains(keys::Mark("broken")));
  EXPECT_FALSE(found.contains(keys::Mark("fine")));
  EXPECT_TRUE(found.contains(keys::ImageManifest(TimelineId{1}, Txid{11})));
  EXPECT_EQ(Ranges(report), "1:1-29");
}

TEST_F(VerifierTest, GoesOverEveryTimeline) {
  history_.Branch(Txid{25}, true);
  history_.Grow(5, 1);
  const VerifyReport sound = Verify();
  EXPECT_THAT(sound.findings, IsEmpty());
  EXPECT_EQ(Ranges(sound), "1:21-31 2:1-30") << "what they share is replayed once";
  Damage(Segment(28));  // of the part that only the old line has
  const VerifyReport report = Verify();
  EXPECT_THAT(report.findings, SizeIs(1));
  EXPECT_EQ(Ranges(report), "1:21-27 2:1-30");
  EXPECT_THAT(Verify(TargetLatest{}, TimelineId{2}).findings, IsEmpty());
}

TEST_F(VerifierTest, StopsAtItsTarget) {
  Damage(Segment(15));
  const VerifyReport report = Verify(Txid{13});
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_EQ(Ranges(report), "1:1-13");
}

TEST_F(VerifierTest, ALineWithoutAnImageIsAFinding) {
  for (uint64_t image : {1u, 11u, 21u}) {
    ASSERT_OK(store_->Delete(keys::ImageManifest(TimelineId{1}, Txid{image})));
  }
  const VerifyReport report = Verify();
  ASSERT_THAT(report.findings, SizeIs(1));
  EXPECT_THAT(report.findings[0].message, HasSubstr("no complete image"));
  EXPECT_THAT(report.restorable, IsEmpty());
}

}  // namespace
}  // namespace sqlite_s3

#include "common/format/keys.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sqlite_s3 {
namespace {

constexpr TimelineId kLine{0x1a};
constexpr Txid kTxid{0x2b};
constexpr uint64_t kNonce = 0x00c0ffee00c0ffee;

TEST(KeysTest, SpellsEveryKeyWithFixedWidths) {
  EXPECT_EQ(keys::Replica(), "replica.json");
  EXPECT_EQ(keys::TimelinesPrefix(), "timelines/");
  EXPECT_EQ(keys::TimelineFile(kLine), "timelines/0000001a.json");
  EXPECT_EQ(keys::LogPrefix(kLine), "0000001a/log/");
  EXPECT_EQ(keys::LogSegment(kLine, kTxid), "0000001a/log/000000000000002b.seg");
  EXPECT_EQ(keys::PartPrefix(kLine), "0000001a/part/");
  EXPECT_EQ(keys::Part(kLine, kNonce, 7), "0000001a/part/00c0ffee00c0ffee-00000007");
  EXPECT_EQ(keys::RollupPrefix(kLine), "0000001a/rollup/");
  EXPECT_EQ(keys::Rollup(kLine, kTxid, {0x2c}),
            "0000001a/rollup/000000000000002b-000000000000002c.seg");
  EXPECT_EQ(keys::ImagesPrefix(kLine), "0000001a/image/");
  EXPECT_EQ(keys::ImagePrefix(kLine, kTxid), "0000001a/image/000000000000002b/");
  EXPECT_EQ(keys::ImageManifest(kLine, kTxid), "0000001a/image/000000000000002b/manifest.json");
  EXPECT_EQ(keys::ImagePart(kLine, kTxid, kNonce, 7),
            "0000001a/image/000000000000002b/00c0ffee00c0ffee-00000007.part");
  EXPECT_EQ(keys::ImageHashes(kLine, kTxid, kNonce),
            "0000001a/image/000000000000002b/00c0ffee00c0ffee.hashes");
  EXPECT_EQ(keys::MarksPrefix(), "marks/");
  EXPECT_EQ(keys::Mark("before-v2"), "marks/before-v2.json");
}

TEST(KeysTest, ParsesWhatItSpells) {
  EXPECT_EQ(keys::ParseTimelineFile(keys::TimelineFile(kLine)), kLine);
  auto log = keys::ParseLogSegment(keys::LogSegment(kLine, kTxid));
  ASSERT_TRUE(log);
  EXPECT_EQ(log->timeline, kLine);
  EXPECT_EQ(log->first, kTxid);
  auto part = keys::ParsePart(keys::Part(kLine, kNonce, 7));
  ASSERT_TRUE(part);
  EXPECT_EQ(part->timeline, kLine);
  EXPECT_EQ(part->nonce, kNonce);
  EXPECT_EQ(part->number, 7u);
  auto rollup = keys::ParseRollup(keys::Rollup(kLine, kTxid, kTxid));
  ASSERT_TRUE(rollup);
  EXPECT_EQ(rollup->timeline, kLine);
  EXPECT_EQ(rollup->first, kTxid);
  EXPECT_EQ(rollup->last, kTxid);
  auto manifest = keys::ParseImageManifest(keys::ImageManifest(kLine, kTxid));
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->timeline, kLine);
  EXPECT_EQ(manifest->txid, kTxid);
  auto image_part = keys::ParseImagePart(keys::ImagePart(kLine, kTxid, kNonce, 7));
  ASSERT_TRUE(image_part);
  EXPECT_EQ(image_part->timeline, kLine);
  EXPECT_EQ(image_part->txid, kTxid);
  EXPECT_EQ(image_part->nonce, kNonce);
  EXPECT_EQ(image_part->number, 7u);
  auto hashes = keys::ParseImageHashes(keys::ImageHashes(kLine, kTxid, kNonce));
  ASSERT_TRUE(hashes);
  EXPECT_EQ(hashes->timeline, kLine);
  EXPECT_EQ(hashes->nonce, kNonce);
  EXPECT_EQ(keys::ParseMark(keys::Mark("a.json")), "a.json");
}

TEST(KeysTest, LargestNumbersRoundTrip) {
  TimelineId line{0xffffffff};
  Txid txid{0xffffffffffffffff};
  auto log = keys::ParseLogSegment(keys::LogSegment(line, txid));
  ASSERT_TRUE(log);
  EXPECT_EQ(log->timeline, line);
  EXPECT_EQ(log->first, txid);
}

TEST(KeysTest, SortsByTxidAsText) {
  EXPECT_LT(keys::LogSegment(kLine, {9}), keys::LogSegment(kLine, {10}));
  EXPECT_LT(keys::LogSegment(kLine, {0xff}), keys::LogSegment(kLine, {0x100}));
}

// Whether any parser takes it.
bool Known(std::string_view key) {
  return keys::ParseTimelineFile(key) || keys::ParseLogSegment(key) || keys::ParsePart(key) ||
         keys::ParseRollup(key) || keys::ParseImageManifest(key) || keys::ParseImagePart(key) ||
         keys::ParseImageHashes(key) || keys::ParseMark(key);
}

TEST(KeysTest, ParsersTakeNothingElse) {
  for (const char* key : {"",
                          "/",
                          "replica.json",
                          "timelines/",
                          "timelines/1.json",
                          "timelines/0000001A.json",
                          "timelines/00000000.json",
                          "timelines/0000001a.jsonx",
                          "timelines/0000001a.JSON",
                          "xtimelines/0000001a.json",
                          "timelines/000000001a.json",
                          "timelines/0000001g.json",
                          "0000001a/log/",
                          "0000001a/log/2b.seg",
                          "0000001a/log/000000000000002B.seg",
                          "0000001a/log/0000000000000000.seg",
                          "00000000/log/000000000000002b.seg",
                          "0000001a/log/000000000000002b.seg/",
                          "0000001a/log/000000000000002b.seg.tmp",
                          "0000001a/log/ 00000000000002b.seg",
                          "0000001a/log/+00000000000002b.seg",
                          "0000001a/log/0x0000000000002b.seg",
                          "0000001a//log/000000000000002b.seg",
                          "/0000001a/log/000000000000002b.seg",
                          "p/0000001a/log/000000000000002b.seg",
                          "0000001a/part/00c0ffee00c0ffee-7",
                          "0000001a/part/00c0ffee00c0ffee_00000007",
                          "0000001a/part/00c0ffee00c0ffee-00000007.part",
                          "0000001a/rollup/000000000000002c-000000000000002b.seg",
                          "0000001a/rollup/0000000000000000-000000000000002b.seg",
                          "0000001a/rollup/000000000000002b.seg",
                          "0000001a/image/000000000000002b/manifest.jso",
                          "0000001a/image/000000000000002b/",
                          "0000001a/image/0000000000000000/manifest.json",
                          "0000001a/image/000000000000002b/00c0ffee00c0ffee.part",
                          "0000001a/image/000000000000002b/00c0ffee00c0ffee-00000007.hashes",
                          "marks/",
                          "marks/.json",
                          "marks/..json",
                          "marks/a/b.json",
                          "marks/a",
                          "marks/a.jsonx",
                          "marks/a b.json",
                          "marks/\xc3\xa4.json",
                          "mark/a.json",
                          "marks.json"}) {
    EXPECT_FALSE(Known(key)) << key;
  }
  EXPECT_FALSE(Known(std::string_view("marks/a\0.json", 13)));
}

TEST(KeysTest, EveryChangedCharacterOfAKeyIsRefusedOrMeansAnotherObject) {
  const std::string key = keys::LogSegment(kLine, kTxid);
  for (size_t i = 0; i < key.size(); ++i) {
    for (int c = 0; c < 256; ++c) {
      std::string changed = key;
      changed[i] = static_cast<char>(c);
      auto parsed = keys::ParseLogSegment(changed);
      if (parsed) {
        EXPECT_EQ(keys::LogSegment(parsed->timeline, parsed->first), changed);
      }
    }
  }
}

TEST(KeysTest, MarkNamesAreShortAndPlain) {
  const std::string longest(100, 'a');
  for (const std::string& name :
       std::vector<std::string>{"a", "A-z_0.9", "-", "_", "a.", "release-1.2.3", longest}) {
    EXPECT_TRUE(keys::ValidateMarkName(name).ok()) << name;
    EXPECT_EQ(keys::ParseMark(keys::Mark(name)), name);
  }
  for (const std::string& name : std::vector<std::string>{
           "", ".", "..", ".hidden", "a/b", "a b", "a\n", "a\\b", "ä", "a*", longest + "a"}) {
    EXPECT_EQ(keys::ValidateMarkName(name).code(), StatusCode::kInvalidArgument) << name;
    EXPECT_FALSE(keys::ParseMark(keys::Mark(name))) << name;
  }
}

}  // namespace
}  // namespace sqlite_s3

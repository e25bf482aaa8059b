// Every rule of a record, told to the writer and, past the writer, to the reader.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "common/base/time.h"
#include "common/format/segment.h"
#include "common/format/segment_rules.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

Status AddOne(const SegmentHeader& header, const CommitRecord& record, const Bytes& chunks) {
  SegmentBuilder builder(header);
  return builder.Add(record, chunks);
}

struct RecordCase {
  const char* name;
  std::function<void(CommitRecord&)> breakit;
};

const std::vector<RecordCase>& BadRecords() {
  static const std::vector<RecordCase> cases = {
      {"time before 1970", [](CommitRecord& r) { r.time_us = -1; }},
      {"time after 9999", [](CommitRecord& r) { r.time_us = kMaxTimeMicros + 1; }},
      {"unknown flag", [](CommitRecord& r) { r.flags = 64; }},
      {"no pages in the database", [](CommitRecord& r) { r.page_count = 0, r.pages.clear(); }},
      {"too many pages in the database", [](CommitRecord& r) { r.page_count = 0xffffffff; }},
      {"page 0",
       [](CommitRecord& r) {
         r.pages = {0, 1};
       }},
      {"page twice",
       [](CommitRecord& r) {
         r.pages = {1, 1};
       }},
      {"pages not ascending",
       [](CommitRecord& r) {
         r.pages = {2, 1};
       }},
      {"page beyond the end",
       [](CommitRecord& r) {
         r.pages = {1, 4};
       }},
      {"lock-byte page",
       [](CommitRecord& r) {
         r.page_count = kMaxPageCount;
         r.pages = {LockBytePage(512)};
       }},
      {"origin with pages", [](CommitRecord& r) { r.flags = kCommitOrigin, r.wal_frames = 0; }},
      {"origin with frames",
       [](CommitRecord& r) { r.flags = kCommitOrigin, r.pages.clear(), r.wal_frames = 1; }},
      {"resync with frames", [](CommitRecord& r) { r.flags = kCommitResync, r.wal_frames = 1; }},
      {"parts without the flag",
       [](CommitRecord& r) {
         r.parts = {{1, 1, 100, DigestOf(1), 1}};
       }},
      {"the flag without parts", [](CommitRecord& r) { r.flags = kCommitInParts; }},
      {"parts without pages",
       [](CommitRecord& r) {
         r.flags = kCommitInParts;
         r.pages.clear();
         r.parts = {{1, 1, 100, DigestOf(1), 1}};
       }},
      {"part without chunks",
       [](CommitRecord& r) {
         r.flags = kCommitInParts;
         r.parts = {{1, 1, 100, DigestOf(1), 1}, {1, 2, 100, DigestOf(1), 0}};
       }},
      {"more chunks than pages",
       [](CommitRecord& r) {
         r.flags = kCommitInParts;
         r.parts = {{1, 1, 100, DigestOf(1), 2}};
       }},
      {"part too small for its chunks",
       [](CommitRecord& r) {
         r.flags = kCommitInParts;
         r.parts = {{1, 1, 10, DigestOf(1), 1}};
       }},
      {"part too large for its chunks",
       [](CommitRecord& r) {
         r.flags = kCommitInParts;
         r.parts = {{1, 1, uint64_t{1} << 40, DigestOf(1), 1}};
       }},
  };
  return cases;
}

TEST(SegmentRulesTest, TheWriterRefusesARecordThatBreaksARule) {
  for (const RecordCase& c : BadRecords()) {
    CommitRecord record = SampleCommit({1, 2}, 3);
    c.breakit(record);
    Status s = AddOne(SampleHeader(), record, FilledChunks(record, 512));
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument) << c.name;
    EXPECT_NE(s.message().find("0000000000000002"), std::string::npos) << s.message();
  }
}

TEST(SegmentRulesTest, ARefusedRecordLeavesTheBuilderAsItWas) {
  auto good = SampleCommit({1, 2}, 3);
  SegmentBuilder builder(SampleHeader());
  ASSERT_TRUE(builder.Add(good, FilledChunks(good, 512)).ok());
  for (const RecordCase& c : BadRecords()) {
    CommitRecord record = good;
    c.breakit(record);
    EXPECT_FALSE(builder.Add(record, FilledChunks(record, 512)).ok()) << c.name;
  }
  ASSERT_TRUE(builder.Add(good, FilledChunks(good, 512)).ok());
  auto finished = builder.Finish({});
  ASSERT_TRUE(finished.ok());
  EXPECT_EQ(finished->bytes, BuildSegment(SampleHeader(), {good, good}).bytes);
}

TEST(SegmentRulesTest, TheWriterRefusesChunksThatAreNotThePages) {
  Bytes one = FilledChunk(512, 1);
  auto commit = SampleCommit({1}, 3);
  auto empty = SampleCommit({}, 3);
  EXPECT_TRUE(AddOne(SampleHeader(), commit, one).ok());
  EXPECT_TRUE(AddOne(SampleHeader(), empty, {}).ok());
  EXPECT_FALSE(AddOne(SampleHeader(), commit, {}).ok());
  EXPECT_FALSE(AddOne(SampleHeader(), commit, one + one).ok());
  EXPECT_FALSE(AddOne(SampleHeader(), commit, one + Bytes{1}).ok());
  EXPECT_FALSE(AddOne(SampleHeader(), empty, one).ok());
  CommitRecord in_parts = commit;
  in_parts.flags = kCommitInParts;
  in_parts.parts = {{1, 0, 100, DigestOf(1), 1}};
  EXPECT_TRUE(AddOne(SampleHeader(), in_parts, {}).ok());
  EXPECT_FALSE(AddOne(SampleHeader(), in_parts, one).ok());
}

TEST(SegmentRulesTest, TheWriterRefusesAHeaderThatBreaksARule) {
  struct Case {
    const char* name;
    std::function<void(SegmentHeader&)> breakit;
  };
  const std::vector<Case> cases = {
      {"kind", [](SegmentHeader& h) { h.kind = static_cast<SegmentKind>(3); }},
      {"page size 0", [](SegmentHeader& h) { h.page_size = 0; }},
      {"page size 256", [](SegmentHeader& h) { h.page_size = 256; }},
      {"page size 1000", [](SegmentHeader& h) { h.page_size = 1000; }},
      {"page size 131072", [](SegmentHeader& h) { h.page_size = 131072; }},
      {"timeline 0", [](SegmentHeader& h) { h.timeline = {0}; }},
      {"TXID 0", [](SegmentHeader& h) { h.first_txid = {0}; }},
      {"last TXID", [](SegmentHeader& h) { h.first_txid = {0xffffffffffffffff}; }},
      {"start page count", [](SegmentHeader& h) { h.start_page_count = 0xffffffff; }},
      {"key id", [](SegmentHeader& h) { h.key_id = 65536; }},
  };
  for (const Case& c : cases) {
    SegmentHeader header = SampleHeader();
    c.breakit(header);
    EXPECT_EQ(AddOne(header, SampleCommit({}, 3), {}).code(), StatusCode::kInvalidArgument)
        << c.name;
  }
}

TEST(SegmentRulesTest, TxidsEndBeforeTheyOverflow) {
  SegmentHeader header = SampleHeader();
  header.first_txid = {std::numeric_limits<uint64_t>::max() - 2};
  SegmentBuilder builder(header);
  auto commit = SampleCommit({}, 3);
  EXPECT_TRUE(builder.Add(commit, {}).ok());
  EXPECT_TRUE(builder.Add(commit, {}).ok());
  EXPECT_EQ(builder.Add(commit, {}).code(), StatusCode::kInvalidArgument);
  auto finished = builder.Finish({});
  ASSERT_TRUE(finished.ok());
  auto segment = ParseSegment(finished->bytes, "k");
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ(segment->header.last_txid().value, std::numeric_limits<uint64_t>::max() - 1);
}

TEST(SegmentRulesTest, TheBoundOfAChunkIsThatOfZstd) {
  EXPECT_EQ(kMaxChunkFrameBytes, ZstdFrameBound(kChunkBytes));
}

}  // namespace
}  // namespace sqlite_s3

// Objects as version 1 writes them, committed: every later program must read them, and write the
// same layout. SQLITE_S3_UPDATE_GOLDEN=1 in the environment writes them anew; that is a new format.
// What zstd made is stored here as bytes: its output may change from one version to the next.
#include <gtest/gtest.h>

#include <cstdlib>

#include "common/base/hash.h"
#include "common/format/documents.h"
#include "common/format/image_part.h"
#include "common/format/segment.h"
#include "tests/common/format/document_samples.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

bool Update() { return std::getenv("SQLITE_S3_UPDATE_GOLDEN") != nullptr; }

void ExpectGolden(const std::string& name, ByteSpan bytes) {
  if (Update()) {
    WriteGolden(name, bytes);
  }
  EXPECT_EQ(HexEncode(ReadGolden(name)), HexEncode(bytes)) << name;
}

// --- segment -------------------------------------------------------------------------------------

// Page 2 before and after the second commit: 512 bytes that hold no repetition, and the same with a
// word in the middle.
Bytes OldPage2() {
  Bytes page(512);
  uint32_t x = 1;
  for (uint8_t& b : page) {
    x = x * 1664525 + 1013904223;
    b = static_cast<uint8_t>(x >> 24);
  }
  return page;
}
Bytes NewPage2() {
  Bytes page = OldPage2();
  std::string_view word = "changed";
  std::copy(word.begin(), word.end(), page.begin() + 200);
  return page;
}
// Page 2 over its old version, then page 4, which is new and all 'n'; level 3 of zstd 1.5.4.
constexpr std::string_view kDeltaChunk =
    "1f28b52ffd0008b50000406368616e6765646e0300fc3855b800d58a03280104";

struct Golden {
  SegmentHeader header = SampleHeader();
  WalPosition end{0x51, 0x52, 5, 0xc1, 0xc2};
  std::vector<CommitRecord> commits;
  std::vector<Bytes> chunks;

  Golden() {
    // A whole page; a delta and a new page; a commit in parts.
    commits = {SampleCommit({1}, 3), SampleCommit({2, 4}, 4, 1500), SampleCommit({1, 3}, 4, 2500)};
    commits[0].flags = kCommitWholePages;
    commits[0].db_checksum = 0xa1a2a3a4a5a6a7a8;
    commits[1].db_checksum = 0xb1b2b3b4b5b6b7b8;
    commits[2].db_checksum = 0xc1c2c3c4c5c6c7c8;
    commits[2].flags = kCommitInParts | kCommitTimeUpperBound;
    commits[2].parts = {{0x00c0ffee00c0ffee, 0, 1234, DigestOf(0xcc), 1}};
    chunks = {FilledChunk(512, 'w'), FromHex(kDeltaChunk), {}};
  }
};

TEST(GoldenTest, TheWriterWritesTheGoldenSegment) {
  Golden golden;
  SegmentBuilder builder(golden.header);
  for (size_t i = 0; i < golden.commits.size(); ++i) {
    Status s = builder.Add(golden.commits[i], golden.chunks[i]);
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
  auto finished = builder.Finish(golden.end);
  ASSERT_TRUE(finished.ok());
  ExpectGolden("segment_v1.seg", finished->bytes);
}

TEST(GoldenTest, TheReaderReadsTheGoldenSegment) {
  Golden golden;
  auto segment = ParseSegment(ReadGolden("segment_v1.seg"), "00000001/log/0000000000000002.seg");
  ASSERT_TRUE(segment.ok()) << segment.status().ToString();
  golden.header.commit_count = 3;
  golden.header.end = golden.end;
  EXPECT_EQ(segment->header, golden.header);
  EXPECT_EQ(segment->commits, golden.commits);

  ChunkDecoder decoder;
  ByteReader whole(segment->chunk_data[0]);
  Bytes page(512);
  ASSERT_TRUE(decoder.Next(whole, {}, page).ok());
  EXPECT_EQ(page, Bytes(512, 'w'));
  ByteReader delta(segment->chunk_data[1]);
  Bytes pages(1024);
  Status s = decoder.Next(delta, OldPage2(), pages);
  ASSERT_TRUE(s.ok()) << s.ToString();
  EXPECT_EQ(pages, NewPage2() + Bytes(512, 'n'));
  EXPECT_TRUE(segment->chunk_data[2].empty());
}

TEST(GoldenTest, TheEncoderStillWritesDeltasOfThatSize) {
  ChunkEncoder encoder(3);
  Bytes chunk;
  ASSERT_TRUE(encoder.Append(NewPage2() + Bytes(512, 'n'), OldPage2(), chunk).ok());
  EXPECT_LE(chunk.size(), FromHex(kDeltaChunk).size() + 8) << HexEncode(chunk);
}

// --- image part ----------------------------------------------------------------------------------

// The layout spelled by hand around the frames of `part`.
Bytes SpelledPart(ByteSpan part, uint64_t index_offset, const Bytes& index, uint32_t frames,
                  uint32_t pages) {
  const Bytes header = {'s', 'q', '3', 'i', 1, 0, 9, 0};  // version 1, 2^9 bytes a page
  Bytes footer = index;
  ByteWriter out(footer);
  out.U64(index_offset);
  out.U32(frames);
  out.U32(pages);
  Digest digest = ComputeDigest(footer + header);
  out.Raw(digest.bytes);
  Bytes frame_bytes(part.begin() + 8, part.begin() + static_cast<std::ptrdiff_t>(index_offset));
  return header + frame_bytes + footer + header;
}

// Frames of pages 1..3 and of 5, 6, 8; every page is filled with its number.
const std::vector<std::vector<PageNumber>> kFrames = {{1, 2, 3}, {5, 6, 8}};

Bytes ContentOf(const std::vector<PageNumber>& pages) {
  Bytes out;
  for (PageNumber page : pages) {
    out = out + Bytes(512, static_cast<uint8_t>(page));
  }
  return out;
}

Bytes WrittenPart() {
  ImagePartBuilder builder(512, 1);
  for (const auto& pages : kFrames) {
    EXPECT_TRUE(builder.AddFrame(pages, ContentOf(pages)).ok());
  }
  return builder.Finish();
}

void ExpectPart(const Bytes& part) {
  auto frames = ParseImagePart(part, 512, "k");
  ASSERT_TRUE(frames.ok()) << frames.status().ToString();
  ASSERT_EQ(frames->size(), 2u);
  EXPECT_EQ((*frames)[0].runs, (std::vector<PageRun>{{1, 3}}));
  EXPECT_EQ((*frames)[1].runs, (std::vector<PageRun>{{5, 2}, {8, 1}}));
  for (size_t i = 0; i < 2; ++i) {
    Bytes out(3 * 512);
    Status s = DecodeImageFrame(part, (*frames)[i], 512, out, "k");
    ASSERT_TRUE(s.ok()) << s.ToString();
    EXPECT_EQ(out, ContentOf(kFrames[i]));
  }
  const ImageFrame& last = (*frames)[1];
  Bytes index;
  for (uint32_t b : {(*frames)[0].size_bytes, 1u, 1u, 3u, last.size_bytes, 2u, 5u, 2u, 1u, 1u}) {
    index.push_back(static_cast<uint8_t>(b));
  }
  EXPECT_EQ(HexEncode(part),
            HexEncode(SpelledPart(part, last.offset + last.size_bytes, index, 2, 6)));
}

TEST(GoldenTest, TheWriterWritesTheLayoutOfTheGoldenImagePart) {
  if (Update()) {
    WriteGolden("image_part_v1.part", WrittenPart());
  }
  ExpectPart(WrittenPart());
}

TEST(GoldenTest, TheReaderReadsTheGoldenImagePart) { ExpectPart(ReadGolden("image_part_v1.part")); }

// --- documents -----------------------------------------------------------------------------------

TEST(GoldenTest, TheReplicaDocumentIsTheGoldenOne) {
  ExpectGolden("replica_v1.json", AsBytes(FormatReplicaDocument(SampleReplica())));
  auto parsed = ParseReplicaDocument(AsText(ReadGolden("replica_v1.json")), "k");
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(*parsed, SampleReplica());
}

TEST(GoldenTest, TheTimelineDocumentIsTheGoldenOne) {
  ExpectGolden("timeline_v1.json", AsBytes(FormatTimelineDocument(SampleTimeline())));
  auto parsed = ParseTimelineDocument(AsText(ReadGolden("timeline_v1.json")), "k");
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(*parsed, SampleTimeline());
}

TEST(GoldenTest, TheMarkDocumentIsTheGoldenOne) {
  ExpectGolden("mark_v1.json", AsBytes(FormatMarkDocument(SampleMark())));
  auto parsed = ParseMarkDocument(AsText(ReadGolden("mark_v1.json")), "k");
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(*parsed, SampleMark());
}

TEST(GoldenTest, TheImageManifestIsTheGoldenOne) {
  ExpectGolden("image_manifest_v1.json", AsBytes(FormatImageManifest(SampleManifest())));
  auto parsed = ParseImageManifest(AsText(ReadGolden("image_manifest_v1.json")), "k");
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(*parsed, SampleManifest());
}

// docs/FORMAT.md gives these as test vectors for other implementations.
TEST(GoldenTest, PageHashesAreThoseOfTheSpecification) {
  PageHasher hasher(SampleReplica().checksum_key);
  EXPECT_EQ(hasher.Hash(1, Bytes(512, 0)), 0x0fd9261af26fd4a4u);
  EXPECT_EQ(hasher.Hash(2, Bytes(512, 0)), 0xd5960173139da1f2u);
  EXPECT_EQ(hasher.Hash(2, OldPage2()), 0xc1939c8ee5738a50u);
}

}  // namespace
}  // namespace sqlite_s3

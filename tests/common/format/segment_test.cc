#include "common/format/segment.h"

#include <gtest/gtest.h>

#include <random>

#include "common/base/time.h"
#include "common/format/keys.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

// Ascending pages without the lock-byte page, at most `page_count`.
std::vector<PageNumber> RandomPages(std::mt19937_64& random, uint32_t page_count,
                                    uint32_t page_size) {
  std::vector<PageNumber> pages;
  size_t wanted = random() % 40;
  for (uint64_t page = 0; pages.size() < wanted;) {
    page += 1 + (random() % 3 == 0 ? random() % 100'000 : 0);
    if (page > page_count) {
      break;
    }
    if (page != LockBytePage(page_size)) {
      pages.push_back(static_cast<PageNumber>(page));
    }
  }
  return pages;
}

CommitRecord RandomCommit(std::mt19937_64& random, uint32_t page_size) {
  CommitRecord r;
  r.time_us = random() % 4 == 0 ? static_cast<int64_t>(random() % uint64_t{kMaxTimeMicros})
                                : kNow + static_cast<int64_t>(random() % 1'000'000);
  r.page_count = static_cast<uint32_t>(1 + random() % kMaxPageCount);
  r.wal_frames = static_cast<uint32_t>(random());
  r.db_checksum = random();
  r.flags = static_cast<uint8_t>(random() % 64);
  if ((r.flags & kCommitOrigin) == 0) {
    r.pages = RandomPages(random, r.page_count, page_size);
  }
  if ((r.flags & (kCommitOrigin | kCommitResync)) != 0) {
    r.wal_frames = 0;
  }
  uint32_t chunks = ChunkCount(r.pages.size(), page_size);
  if (chunks == 0) {
    r.flags &= static_cast<uint8_t>(~kCommitInParts);
  }
  if ((r.flags & kCommitInParts) != 0) {
    for (uint32_t i = 0; i < chunks; ++i) {
      r.parts.push_back({random(), static_cast<uint32_t>(random()), 11 + random() % 1'000'000,
                         DigestOf(static_cast<uint8_t>(random())), 1});
    }
  }
  return r;
}

TEST(SegmentTest, RandomRecordsRoundTripForEveryPageSize) {
  std::mt19937_64 random(1);
  for (uint32_t page_size = kMinPageSize; page_size <= kMaxPageSize; page_size *= 2) {
    for (int round = 0; round < 20; ++round) {
      SegmentHeader header = SampleHeader(page_size);
      header.kind = round % 2 == 0 ? SegmentKind::kLog : SegmentKind::kRollup;
      header.first_txid = {1 + random() % (uint64_t{1} << (1 + random() % 63))};
      header.timeline = {static_cast<uint32_t>(1 + random() % 0xffffffff)};
      header.start_page_count = static_cast<uint32_t>(random() % kMaxPageCount);
      header.start_checksum = random();
      header.writer = {random()};
      WalPosition end{static_cast<uint32_t>(random()), static_cast<uint32_t>(random()),
                      static_cast<uint32_t>(random()), static_cast<uint32_t>(random()),
                      static_cast<uint32_t>(random())};
      std::vector<CommitRecord> commits;
      for (size_t n = 1 + random() % 12; commits.size() < n;) {
        commits.push_back(RandomCommit(random, page_size));
      }
      auto finished = BuildSegment(header, commits, end);
      header.commit_count = static_cast<uint32_t>(commits.size());
      header.end = end;
      EXPECT_EQ(finished.header, header);

      auto segment = ParseSegment(finished.bytes, "k");
      ASSERT_TRUE(segment.ok()) << segment.status().ToString();
      EXPECT_EQ(segment->header, header);
      EXPECT_EQ(segment->commits, commits);
      EXPECT_EQ(segment->digest, finished.digest);
      EXPECT_EQ(segment->object_size_bytes, finished.bytes.size());
      ASSERT_EQ(segment->chunk_data.size(), commits.size());
      for (size_t i = 0; i < commits.size(); ++i) {
        ByteSpan data = segment->chunk_data[i];
        EXPECT_EQ(Bytes(data.begin(), data.end()), FilledChunks(commits[i], page_size));
      }
    }
  }
}

TEST(SegmentTest, SpansStayValidWhenTheSegmentIsMoved) {
  auto commit = SampleCommit({1}, 3);
  auto parsed = ParseSegment(BuildSegment(SampleHeader(), {commit}).bytes, "k");
  ASSERT_TRUE(parsed.ok());
  Segment moved = std::move(parsed).value();
  EXPECT_GE(moved.chunk_data[0].data(), moved.bytes.data());
  EXPECT_LE(moved.chunk_data[0].data() + moved.chunk_data[0].size(),
            moved.bytes.data() + moved.bytes.size());
  EXPECT_TRUE(CheckChunks(moved.chunk_data[0], 1).ok());
}

TEST(SegmentTest, ACommitOfSeveralChunksRoundTrips) {
  std::vector<PageNumber> pages;
  for (PageNumber p = 1; p <= 2 * PagesPerChunk(65536) + 1; ++p) {
    pages.push_back(p);
  }
  auto commit = SampleCommit(pages, 100);
  auto segment = ParseSegment(BuildSegment(SampleHeader(65536), {commit}).bytes, "k");
  ASSERT_TRUE(segment.ok()) << segment.status().ToString();
  EXPECT_TRUE(CheckChunks(segment->chunk_data[0], 3).ok());
  ChunkDecoder decoder;
  ByteReader in(segment->chunk_data[0]);
  Bytes first(kChunkBytes);
  ASSERT_TRUE(decoder.Next(in, {}, first).ok());
  EXPECT_EQ(first, Bytes(kChunkBytes, 0x5a));
  ASSERT_TRUE(decoder.Next(in, {}, first).ok());
  Bytes last(65536);
  ASSERT_TRUE(decoder.Next(in, {}, last).ok());
  EXPECT_EQ(in.remaining(), 0u);
}

TEST(SegmentTest, TheTableAloneHasTheSameRecordsAndNoPages) {
  auto finished = BuildSegment(SampleHeader(), {SampleCommit({1}, 3), SampleCommit({2, 3}, 3)});
  auto whole = ParseSegment(finished.bytes, "k");
  auto table = ParseSegmentTable(finished.bytes, "k");
  ASSERT_TRUE(whole.ok() && table.ok());
  EXPECT_EQ(table->header, whole->header);
  EXPECT_EQ(table->commits, whole->commits);
  EXPECT_EQ(table->digest, whole->digest);
  EXPECT_EQ(table->object_size_bytes, finished.bytes.size());
  EXPECT_TRUE(table->chunk_data.empty());
  EXPECT_TRUE(table->bytes.empty());
}

TEST(SegmentTest, TheDigestIsTheObjectsLastSixteenBytesAndBindsAllBefore) {
  auto finished = BuildSegment(SampleHeader(), {SampleCommit({1}, 3)});
  ByteSpan bytes = finished.bytes;
  EXPECT_EQ(finished.digest, ComputeDigest(bytes.first(bytes.size() - 16)));
  EXPECT_TRUE(std::equal(finished.digest.bytes.begin(), finished.digest.bytes.end(),
                         bytes.last(16).begin()));
  EXPECT_EQ(SegmentDigest(bytes), finished.digest);
  EXPECT_FALSE(SegmentDigest(bytes.first(bytes.size() - 1)));
  EXPECT_FALSE(SegmentDigest({}));
}

TEST(SegmentTest, ClocksThatGoBackRoundTrip) {
  std::vector<CommitRecord> commits = {SampleCommit({1}, 3, 5'000'000), SampleCommit({1}, 3, 0),
                                       SampleCommit({1}, 3, -kNow),
                                       SampleCommit({1}, 3, kMaxTimeMicros - kNow)};
  auto segment = ParseSegment(BuildSegment(SampleHeader(), commits).bytes, "k");
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ(segment->commits, commits);
}

TEST(SegmentTest, TheBuilderCountsCommitsAndTxids) {
  SegmentBuilder builder(SampleHeader());
  EXPECT_EQ(builder.commit_count(), 0u);
  EXPECT_EQ(builder.next_txid(), Txid{2});
  auto commit = SampleCommit({1}, 3);
  ASSERT_TRUE(builder.Add(commit, FilledChunks(commit, 512)).ok());
  EXPECT_EQ(builder.commit_count(), 1u);
  EXPECT_EQ(builder.next_txid(), Txid{3});
  size_t estimate = builder.size_bytes();
  auto finished = builder.Finish({});
  ASSERT_TRUE(finished.ok());
  EXPECT_LE(finished->bytes.size(), estimate);
  EXPECT_GE(finished->bytes.size() + 8, estimate);
  EXPECT_EQ(finished->header.last_txid(), Txid{2});
}

TEST(SegmentTest, ASegmentWithoutCommitsIsNotMade) {
  SegmentBuilder builder(SampleHeader());
  EXPECT_EQ(builder.Finish({}).code(), StatusCode::kInvalidArgument);
}

TEST(SegmentTest, AForeignKeyIsCorruption) {
  auto log = BuildSegment(SampleHeader(), {SampleCommit({1}, 3), SampleCommit({1}, 3)}).bytes;
  EXPECT_TRUE(ParseSegment(log, keys::LogSegment({1}, {2})).ok());
  for (const std::string& key :
       {keys::LogSegment({1}, {3}), keys::LogSegment({2}, {2}), keys::Rollup({1}, {2}, {3})}) {
    auto r = ParseSegment(log, key);
    EXPECT_EQ(r.code(), StatusCode::kCorruption);
    EXPECT_TRUE(r.status().message().starts_with(key + ": ")) << r.status().ToString();
  }
  SegmentHeader header = SampleHeader();
  header.kind = SegmentKind::kRollup;
  auto rollup = BuildSegment(header, {SampleCommit({1}, 3), SampleCommit({1}, 3)}).bytes;
  EXPECT_TRUE(ParseSegment(rollup, keys::Rollup({1}, {2}, {3})).ok());
  EXPECT_FALSE(ParseSegment(rollup, keys::Rollup({1}, {2}, {4})).ok());
  EXPECT_FALSE(ParseSegment(rollup, keys::LogSegment({1}, {2})).ok());
}

// --- overhead ------------------------------------------------------------------------------------

constexpr size_t kFixedBytes = 102 + 1 + 16;  // header, size of the section table, digest

TEST(SegmentOverheadTest, ASmallSegmentSpends123BytesBesidesTableAndPages) {
  auto commit = SampleCommit({1}, 3);
  auto finished = BuildSegment(SampleHeader(), {commit});
  size_t chunk = FilledChunks(commit, 512).size();
  // time 8, flags, size difference, frames, checksum 8, one page of one byte, data length
  size_t record = 8 + 1 + 1 + 1 + 8 + 1 + 1 + 1;
  EXPECT_EQ(finished.bytes.size(), kFixedBytes + 4 + record + chunk);
  EXPECT_EQ(kFixedBytes + 4, 123u);
}

TEST(SegmentOverheadTest, TenSmallCommitsStayUnder62BytesEach) {
  // Pages up to 8 GiB of 4 KiB pages, commits up to a second apart, 29 bytes of zstd data each.
  SegmentHeader header = SampleHeader(4096);
  header.start_page_count = 2'000'000;
  SegmentBuilder builder(header);
  Bytes chunk(29, 0);
  chunk.insert(chunk.begin(), 29);
  for (int i = 0; i < 10; ++i) {
    PageNumber page = 2'000'000 - static_cast<PageNumber>(i);
    size_t before = builder.size_bytes();
    ASSERT_TRUE(builder.Add(SampleCommit({page}, 2'000'000, i * 1'000'000), chunk).ok());
    size_t overhead = builder.size_bytes() - before - 29;
    EXPECT_EQ(overhead, i == 0 ? 25u : 20u) << "commit " << i;
  }
  auto finished = builder.Finish({1, 2, 3, 4, 5});
  ASSERT_TRUE(finished.ok());
  EXPECT_EQ(finished->bytes.size(), 620u);
  EXPECT_EQ(finished->bytes.size() - (25 + 9 * 20 + 10 * 29), 125u) << "per segment";
}

TEST(SegmentOverheadTest, NoSegmentSpendsMoreThan130BytesBesidesTableAndPages) {
  // Sections are shorter than 2^28 bytes, so that each length takes at most four.
  static_assert(kMaxSegmentBytes <= uint64_t{1} << 28);
  EXPECT_LE(kFixedBytes + 2 * (1 + 4), 130u);
}

}  // namespace
}  // namespace sqlite_s3

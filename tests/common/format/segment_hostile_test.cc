// Segments as an attacker or a bad disk would leave them.
#include <gtest/gtest.h>

#include <random>

#include "common/base/time.h"
#include "common/format/segment.h"
#include "common/format/segment_rules.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

constexpr size_t kVersionAt = 4;
constexpr size_t kKindAt = 6;
constexpr size_t kPageSizeAt = 7;
constexpr size_t kTimelineAt = 12;
constexpr size_t kFirstTxidAt = 32;
constexpr size_t kStartPageCountAt = 72;
constexpr size_t kCountAt = 76;
constexpr size_t kKeyIdAt = 100;

Bytes Small() {
  CommitRecord in_parts = SampleCommit({1, 3}, 4, 2000);
  in_parts.flags = kCommitInParts | kCommitWholePages;
  in_parts.parts = {{0xbeef, 1, 4711, DigestOf(0xcc), 1}};
  return BuildSegment(SampleHeader(), {SampleCommit({2}, 3), in_parts}).bytes;
}

// A segment with this commit table, page data and section table, and a right digest.
Bytes Assemble(const Bytes& table, const Bytes& data, uint32_t count, Bytes section_table = {},
               const Bytes& more_sections = {}) {
  Bytes small = Small();
  Bytes out(small.begin(), small.begin() + kSegmentHeaderBytes);
  StoreLe32(out.data() + kCountAt, count);
  if (section_table.empty()) {
    ByteWriter writer(section_table);
    writer.U8(kSectionCommits);
    writer.Varint(table.size());
    writer.U8(kSectionPages);
    writer.Varint(data.size());
  }
  out = out + table + data + more_sections + section_table;
  out.push_back(static_cast<uint8_t>(section_table.size()));
  return Resealed(out + Bytes(16));
}

// The fields of a record in order, each to be replaced.
struct RawRecord {
  int64_t time = kNow;
  uint8_t flags = 0;
  int64_t page_count_delta = 0;
  uint64_t frames = 1;
  uint64_t page_total = 1;
  std::vector<uint64_t> deltas = {1};
  Bytes rest = {15};  // data length

  Bytes Encode() const {
    Bytes out;
    ByteWriter w(out);
    w.SignedVarint(time);
    w.U8(flags);
    w.SignedVarint(page_count_delta);
    w.Varint(frames);
    w.U64(0);
    w.Varint(page_total);
    for (uint64_t d : deltas) {
      w.Varint(d);
    }
    w.Raw(rest);
    return out;
  }
};

const Bytes kChunk = FilledChunk(512, 7);

std::string Refusal(const Bytes& segment) {
  auto parsed = ParseSegment(segment, "some/key");
  EXPECT_EQ(parsed.code(), StatusCode::kCorruption) << parsed.status().ToString();
  EXPECT_TRUE(parsed.status().message().starts_with("some/key: "));
  EXPECT_EQ(ParseSegmentTable(segment, "some/key").code(), parsed.code());
  return parsed.status().message();
}

std::string Refusal(const RawRecord& record) {
  return Refusal(Assemble(record.Encode(), kChunk, 1));
}

TEST(SegmentHostileTest, TheHandMadeSegmentOfTheseTestsIsGood) {
  RawRecord record;
  record.rest = {static_cast<uint8_t>(kChunk.size())};
  auto parsed = ParseSegment(Assemble(record.Encode(), kChunk, 1), "k");
  EXPECT_TRUE(parsed.ok()) << parsed.status().ToString();
}

TEST(SegmentHostileTest, EveryTruncationIsCorruption) {
  Bytes good = Small();
  for (size_t n = 0; n < good.size(); ++n) {
    EXPECT_EQ(ParseSegment(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)), "k")
                  .code(),
              StatusCode::kCorruption)
        << n;
  }
}

TEST(SegmentHostileTest, EveryTruncationWithARightDigestIsRefused) {
  Bytes good = Small();
  for (size_t n = 16; n < good.size(); ++n) {
    Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(ParseSegment(Resealed(cut), "k").ok()) << n;
  }
}

TEST(SegmentHostileTest, EveryFlippedBitIsFound) {
  Bytes good = Small();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes damaged = good;
    damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    auto parsed = ParseSegment(damaged, "k");
    ASSERT_FALSE(parsed.ok()) << "bit " << bit;
    bool in_version = bit / 8 == kVersionAt || bit / 8 == kVersionAt + 1;
    EXPECT_TRUE(parsed.code() == StatusCode::kCorruption ||
                (in_version && parsed.code() == StatusCode::kUnimplemented))
        << parsed.status().ToString();
  }
}

TEST(SegmentHostileTest, FlippedBitsUnderARightDigestNeverBreakARule) {
  Bytes good = Small();
  for (size_t bit = 0; bit < (good.size() - 16) * 8; ++bit) {
    Bytes damaged = good;
    damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    auto parsed = ParseSegment(Resealed(damaged), "k");
    if (!parsed.ok()) {
      continue;
    }
    EXPECT_EQ(BrokenHeaderRule(parsed->header), "") << "bit " << bit;
    for (const CommitRecord& record : parsed->commits) {
      EXPECT_EQ(BrokenRecordRule(record, parsed->header.page_size), "") << "bit " << bit;
    }
  }
}

TEST(SegmentHostileTest, RandomDamageNeverBreaksARule) {
  std::mt19937_64 random(11);
  Bytes good = Small();
  for (int i = 0; i < 20'000; ++i) {
    Bytes damaged = good;
    for (uint64_t n = 1 + random() % 4; n > 0; --n) {
      damaged[6 + random() % (damaged.size() - 6)] = static_cast<uint8_t>(random());
    }
    auto parsed = ParseSegment(Resealed(damaged), "k");
    if (parsed.ok()) {
      ASSERT_EQ(BrokenHeaderRule(parsed->header), "");
      for (const CommitRecord& record : parsed->commits) {
        ASSERT_EQ(BrokenRecordRule(record, parsed->header.page_size), "");
      }
    }
  }
}

TEST(SegmentHostileTest, AppendedBytesAreCorruption) {
  Refusal(Small() + Bytes{0});
  Refusal(Resealed(Small() + Bytes{0}));
  Refusal(Resealed(Small() + Bytes(16)));
}

TEST(SegmentHostileTest, ANewerVersionIsNamedBeforeAnythingElseIsLookedAt) {
  Bytes newer = {'s', 'q', '3', 's', 2, 0, 0xff};
  auto parsed = ParseSegment(newer, "some/key");
  EXPECT_EQ(parsed.code(), StatusCode::kUnimplemented);
  EXPECT_NE(parsed.status().message().find("version 2"), std::string::npos);
  EXPECT_NE(parsed.status().message().find("hint: "), std::string::npos);
  Bytes zero = Small();
  zero[kVersionAt] = 0;
  Refusal(Resealed(zero));
}

TEST(SegmentHostileTest, AnEncryptedSegmentIsNotRead) {
  Bytes encrypted = Small();
  encrypted[kKeyIdAt] = 7;
  EXPECT_EQ(ParseSegment(Resealed(encrypted), "k").code(), StatusCode::kUnimplemented);
}

TEST(SegmentHostileTest, HeaderFieldsOutsideTheirRangeAreCorruption) {
  for (auto [offset, value] : std::vector<std::pair<size_t, int>>{{0, 'S'},
                                                                  {kKindAt, 0},
                                                                  {kKindAt, 3},
                                                                  {kPageSizeAt, 8},
                                                                  {kPageSizeAt, 17},
                                                                  {kPageSizeAt, 255},
                                                                  {kTimelineAt, 0},
                                                                  {kFirstTxidAt, 0}}) {
    Bytes bad = Small();
    bad[offset] = static_cast<uint8_t>(value);
    Refusal(Resealed(bad));
  }
  Bytes overflow = Small();
  StoreLe64(overflow.data() + kFirstTxidAt, ~uint64_t{0} - 1);
  Refusal(Resealed(overflow));
  Bytes size = Small();
  StoreLe32(size.data() + kStartPageCountAt, 0xffffffff);
  Refusal(Resealed(size));
}

TEST(SegmentHostileTest, CountsAreCheckedBeforeAnythingIsAllocated) {
  for (uint32_t count : {0u, 1u, 3u, 1000u, 0x7fffffffu, 0xffffffffu}) {
    Bytes bad = Small();
    StoreLe32(bad.data() + kCountAt, count);
    Refusal(Resealed(bad));
  }
  RawRecord record;
  for (uint64_t total : {uint64_t{2}, uint64_t{1000}, uint64_t{1} << 31, ~uint64_t{0}}) {
    record.page_total = total;
    Refusal(record);
  }
  record = {};
  record.flags = kCommitInParts;
  for (uint64_t parts : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 31, ~uint64_t{0}}) {
    record.rest.clear();
    ByteWriter(record.rest).Varint(parts);
    Refusal(record);
  }
}

TEST(SegmentHostileTest, RecordsThatBreakARuleAreCorruption) {
  auto with = [](auto change) {
    RawRecord record;
    record.rest = {static_cast<uint8_t>(kChunk.size())};
    change(record);
    return Refusal(record);
  };
  with([](RawRecord& r) { r.time = -1; });
  with([](RawRecord& r) { r.time = kMaxTimeMicros + 1; });
  with([](RawRecord& r) { r.flags = 0x40; });
  with([](RawRecord& r) { r.flags = kCommitOrigin; });
  with([](RawRecord& r) { r.flags = kCommitResync; });
  with([](RawRecord& r) { r.page_count_delta = -3; });  // to 0 pages
  with([](RawRecord& r) { r.page_count_delta = -4; });
  with([](RawRecord& r) { r.page_count_delta = int64_t{0xffffffff} - 3; });
  with([](RawRecord& r) { r.page_count_delta = std::numeric_limits<int64_t>::min(); });
  with([](RawRecord& r) { r.frames = uint64_t{1} << 32; });
  with([](RawRecord& r) { r.deltas = {0}; });
  with([](RawRecord& r) { r.deltas = {4}; });
  with([](RawRecord& r) { r.deltas = {0xffffffff}; });
  with([](RawRecord& r) { r.deltas = {~uint64_t{0}}; });
  with([](RawRecord& r) { r.page_total = 2, r.deltas = {1, 0}; });
  with([](RawRecord& r) { r.page_total = 2, r.deltas = {1, ~uint64_t{0}}; });
  with([](RawRecord& r) { r.page_total = 0, r.deltas = {}; });  // data without pages
  with([](RawRecord& r) { r.rest = {}; });
  with([](RawRecord& r) { r.rest = {0}; });
  with([](RawRecord& r) { --r.rest[0]; });
  with([](RawRecord& r) { ++r.rest[0]; });
  with([](RawRecord& r) { r.rest.push_back(0); });  // bytes after the last record
  with([](RawRecord& r) {
    r.page_count_delta = int64_t{kMaxPageCount} - 3;
    r.deltas = {LockBytePage(512)};
  });
}

TEST(SegmentHostileTest, PageDataMustBeUsedUp) {
  RawRecord record;
  record.rest = {static_cast<uint8_t>(kChunk.size())};
  Refusal(Assemble(record.Encode(), kChunk + Bytes{0}, 1));
  Refusal(Assemble(record.Encode(), kChunk + kChunk, 1));
  Refusal(Assemble(record.Encode(), {}, 1));
}

class SectionTableTest : public ::testing::Test {
 protected:
  static Bytes With(const Bytes& section_table, const Bytes& more = {}) {
    return Assemble(Table(), kChunk, 1, section_table, more);
  }
  static Bytes Table() {
    RawRecord record;
    record.rest = {static_cast<uint8_t>(kChunk.size())};
    return record.Encode();
  }
  const uint8_t table_ = static_cast<uint8_t>(Table().size());
  const uint8_t data_ = static_cast<uint8_t>(kChunk.size());
};

TEST_F(SectionTableTest, UnknownOptionalSectionsAreSkipped) {
  auto parsed = ParseSegment(With({1, table_, 2, data_, 0x83, 3, 0xff, 2}, {1, 2, 3, 4, 5}), "k");
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->commits.size(), 1u);
}

TEST_F(SectionTableTest, UnknownSectionsThatAreNotOptionalAreNamed) {
  auto parsed = ParseSegment(With({1, table_, 2, data_, 5, 3}, {1, 2, 3}), "k");
  EXPECT_EQ(parsed.code(), StatusCode::kUnimplemented);
  EXPECT_NE(parsed.status().message().find("section 5"), std::string::npos);
}

TEST_F(SectionTableTest, MalformedTablesAreCorruption) {
  uint8_t more = static_cast<uint8_t>(table_ + 1);
  uint8_t less = static_cast<uint8_t>(data_ - 1);
  for (const Bytes& table : std::vector<Bytes>{
           {1, table_},                     // no page data
           {2, data_},                      // no commit table
           {2, data_, 1, table_},           // out of order
           {1, table_, 1, 0, 2, data_},     // twice
           {1, table_, 2, data_, 0x82, 0},  // twice, once optional
           {0, 0, 1, table_, 2, data_},     // id 0
           {0x80, 0, 1, table_, 2, data_},  // id 0, optional
           {1, table_, 2},                  // no length
           {1, table_, 2, 0x80},            // half a length
           {1, more, 2, data_},             // beyond the end
           {1, table_, 2, less},            // does not make up the object
           {1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 2, data_},
           {1, table_, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}}) {
    Refusal(With(table));
  }
}

}  // namespace
}  // namespace sqlite_s3

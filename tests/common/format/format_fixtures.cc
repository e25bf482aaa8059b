#include "tests/common/format/format_fixtures.h"

#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <iterator>

namespace sqlite_s3::format_testing {

SegmentHeader SampleHeader(uint32_t page_size) {
  SegmentHeader h;
  h.sqlite_version = 3'040'001;
  h.page_size = page_size;
  for (uint8_t i = 0; i < 16; ++i) {
    h.database_id.bytes[i] = static_cast<uint8_t>(0xd0 + i);
  }
  h.timeline = {1};
  h.first_txid = {2};
  h.writer = {0x1122334455667788};
  h.predecessor = DigestOf(0xaa);
  h.start_page_count = 3;
  h.start_checksum = 0x0102030405060708;
  return h;
}

CommitRecord SampleCommit(std::vector<PageNumber> pages, uint32_t page_count, int64_t delay_us) {
  CommitRecord r;
  r.time_us = kNow + delay_us;
  r.page_count = page_count;
  r.wal_frames = static_cast<uint32_t>(pages.size());
  r.pages = std::move(pages);
  r.db_checksum = 0x8877665544332211;
  return r;
}

Bytes RandomPage(std::mt19937_64& random, uint32_t page_size) {
  Bytes page(page_size);
  for (uint8_t& b : page) {
    b = static_cast<uint8_t>(random());
  }
  return page;
}

Digest DigestOf(uint8_t fill) {
  Digest d;
  d.bytes.fill(fill);
  return d;
}

Bytes FilledChunk(uint32_t size, uint8_t fill) {
  constexpr uint32_t kMaxBlock = 128 << 10;
  Bytes frame;
  ByteWriter out(frame);
  out.U32(0xFD2FB528);
  out.U8(0);  // no content size, not single segment, no checksum, no dictionary
  int window_log = std::max(10, static_cast<int>(std::bit_width(size - 1)));
  out.U8(static_cast<uint8_t>((window_log - 10) << 3));
  while (size > 0) {
    uint32_t block_max = std::min(kMaxBlock, uint32_t{1} << window_log);
    uint32_t n = std::min(size, block_max);
    size -= n;
    uint32_t block = n << 3 | 1 << 1 | (size == 0 ? 1 : 0);  // RLE, and whether it is the last
    out.U16(static_cast<uint16_t>(block));
    out.U8(static_cast<uint8_t>(block >> 16));
    out.U8(fill);
  }
  Bytes chunk;
  ByteWriter(chunk).Varint(frame.size());
  return chunk + frame;
}

Bytes FilledChunks(const CommitRecord& record, uint32_t page_size, uint8_t fill) {
  Bytes out;
  if ((record.flags & kCommitInParts) != 0) {
    return out;
  }
  for (size_t left = record.pages.size(); left > 0;) {
    size_t n = std::min<size_t>(left, PagesPerChunk(page_size));
    out = out + FilledChunk(static_cast<uint32_t>(n * page_size), fill);
    left -= n;
  }
  return out;
}

SegmentBuilder::Finished BuildSegment(const SegmentHeader& header,
                                      const std::vector<CommitRecord>& commits,
                                      const WalPosition& end) {
  SegmentBuilder builder(header);
  for (const CommitRecord& commit : commits) {
    Status s = builder.Add(commit, FilledChunks(commit, header.page_size));
    EXPECT_TRUE(s.ok()) << s.ToString();
  }
  auto finished = builder.Finish(end);
  EXPECT_TRUE(finished.ok()) << finished.status().ToString();
  return finished.ok() ? std::move(finished).value() : SegmentBuilder::Finished();
}

Bytes Resealed(Bytes segment) {
  size_t covered = segment.size() - 16;
  Digest digest = ComputeDigest(ByteSpan(segment).first(covered));
  std::copy(digest.bytes.begin(), digest.bytes.end(),
            segment.begin() + static_cast<std::ptrdiff_t>(covered));
  return segment;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes FromHex(std::string_view hex) { return HexDecode(hex).value_or(Bytes()); }

Bytes ReadGolden(const std::string& name) {
  std::ifstream in(std::string(SQLITE_S3_GOLDEN_DIR) + "/" + name, std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void WriteGolden(const std::string& name, ByteSpan bytes) {
  std::ofstream out(std::string(SQLITE_S3_GOLDEN_DIR) + "/" + name, std::ios::binary);
  out << AsText(bytes);
}

}  // namespace sqlite_s3::format_testing

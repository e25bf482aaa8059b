// Any bytes as a segment: as they are, and with the digest put right, which no mutation would
// guess. What parses is decoded too, and obeys the rules.
#include <algorithm>
#include <cstdlib>

#include "common/format/segment.h"
#include "common/format/segment_rules.h"

namespace sqlite_s3 {
namespace {

void DecodePages(const Segment& segment) {
  constexpr size_t kMaxPages = 64;  // more only costs time
  ChunkDecoder decoder;
  uint32_t page_size = segment.header.page_size;
  uint32_t page_count_before = segment.header.start_page_count;
  for (size_t i = 0; i < segment.commits.size(); ++i) {
    const CommitRecord& commit = segment.commits[i];
    if (!BrokenRecordRule(commit, page_size).empty()) {
      std::abort();
    }
    size_t pages = std::min({commit.pages.size(), size_t{PagesPerChunk(page_size)}, kMaxPages});
    size_t bases = 0;
    for (size_t p = 0; p < pages; ++p) {
      bases += PageHasBase(commit.pages[p], page_count_before, commit.flags) ? 1U : 0U;
    }
    page_count_before = commit.page_count;
    if (pages > 0 && commit.parts.empty()) {
      ByteReader in(segment.chunk_data[i]);
      Bytes out(pages * page_size);
      (void)decoder.Next(in, Bytes(bases * page_size, 0x5a), out);  // may fail, must not crash
    }
  }
}

void Try(Bytes bytes) {
  auto segment = ParseSegment(bytes, "fuzz");
  auto table = ParseSegmentTable(std::move(bytes), "fuzz");
  if (segment.ok() != table.ok() || (segment.ok() && segment->commits != table->commits)) {
    std::abort();
  }
  if (segment.ok()) {
    DecodePages(*segment);
  }
}

}  // namespace
}  // namespace sqlite_s3

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sqlite_s3::Bytes bytes(data, data + size);
  sqlite_s3::Try(bytes);
  if (size >= 16) {
    auto digest = sqlite_s3::ComputeDigest(sqlite_s3::ByteSpan(bytes).first(size - 16));
    std::copy(digest.bytes.begin(), digest.bytes.end(), bytes.end() - 16);
    sqlite_s3::Try(std::move(bytes));
  }
  return 0;
}

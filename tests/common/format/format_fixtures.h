#pragma once
// The small language of the format's tests: pages, records, and frames that no zstd version
// changes.

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "common/format/documents.h"
#include "common/format/image_part.h"
#include "common/format/segment.h"

namespace sqlite_s3::format_testing {

inline constexpr int64_t kNow = 1'700'000'000'000'000;

// A header that obeys every rule: timeline 1, TXIDs from 2, three pages before.
SegmentHeader SampleHeader(uint32_t page_size = 512);
// A commit of `pages` in a database of `page_count` pages, `delay_us` after kNow.
CommitRecord SampleCommit(std::vector<PageNumber> pages, uint32_t page_count, int64_t delay_us = 0);

Bytes RandomPage(std::mt19937_64& random, uint32_t page_size);
Digest DigestOf(uint8_t fill);

// A chunk written by hand: a zstd frame of one RLE block, `size` times `fill`. Needs no zstd.
Bytes FilledChunk(uint32_t size, uint8_t fill);
// As many filled chunks as `record` needs.
Bytes FilledChunks(const CommitRecord& record, uint32_t page_size, uint8_t fill = 0x5a);

// REQUIRES: nothing fails.
SegmentBuilder::Finished BuildSegment(const SegmentHeader& header,
                                      const std::vector<CommitRecord>& commits,
                                      const WalPosition& end = {});

// Puts the right digest at the end of a damaged segment, so that the checks behind it are reached.
Bytes Resealed(Bytes segment);

Bytes operator+(Bytes a, const Bytes& b);
Bytes FromHex(std::string_view hex);
Bytes ReadGolden(const std::string& name);
void WriteGolden(const std::string& name, ByteSpan bytes);

}  // namespace sqlite_s3::format_testing

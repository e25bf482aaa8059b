#pragma once
// Constants of the segment's layout and the rules of its records, shared by writer and reader so
// that what one refuses to write the other refuses to read. Internal to common/format.

#include <cstdint>
#include <string>

#include "common/format/segment.h"
#include "common/format/zstd_codec.h"

namespace sqlite_s3 {

inline constexpr uint8_t kSegmentMagic[4] = {'s', 'q', '3', 's'};
inline constexpr size_t kSegmentHeaderBytes = 102;
inline constexpr size_t kDigestBytes = 16;

// Sections lie behind the header in ascending order of (id without kOptionalSection), without gaps.
inline constexpr uint8_t kOptionalSection = 0x80;  // a reader that does not know it may skip it
inline constexpr uint8_t kSectionCommits = 1;
inline constexpr uint8_t kSectionPages = 2;
inline constexpr uint8_t kSectionStatements = 3 | kOptionalSection;

// time, flags, page count, frames, checksum, number of pages, data length: the smallest record.
inline constexpr size_t kMinRecordBytes = 14;
// nonce, number, size, digest, chunks.
inline constexpr size_t kMinPartRefBytes = 27;

inline constexpr uint8_t kKnownCommitFlags = kCommitOrigin | kCommitResync | kCommitMerged |
                                             kCommitTimeUpperBound | kCommitWholePages |
                                             kCommitInParts;
// The bound of zstd for a chunk (ZSTD_compressBound of kChunkBytes).
inline constexpr uint64_t kMaxChunkFrameBytes = kChunkBytes + (kChunkBytes >> 8);
inline constexpr uint64_t kMinChunkBytes = 1 + kMinZstdFrameBytes;
inline constexpr uint64_t kMaxChunkBytes = 3 + kMaxChunkFrameBytes;

// Each names the broken rule; empty when all hold.
std::string BrokenHeaderRule(const SegmentHeader& header);
std::string BrokenRecordRule(const CommitRecord& record, uint32_t page_size);

}  // namespace sqlite_s3

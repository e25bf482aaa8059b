#include "common/format/segment_rules.h"

#include <fmt/format.h>

#include <limits>

#include "common/base/time.h"

namespace sqlite_s3 {
namespace {

std::string BrokenPartsRule(const CommitRecord& record, uint32_t page_size) {
  if (((record.flags & kCommitInParts) != 0) == record.parts.empty()) {
    return "parts and their flag disagree";
  }
  uint64_t chunks = 0;
  for (const PartRef& part : record.parts) {
    if (part.chunk_count == 0) {
      return "a part without chunks";
    }
    if (part.size_bytes < part.chunk_count * kMinChunkBytes ||
        part.size_bytes > part.chunk_count * kMaxChunkBytes) {
      return fmt::format("a part of {} bytes cannot hold {} chunks", part.size_bytes,
                         part.chunk_count);
    }
    chunks += part.chunk_count;
  }
  if (!record.parts.empty() && chunks != ChunkCount(record.pages.size(), page_size)) {
    return fmt::format("parts hold {} chunks, the pages need {}", chunks,
                       ChunkCount(record.pages.size(), page_size));
  }
  return {};
}

}  // namespace

std::string BrokenHeaderRule(const SegmentHeader& header) {
  if (header.kind != SegmentKind::kLog && header.kind != SegmentKind::kRollup) {
    return fmt::format("unknown kind {}", static_cast<int>(header.kind));
  }
  if (!IsValidPageSize(header.page_size)) {
    return fmt::format("invalid page size {}", header.page_size);
  }
  if (header.timeline.value == 0) {
    return "timeline 0";
  }
  if (header.first_txid.value == 0) {
    return "first TXID 0";
  }
  // The TXID after the last one must exist too: it is the key of the next segment.
  if (header.commit_count > std::numeric_limits<uint64_t>::max() - header.first_txid.value) {
    return "TXIDs overflow";
  }
  if (header.start_page_count > kMaxPageCount) {
    return fmt::format("impossible start page count {}", header.start_page_count);
  }
  if (header.key_id > std::numeric_limits<uint16_t>::max()) {
    return fmt::format("impossible key id {}", header.key_id);
  }
  return {};
}

std::string BrokenRecordRule(const CommitRecord& record, uint32_t page_size) {
  if (record.time_us < 0 || record.time_us > kMaxTimeMicros) {
    return fmt::format("impossible time {}", record.time_us);
  }
  if ((record.flags & ~kKnownCommitFlags) != 0) {
    return fmt::format("unknown flags {:#x}", record.flags);
  }
  if (record.page_count == 0 || record.page_count > kMaxPageCount) {
    return fmt::format("impossible page count {}", record.page_count);
  }
  if ((record.flags & kCommitOrigin) != 0 && !record.pages.empty()) {
    return "an origin with pages";
  }
  if ((record.flags & (kCommitOrigin | kCommitResync)) != 0 && record.wal_frames != 0) {
    return "an origin or resync with WAL frames";
  }
  PageNumber previous = 0;
  for (PageNumber page : record.pages) {
    if (page <= previous) {
      return fmt::format("page {} after page {}", page, previous);
    }
    previous = page;
    if (page == LockBytePage(page_size)) {
      return fmt::format("page {} is the lock-byte page", page);
    }
  }
  if (previous > record.page_count) {
    return fmt::format("page {} beyond the page count {}", previous, record.page_count);
  }
  return BrokenPartsRule(record, page_size);
}

}  // namespace sqlite_s3

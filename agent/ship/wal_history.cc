// Which states the live database passed through, as far as its WAL still tells.

#include <algorithm>

#include "agent/ship/wal_capture.h"

namespace sqlite_s3 {

Result<bool> WalCapture::PassedThrough(uint32_t page_count, uint64_t checksum,
                                       const LiveDatabase& live, const PageHasher& hasher) {
  if (frame_ == 0 || !wal_ || unverified_until_ != 0) {
    return false;
  }
  const PageNumber lock_page = LockBytePage(page_size_);
  ASSIGN_OR_RETURN(uint64_t file_bytes, index_.DatabaseFileSize());
  const auto file_pages = static_cast<uint32_t>(file_bytes / page_size_);
  const uint32_t backfilled = index_.BackfilledFrames();

  // Where the live database and the state being looked at differ: the pages that the WAL has, and
  // those that the file has beyond the live size.
  std::unordered_map<PageNumber, uint64_t> hashes;
  uint64_t sum = live.checksum;
  Bytes page(page_size_);
  auto take_from_file = [&](PageNumber number) -> Status {
    if (number == lock_page || hashes.contains(number)) {
      return Status::Ok();
    }
    if (number <= live.page_count) {
      ASSIGN_OR_RETURN(uint64_t now, live.hash(number));
      sum ^= now;
    }
    uint64_t hash = 0;
    if (number <= file_pages) {
      RETURN_IF_ERROR(index_.ReadDatabaseFile(uint64_t{number - 1} * page_size_, page));
      hash = hasher.Hash(number, page);
      sum ^= hash;
    }
    hashes[number] = hash;
    return Status::Ok();
  };
  for (const auto& [number, frame] : last_frame_) {
    RETURN_IF_ERROR(take_from_file(number));
  }
  for (uint64_t number = uint64_t{live.page_count} + 1; number <= file_pages; ++number) {
    RETURN_IF_ERROR(take_from_file(static_cast<PageNumber>(number)));
  }
  for (uint64_t number = uint64_t{file_pages} + 1; number <= live.page_count; ++number) {
    RETURN_IF_ERROR(take_from_file(static_cast<PageNumber>(number)));
  }

  // Forward, commit by commit. Before the last backfilled frame the file is already further than
  // the frames replayed, so those sums belong to no state.
  uint32_t size = file_pages;
  if (backfilled == 0 && size == page_count && sum == checksum) {
    return true;
  }
  std::unordered_map<PageNumber, uint64_t> changed;
  for (uint32_t frame = 1; frame <= frame_; ++frame) {
    ASSIGN_OR_RETURN(const uint8_t* bytes, FrameBytes(frame, frame_));
    WalFrameHeader h = ParseWalFrameHeader(bytes);
    changed[h.page] = hasher.Hash(h.page, ByteSpan(bytes + kWalFrameHeaderBytes, page_size_));
    if (h.commit_page_count == 0) {
      continue;
    }
    for (const auto& [number, hash] : changed) {
      sum ^= hashes[number];
      hashes[number] = number <= h.commit_page_count ? hash : 0;
      sum ^= hashes[number];
    }
    changed.clear();
    for (uint64_t number = uint64_t{h.commit_page_count} + 1; number <= size; ++number) {
      auto known = hashes.find(static_cast<PageNumber>(number));
      if (known == hashes.end()) {
        return false;  // cut off and grown again between two states: not worth telling
      }
      sum ^= known->second;
      known->second = 0;
    }
    size = h.commit_page_count;
    if (frame >= backfilled && size == page_count && sum == checksum) {
      return true;
    }
  }
  return false;
}

}  // namespace sqlite_s3

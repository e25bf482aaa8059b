#pragma once
// SQLite's write-ahead log as bytes (sqlite.org/fileformat2.html, section 4). No I/O.

#include <cstdint>

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/sqlite/wal_checksum.h"

namespace sqlite_s3 {

inline constexpr uint32_t kWalHeaderBytes = 32;
inline constexpr uint32_t kWalFrameHeaderBytes = 24;
constexpr uint64_t WalFrameOffset(uint32_t frame, uint32_t page_size) {  // frame counts from 1
  return kWalHeaderBytes + uint64_t{frame - 1} * (kWalFrameHeaderBytes + page_size);
}

struct WalHeader {
  bool big_endian_words = false;
  uint32_t page_size = 0;
  uint32_t checkpoint_sequence = 0;  // per connection state: never order by it
  uint32_t salt1 = 0;
  uint32_t salt2 = 0;
  WalChecksum checksum;  // seeds frame 1
};
// kCorruption unless the magic, version, page size and checksum are right.
Result<WalHeader> ParseWalHeader(ByteSpan header);
// The 32 bytes of a header with its checksum.
void EncodeWalHeader(const WalHeader& header, std::span<uint8_t, kWalHeaderBytes> out);

struct WalFrameHeader {
  PageNumber page = 0;
  uint32_t commit_page_count = 0;  // size of the database in pages; 0 = not a commit frame
  uint32_t salt1 = 0;
  uint32_t salt2 = 0;
  WalChecksum checksum;
};
WalFrameHeader ParseWalFrameHeader(const uint8_t* header);  // 24 bytes

}  // namespace sqlite_s3

#include "common/sqlite/wal_format.h"

#include <string>

namespace sqlite_s3 {
namespace {

constexpr uint32_t kMagicLittleEndianWords = 0x377f0682;
constexpr uint32_t kMagicBigEndianWords = 0x377f0683;
constexpr uint32_t kWalVersion = 3007000;  // the only one; "wal2" and others are refused

}  // namespace

Result<WalHeader> ParseWalHeader(ByteSpan bytes) {
  if (bytes.size() < kWalHeaderBytes) {
    return CorruptionError("WAL header is " + std::to_string(bytes.size()) + " bytes, not 32");
  }
  const uint8_t* p = bytes.data();
  uint32_t magic = LoadBe32(p);
  if (magic != kMagicLittleEndianWords && magic != kMagicBigEndianWords) {
    return CorruptionError("WAL header has an unknown magic number");
  }
  if (LoadBe32(p + 4) != kWalVersion) {
    return UnimplementedError("WAL version " + std::to_string(LoadBe32(p + 4)) +
                              " is not known, hint: only journal_mode=WAL of stock SQLite is");
  }
  WalHeader h;
  h.big_endian_words = magic == kMagicBigEndianWords;
  h.page_size = LoadBe32(p + 8);
  h.checkpoint_sequence = LoadBe32(p + 12);
  h.salt1 = LoadBe32(p + 16);
  h.salt2 = LoadBe32(p + 20);
  h.checksum = {LoadBe32(p + 24), LoadBe32(p + 28)};
  if (!IsValidPageSize(h.page_size)) {
    return CorruptionError("WAL header has page size " + std::to_string(h.page_size));
  }
  if (ExtendWalChecksum({}, bytes.first(24), h.big_endian_words) != h.checksum) {
    return CorruptionError("WAL header has a wrong checksum");
  }
  return h;
}

void EncodeWalHeader(const WalHeader& h, std::span<uint8_t, kWalHeaderBytes> out) {
  StoreBe32(&out[0], h.big_endian_words ? kMagicBigEndianWords : kMagicLittleEndianWords);
  StoreBe32(&out[4], kWalVersion);
  StoreBe32(&out[8], h.page_size);
  StoreBe32(&out[12], h.checkpoint_sequence);
  StoreBe32(&out[16], h.salt1);
  StoreBe32(&out[20], h.salt2);
  WalChecksum c = ExtendWalChecksum({}, ByteSpan(out.data(), 24), h.big_endian_words);
  StoreBe32(&out[24], c.s0);
  StoreBe32(&out[28], c.s1);
}

WalFrameHeader ParseWalFrameHeader(const uint8_t* p) {
  return {LoadBe32(p),
          LoadBe32(p + 4),
          LoadBe32(p + 8),
          LoadBe32(p + 12),
          {LoadBe32(p + 16), LoadBe32(p + 20)}};
}

}  // namespace sqlite_s3

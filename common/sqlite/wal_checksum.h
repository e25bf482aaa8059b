#pragma once
// The running checksum of a WAL (sqlite.org/fileformat2.html, section 4.1).

#include <cstdint>

#include "common/base/bytes.h"

namespace sqlite_s3 {

// Words are read in the byte order that the WAL's magic number says; the stored values are always
// big-endian.
struct WalChecksum {
  uint32_t s0 = 0;
  uint32_t s1 = 0;
  bool operator==(const WalChecksum&) const = default;
};

// `bytes` is a multiple of 8. In vectors where the processor has AVX2 or NEON and the words are in
// its byte order, as they are by default.
WalChecksum ExtendWalChecksum(WalChecksum start, ByteSpan bytes, bool big_endian_words);

}  // namespace sqlite_s3

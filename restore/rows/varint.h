#pragma once
// SQLite's varint (fileformat2, section 1.6): big-endian, seven bits a byte, the ninth byte whole.

#include <cstddef>
#include <cstdint>

#include "common/base/bytes.h"

namespace sqlite_s3 {

// Moves `at` behind it. False when `in` ends before the number does.
inline bool ReadSqliteVarint(ByteSpan in, size_t* at, uint64_t* out) {
  uint64_t value = 0;
  for (int i = 0; i < 9 && *at < in.size(); ++i) {
    const uint8_t byte = in[(*at)++];
    if (i == 8) {
      *out = value << 8 | byte;
      return true;
    }
    value = value << 7 | (byte & 0x7f);
    if (byte < 0x80) {
      *out = value;
      return true;
    }
  }
  return false;
}

}  // namespace sqlite_s3

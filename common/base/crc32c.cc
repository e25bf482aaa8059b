#include "common/base/crc32c.h"

#include <array>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace sqlite_s3 {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78u;  // reflected

using Table = std::array<std::array<uint32_t, 256>, 8>;

// Eight bytes a step: table k is for a byte that k others follow.
const Table& ByteTables() {
  static const Table tables = [] {
    Table t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t v = i;
      for (int bit = 0; bit < 8; ++bit) v = (v >> 1) ^ ((v & 1) != 0 ? kPolynomial : 0);
      t[0][i] = v;
    }
    for (size_t i = 0; i < 256; ++i) {
      for (size_t k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
    }
    return t;
  }();
  return tables;
}

// The state after, from the state before; neither is inverted.
uint32_t Software(uint32_t state, const uint8_t* p, size_t n) {
  const Table& t = ByteTables();
  for (; n >= 8; n -= 8, p += 8) {
    const uint64_t v = LoadLe64(p) ^ state;
    state = t[7][v & 0xff] ^ t[6][v >> 8 & 0xff] ^ t[5][v >> 16 & 0xff] ^ t[4][v >> 24 & 0xff] ^
            t[3][v >> 32 & 0xff] ^ t[2][v >> 40 & 0xff] ^ t[1][v >> 48 & 0xff] ^ t[0][v >> 56];
  }
  for (; n > 0; --n, ++p) state = (state >> 8) ^ t[0][(state ^ *p) & 0xff];
  return state;
}

#if defined(__x86_64__)

// What kBytes zero bytes make of a state. It is linear in the state's bits, so four look-ups.
template <size_t kBytes>
class Zeros {
 public:
  static uint32_t Append(uint32_t state) {
    static const Zeros zeros;
    const auto& t = zeros.tables_;
    return t[0][state & 0xff] ^ t[1][state >> 8 & 0xff] ^ t[2][state >> 16 & 0xff] ^
           t[3][state >> 24];
  }

 private:
  Zeros() {
    static const std::array<uint8_t, kBytes> kZeros{};
    std::array<uint32_t, 32> of_bit{};
    for (size_t bit = 0; bit < 32; ++bit) {
      of_bit[bit] = Software(uint32_t{1} << bit, kZeros.data(), kZeros.size());
    }
    for (size_t k = 0; k < 4; ++k) {
      for (size_t i = 0; i < 256; ++i) {
        for (size_t bit = 0; bit < 8; ++bit) {
          if ((i >> bit & 1) != 0) tables_[k][i] ^= of_bit[8 * k + bit];
        }
      }
    }
  }
  std::array<std::array<uint32_t, 256>, 4> tables_{};
};

// The instruction takes three cycles and can be begun in each: three streams keep it busy.
template <size_t kBytes>
__attribute__((target("sse4.2"))) uint32_t Blocks(uint32_t state, const uint8_t*& p, size_t& n) {
  for (; n >= 3 * kBytes; n -= 3 * kBytes, p += 3 * kBytes) {
    uint64_t a = state;
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < kBytes; i += 8) {
      uint64_t words[3];
      std::memcpy(&words[0], p + i, 8);
      std::memcpy(&words[1], p + i + kBytes, 8);
      std::memcpy(&words[2], p + i + 2 * kBytes, 8);
      a = _mm_crc32_u64(a, words[0]);
      b = _mm_crc32_u64(b, words[1]);
      c = _mm_crc32_u64(c, words[2]);
    }
    state = Zeros<kBytes>::Append(static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
    state = Zeros<kBytes>::Append(state) ^ static_cast<uint32_t>(c);
  }
  return state;
}

__attribute__((target("sse4.2"))) uint32_t Hardware(uint32_t state, const uint8_t* p, size_t n) {
  state = Blocks<4096>(state, p, n);
  state = Blocks<256>(state, p, n);
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word = 0;
    std::memcpy(&word, p, 8);
    state = static_cast<uint32_t>(_mm_crc32_u64(state, word));
  }
  for (; n > 0; --n, ++p) state = _mm_crc32_u8(state, *p);
  return state;
}

#endif

}  // namespace

uint32_t Crc32c(ByteSpan bytes, uint32_t before) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) {
    return ~Hardware(~before, bytes.data(), bytes.size());
  }
#endif
  return Crc32cByTable(bytes, before);
}

uint32_t Crc32cByTable(ByteSpan bytes, uint32_t before) {
  return ~Software(~before, bytes.data(), bytes.size());
}

}  // namespace sqlite_s3

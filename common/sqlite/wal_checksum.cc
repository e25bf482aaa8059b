#include "common/sqlite/wal_checksum.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace sqlite_s3 {
namespace {

// SQLite's own way: each word waits for the one before.
template <bool kSwapped>
WalChecksum ExtendInTurn(WalChecksum c, ByteSpan bytes) {
  uint32_t s0 = c.s0;
  uint32_t s1 = c.s1;
  const uint8_t* p = bytes.data();
  for (const uint8_t* end = p + bytes.size(); p < end; p += 8) {
    uint32_t x[2];
    std::memcpy(x, p, 8);
    s0 += (kSwapped ? __builtin_bswap32(x[0]) : x[0]) + s1;
    s1 += (kSwapped ? __builtin_bswap32(x[1]) : x[1]) + s0;
  }
  return {s0, s1};
}

// The same as two sums of products, which vectors are good at. Written out, s0 has the j-th word
// from the end (from 0) F(j) times, and s1 has it F(j + 1) times, where F are Fibonacci's numbers,
// modulo 2^32. Of what they were before, s0 counts like the first word, and s1 like one before it.
constexpr size_t kMostWords = 1024;

struct Factors {
  uint32_t fibonacci[kMostWords + 2];  // [i] is F(kMostWords + 1 - i)
};

constexpr Factors MakeFactors() {
  Factors factors{};
  factors.fibonacci[kMostWords] = 1;  // F(1); F(0) is 0
  for (size_t i = kMostWords; i-- > 0;) {
    factors.fibonacci[i] = factors.fibonacci[i + 1] + factors.fibonacci[i + 2];
  }
  return factors;
}
constexpr Factors kFactors = MakeFactors();

template <size_t kLanes>
struct Vector {
  typedef uint32_t Words __attribute__((vector_size(kLanes * 4)));
};

// REQUIRES: `words` is a multiple of kLanes, at most kMostWords.
template <size_t kLanes>
[[gnu::always_inline]] inline WalChecksum ExtendBySums(WalChecksum c, const uint8_t* p,
                                                       size_t words) {
  using Words = typename Vector<kLanes>::Words;
  const uint32_t* factors = &kFactors.fibonacci[kMostWords + 1 - words];  // F(words) and down
  Words sums0{};
  Words sums1{};
  for (size_t i = 0; i < words; i += kLanes) {
    Words x;
    Words factors0;
    Words factors1;
    std::memcpy(&x, p + i * 4, sizeof(x));
    std::memcpy(&factors0, factors + i + 1, sizeof(x));
    std::memcpy(&factors1, factors + i, sizeof(x));
    sums0 += x * factors0;
    sums1 += x * factors1;
  }
  WalChecksum result{c.s0 * factors[1] + c.s1 * factors[0], c.s0 * factors[0] + c.s1 * factors[-1]};
  for (size_t lane = 0; lane < kLanes; ++lane) {
    result.s0 += sums0[lane];
    result.s1 += sums1[lane];
  }
  return result;
}

template <size_t kLanes>
[[gnu::always_inline]] inline WalChecksum ExtendInVectors(WalChecksum c, ByteSpan bytes) {
  while (bytes.size() >= kLanes * 4) {
    const size_t words = std::min(bytes.size() / 4 / kLanes * kLanes, kMostWords);
    c = ExtendBySums<kLanes>(c, bytes.data(), words);
    bytes = bytes.subspan(words * 4);
  }
  return ExtendInTurn<false>(c, bytes);
}

#if defined(__x86_64__)
// SSE2, which every x86-64 has, cannot multiply four words by four.
[[gnu::target("avx2")]] WalChecksum ExtendWithAvx2(WalChecksum c, ByteSpan bytes) {
  return ExtendInVectors<8>(c, bytes);
}

WalChecksum ExtendInOrder(WalChecksum c, ByteSpan bytes) {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2 ? ExtendWithAvx2(c, bytes) : ExtendInTurn<false>(c, bytes);
}
#elif defined(__aarch64__)
WalChecksum ExtendInOrder(WalChecksum c, ByteSpan bytes) { return ExtendInVectors<4>(c, bytes); }
#else
WalChecksum ExtendInOrder(WalChecksum c, ByteSpan bytes) { return ExtendInTurn<false>(c, bytes); }
#endif

}  // namespace

WalChecksum ExtendWalChecksum(WalChecksum start, ByteSpan bytes, bool big_endian_words) {
  if (big_endian_words != (std::endian::native == std::endian::big)) {
    return ExtendInTurn<true>(start, bytes);
  }
  return ExtendInOrder(start, bytes);
}

}  // namespace sqlite_s3

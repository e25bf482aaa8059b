#include "common/format/fse_encoder.h"

namespace sqlite_s3::fse {
namespace {

// RFC 8878, section 3.1.1.3.2.2: the predefined distributions. -1: less than one.
constexpr int kLiteralsDistribution[] = {4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1,  1,  2,  2,
                                         2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1};
constexpr int kMatchDistribution[] = {1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1,  1,  1,  1,  1,  1,  1, 1,
                                      1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1,  1,  1,  1,  1,  1, 1,
                                      1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1};
constexpr int kOffsetDistribution[] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 1,  1,  1,  1,  1, 1,
                                       1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1};
constexpr uint32_t kLiteralsLog = 6;
constexpr uint32_t kMatchLog = 6;
constexpr uint32_t kOffsetLog = 5;

// Section 3.1.1.3.2.1.1: extra bits of each code. The baselines follow from them.
constexpr uint8_t kLiteralsBits[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  1,  1,
                                     1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
constexpr uint8_t kMatchBits[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  0,  0, 0,
                                  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  1,  1,  1, 1,
                                  2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

// Codes of the values below Size; above, there is one code for each power of two.
template <size_t Size, size_t Codes>
constexpr std::array<uint8_t, Size> CodesBelow(const uint8_t (&bits)[Codes]) {
  std::array<uint8_t, Size> codes{};
  size_t value = 0;
  for (uint8_t code = 0; code < Codes && value < Size; ++code) {
    for (size_t i = 0; i < (size_t{1} << bits[code]) && value < Size; ++i) {
      codes[value++] = code;
    }
  }
  return codes;
}
constexpr auto kLiteralsCodes = CodesBelow<64>(kLiteralsBits);
constexpr auto kMatchCodes = CodesBelow<128>(kMatchBits);
constexpr uint32_t kLiteralsCodeOfPower = 19;  // 64 = 2^6 has code 25
constexpr uint32_t kMatchCodeOfPower = 36;     // 128 = 2^7 has code 43

uint32_t PowerOf(uint32_t value) { return static_cast<uint32_t>(std::bit_width(value)) - 1; }

}  // namespace

EncodingTable::EncodingTable(std::span<const int> distribution, uint32_t log) : log_(log) {
  const uint32_t size = 1u << log;
  const uint32_t mask = size - 1;
  const uint32_t step = (size >> 1) + (size >> 3) + 3;
  std::array<uint32_t, kMaxSymbols + 1> first{};
  std::array<uint8_t, 64> symbols{};
  // Symbols of less than one have a state each at the end, the others are spread over the rest.
  uint32_t high = size - 1;
  for (size_t s = 0; s < distribution.size(); ++s) {
    const bool rare = distribution[s] == -1;
    first[s + 1] = first[s] + (rare ? 1 : static_cast<uint32_t>(distribution[s]));
    if (rare) {
      symbols[high--] = static_cast<uint8_t>(s);
    }
  }
  uint32_t at = 0;
  for (size_t s = 0; s < distribution.size(); ++s) {
    for (int i = 0; i < distribution[s]; ++i) {
      symbols[at] = static_cast<uint8_t>(s);
      do {
        at = (at + step) & mask;
      } while (at > high);
    }
  }
  std::array<uint32_t, kMaxSymbols + 1> next = first;
  for (uint32_t state = 0; state < size; ++state) {
    states_[next[symbols[state]]++] = static_cast<uint16_t>(size + state);
  }
  for (size_t s = 0; s < distribution.size(); ++s) {
    const uint32_t count = first[s + 1] - first[s];
    const uint32_t max_bits = count == 1 ? log : log - PowerOf(count - 1);
    transforms_[s].bits_delta = (max_bits << 16) - (count << max_bits);
    transforms_[s].first_state = static_cast<int32_t>(first[s]) - static_cast<int32_t>(count);
  }
}

uint32_t LiteralsCode(uint32_t length) {
  return length < kLiteralsCodes.size() ? kLiteralsCodes[length]
                                        : PowerOf(length) + kLiteralsCodeOfPower;
}
uint32_t LiteralsExtraBits(uint32_t code) { return kLiteralsBits[code]; }

uint32_t MatchCode(uint32_t length_minus_3) {
  return length_minus_3 < kMatchCodes.size() ? kMatchCodes[length_minus_3]
                                             : PowerOf(length_minus_3) + kMatchCodeOfPower;
}
uint32_t MatchExtraBits(uint32_t code) { return kMatchBits[code]; }

const EncodingTable& LiteralsTable() {
  static const EncodingTable table(kLiteralsDistribution, kLiteralsLog);
  return table;
}
const EncodingTable& MatchTable() {
  static const EncodingTable table(kMatchDistribution, kMatchLog);
  return table;
}
const EncodingTable& OffsetTable() {
  static const EncodingTable table(kOffsetDistribution, kOffsetLog);
  return table;
}

}  // namespace sqlite_s3::fse

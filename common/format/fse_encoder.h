#pragma once
// The entropy coder of zstd's sequences (RFC 8878, section 4.1) for the format's predefined tables,
// and the code tables of section 3.1.1.3.2.1.1. Internal to common/format.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/bytes.h"

namespace sqlite_s3::fse {

// Bits from the lowest of each byte on, as the decoder reads them backwards.
class BitWriter {
 public:
  // `out` must have room for 8 bytes more than are written.
  explicit BitWriter(uint8_t* out) : out_(out) {}
  // At most 32 bits; at most 56 between calls of Flush.
  void Add(uint64_t value, uint32_t bits) {
    held_ |= (value & ((uint64_t{1} << bits) - 1)) << count_;
    count_ += bits;
  }
  void Flush() {
    StoreLe64(out_, held_);
    const uint32_t bytes = count_ / 8;
    out_ += bytes;
    held_ >>= bytes * 8;
    count_ %= 8;
  }
  // The end mark; returns the end of the stream.
  uint8_t* Finish() {
    Add(1, 1);
    Flush();
    return count_ > 0 ? out_ + 1 : out_;
  }

 private:
  uint8_t* out_;
  uint64_t held_ = 0;
  uint32_t count_ = 0;
};

inline constexpr size_t kMaxSymbols = 53;

// Built from a distribution as the decoder builds its own (RFC 8878, section 4.1.1).
class EncodingTable {
 public:
  EncodingTable(std::span<const int> distribution, uint32_t log);

 private:
  friend class EncodingState;
  struct Transform {
    int32_t first_state = 0;
    uint32_t bits_delta = 0;
  };
  uint32_t log_;
  std::array<uint16_t, 64> states_{};
  std::array<Transform, kMaxSymbols> transforms_{};
};

class EncodingState {
 public:
  // With the symbol that is decoded last.
  EncodingState(const EncodingTable& table, uint32_t symbol) : table_(table) {
    const EncodingTable::Transform& t = table.transforms_[symbol];
    const uint32_t bits = (t.bits_delta + (1u << 15)) >> 16;
    const uint32_t value = (bits << 16) - t.bits_delta;
    state_ = StateAt(value >> bits, t);
  }
  void Encode(uint32_t symbol, BitWriter& out) {
    const EncodingTable::Transform& t = table_.transforms_[symbol];
    const uint32_t bits = (state_ + t.bits_delta) >> 16;
    out.Add(state_, bits);
    state_ = StateAt(state_ >> bits, t);
  }
  void Finish(BitWriter& out) const { out.Add(state_, table_.log_); }

 private:
  uint32_t StateAt(uint32_t value, const EncodingTable::Transform& t) const {
    const int32_t state = static_cast<int32_t>(value) + t.first_state;
    return table_.states_[static_cast<size_t>(state)];
  }
  const EncodingTable& table_;
  uint32_t state_;
};

// A code stands for a range of values: its baseline, and extra bits for where in the range.
uint32_t LiteralsCode(uint32_t length);  // up to 65535
uint32_t LiteralsExtraBits(uint32_t code);
uint32_t MatchCode(uint32_t length_minus_3);  // up to 65535
uint32_t MatchExtraBits(uint32_t code);
inline uint32_t OffsetCode(uint32_t value) {
  return static_cast<uint32_t>(std::bit_width(value)) - 1;
}

const EncodingTable& LiteralsTable();
const EncodingTable& MatchTable();
const EncodingTable& OffsetTable();

}  // namespace sqlite_s3::fse

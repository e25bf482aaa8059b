#pragma once
// Bytes: spans, fixed-width and variable-length integers, and a cursor that cannot read past its
// end.

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sqlite_s3 {

using Bytes = std::vector<uint8_t>;
using ByteSpan = std::span<const uint8_t>;

inline ByteSpan AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline uint16_t LoadBe16(const uint8_t* p) {
  return static_cast<uint16_t>(uint32_t{p[0]} << 8 | uint32_t{p[1]});
}
inline uint32_t LoadBe32(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | uint32_t{p[3]};
}
inline void StoreBe32(uint8_t* p, uint32_t v) {
  p[0] = static_cast<uint8_t>(v >> 24);
  p[1] = static_cast<uint8_t>(v >> 16);
  p[2] = static_cast<uint8_t>(v >> 8);
  p[3] = static_cast<uint8_t>(v);
}
inline uint32_t LoadLe32(const uint8_t* p) {
  return uint32_t{p[3]} << 24 | uint32_t{p[2]} << 16 | uint32_t{p[1]} << 8 | uint32_t{p[0]};
}
inline uint64_t LoadLe64(const uint8_t* p) { return uint64_t{LoadLe32(p + 4)} << 32 | LoadLe32(p); }
inline void StoreLe32(uint8_t* p, uint32_t v) {
  for (int i = 0; i < 4; ++i) {
    p[i] = static_cast<uint8_t>(v >> (8 * i));
  }
}
inline void StoreLe64(uint8_t* p, uint64_t v) {
  for (int i = 0; i < 8; ++i) {
    p[i] = static_cast<uint8_t>(v >> (8 * i));
  }
}

// Appends to a growing buffer. Little-endian; Varint is LEB128, at most 10 bytes.
class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}
  void U8(uint8_t v) { out_.push_back(v); }
  void U16(uint16_t v) {
    U8(static_cast<uint8_t>(v));
    U8(static_cast<uint8_t>(v >> 8));
  }
  void U32(uint32_t v) {
    uint8_t b[4];
    StoreLe32(b, v);
    Raw(b);
  }
  void U64(uint64_t v) {
    uint8_t b[8];
    StoreLe64(b, v);
    Raw(b);
  }
  void Varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) {
      U8(static_cast<uint8_t>(v | 0x80));
    }
    U8(static_cast<uint8_t>(v));
  }
  void SignedVarint(int64_t v) {  // zigzag
    Varint((static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63));
  }
  void Raw(ByteSpan bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

 private:
  Bytes& out_;
};

// Reads from a span. Once a read goes past the end, or a varint is malformed, ok() is false for
// good and every further read yields zero: check ok() once at the end, and before trusting a count.
class ByteReader {
 public:
  explicit ByteReader(ByteSpan in) : in_(in) {}
  bool ok() const { return ok_; }
  size_t remaining() const { return in_.size() - pos_; }
  size_t position() const { return pos_; }
  uint8_t U8() {
    const uint8_t* p = Take(1);
    return p ? *p : uint8_t{0};
  }
  uint16_t U16() {
    const uint8_t* p = Take(2);
    return p ? static_cast<uint16_t>(uint32_t{p[0]} | uint32_t{p[1]} << 8) : uint16_t{0};
  }
  uint32_t U32() {
    const uint8_t* p = Take(4);
    return p ? LoadLe32(p) : 0;
  }
  uint64_t U64() {
    const uint8_t* p = Take(8);
    return p ? LoadLe64(p) : 0;
  }
  uint64_t Varint() {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      uint8_t b = U8();
      if (!ok_) {
        return 0;
      }
      if (shift == 63 && b > 1) {
        break;
      }
      v |= static_cast<uint64_t>(b & 0x7f) << shift;
      if (b < 0x80) {
        return v;
      }
    }
    ok_ = false;
    return 0;
  }
  int64_t SignedVarint() {
    uint64_t v = Varint();
    return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
  }
  ByteSpan Raw(size_t n) {
    const uint8_t* p = Take(n);
    return p ? ByteSpan(p, n) : ByteSpan();
  }

 private:
  const uint8_t* Take(size_t n) {
    if (!ok_ || n > remaining()) {
      ok_ = false;
      return nullptr;
    }
    const uint8_t* p = in_.data() + pos_;
    pos_ += n;
    return p;
  }
  ByteSpan in_;
  size_t pos_ = 0;
  bool ok_ = true;
};

std::string HexEncode(ByteSpan bytes);                  // lower case
std::optional<Bytes> HexDecode(std::string_view text);  // lower or upper case

}  // namespace sqlite_s3

#include "common/sqlite/wal_checksum.h"

#include <gtest/gtest.h>

#include <random>

namespace sqlite_s3 {
namespace {

// As the file format's description has it, byte by byte.
WalChecksum AsDescribed(WalChecksum c, ByteSpan bytes, bool big_endian_words) {
  auto word = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) {
      value |= uint32_t{bytes[at + i]} << 8 * (big_endian_words ? 3 - i : i);
    }
    return value;
  };
  for (size_t at = 0; at < bytes.size(); at += 8) {
    c.s0 += word(at) + c.s1;
    c.s1 += word(at + 4) + c.s0;
  }
  return c;
}

class WalChecksumTest : public testing::TestWithParam<bool> {
 protected:
  Bytes Random(size_t size) {
    Bytes bytes(size);
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(random_());
    }
    return bytes;
  }
  WalChecksum RandomStart() {
    return {static_cast<uint32_t>(random_()), static_cast<uint32_t>(random_())};
  }

  std::mt19937 random_{20};
};

TEST_P(WalChecksumTest, IsAsDescribedForEveryLength) {
  for (size_t size = 0; size <= 3 * 4096; size += 8) {
    const Bytes bytes = Random(size);
    const WalChecksum start = RandomStart();
    ASSERT_EQ(ExtendWalChecksum(start, bytes, GetParam()), AsDescribed(start, bytes, GetParam()))
        << size << " bytes";
  }
}

TEST_P(WalChecksumTest, IsAsDescribedAtEveryAddressAndForTheLargestPage) {
  const Bytes bytes = Random(65536 + 64);
  for (size_t offset = 0; offset < 64; ++offset) {
    const ByteSpan page = ByteSpan(bytes).subspan(offset, 65536);
    const WalChecksum start = RandomStart();
    ASSERT_EQ(ExtendWalChecksum(start, page, GetParam()), AsDescribed(start, page, GetParam()))
        << "at " << offset;
  }
}

TEST_P(WalChecksumTest, AFlippedBitAnywhereShows) {
  Bytes bytes = Random(4096);
  const WalChecksum right = ExtendWalChecksum({}, bytes, GetParam());
  for (size_t at = 0; at < bytes.size(); ++at) {
    const auto bit = static_cast<uint8_t>(1 << at % 8);
    bytes[at] ^= bit;
    EXPECT_NE(ExtendWalChecksum({}, bytes, GetParam()), right) << "at " << at;
    bytes[at] ^= bit;
  }
}

INSTANTIATE_TEST_SUITE_P(ByteOrders, WalChecksumTest, testing::Bool(),
                         [](const auto& of) { return of.param ? "BigEndian" : "LittleEndian"; });

}  // namespace
}  // namespace sqlite_s3

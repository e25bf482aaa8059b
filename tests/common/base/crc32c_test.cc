#include "common/base/crc32c.h"

#include <gtest/gtest.h>

namespace sqlite_s3 {
namespace {

// RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
TEST(Crc32cTest, HasThePublishedValues) {
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xE3069283u);
  EXPECT_EQ(Crc32c({}), 0u);
  Bytes bytes(32, 0);
  EXPECT_EQ(Crc32c(bytes), 0x8A9136AAu);
  bytes.assign(32, 0xff);
  EXPECT_EQ(Crc32c(bytes), 0x62A8AB43u);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  EXPECT_EQ(Crc32c(bytes), 0x46DD794Eu);
}

TEST(Crc32cTest, TheInstructionAndTheTablesAgreeAtEveryLengthAndOffset) {
  Bytes bytes(40'000);
  uint32_t state = 1;
  for (uint8_t& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(state >> 24);
  }
  // Around the sizes of its blocks: 8, 3 * 256, 3 * 4096.
  for (const int n : {0, 1, 7, 8, 9, 767, 768, 769, 1535, 12287, 12288, 12289, 13056, 39'990}) {
    for (const int at : {0, 1, 3, 8}) {
      const auto length = static_cast<size_t>(n);
      const auto offset = static_cast<size_t>(at);
      const ByteSpan span = ByteSpan(bytes).subspan(offset, length);
      EXPECT_EQ(Crc32c(span), Crc32cByTable(span)) << length << " at " << offset;
    }
  }
}

TEST(Crc32cTest, GoesOnFromWhatStoodBefore) {
  const Bytes bytes(20'000, 'x');
  const ByteSpan all(bytes);
  for (const size_t cut : {size_t{0}, size_t{1}, size_t{100}, size_t{13'000}, size_t{20'000}}) {
    EXPECT_EQ(Crc32c(all.subspan(cut), Crc32c(all.first(cut))), Crc32c(all)) << cut;
  }
}

}  // namespace
}  // namespace sqlite_s3

#include <gtest/gtest.h>
#include <zstd.h>

#include <random>

#include "common/format/segment.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

// `base` with a few bytes changed.
Bytes Changed(Bytes base, std::mt19937_64& random, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    base[random() % base.size()] = static_cast<uint8_t>(random());
  }
  return base;
}

Bytes Encoded(ByteSpan pages, ByteSpan bases, int level = 3) {
  ChunkEncoder encoder(level);
  Bytes out;
  Status s = encoder.Append(pages, bases, out);
  EXPECT_TRUE(s.ok()) << s.ToString();
  return out;
}

Status Decode(ByteSpan chunk, ByteSpan bases, std::span<uint8_t> pages) {
  ChunkDecoder decoder;
  ByteReader in(chunk);
  return decoder.Next(in, bases, pages);
}

// The zstd frame of a chunk.
ByteSpan FrameOf(ByteSpan chunk) {
  ByteReader in(chunk);
  return in.Raw(in.Varint());
}

TEST(ChunkCodecTest, RoundTripsForEveryPageSizeAndNumberOfBases) {
  std::mt19937_64 random(1);
  for (int level : {1, 3, 6, 19}) {
    ChunkEncoder encoder(level);
    ChunkDecoder decoder;
    for (uint32_t page_size = kMinPageSize; page_size <= kMaxPageSize; page_size *= 2) {
      for (uint32_t count : {1u, 2u, 5u}) {
        for (uint32_t with_base = 0; with_base <= count; ++with_base) {
          Bytes bases;
          Bytes pages;
          for (uint32_t i = 0; i < count; ++i) {
            Bytes old = RandomPage(random, page_size);
            pages = pages + Changed(old, random, 9);
            if (i < with_base) {
              bases = bases + old;
            }
          }
          Bytes chunk;
          ASSERT_TRUE(encoder.Append(pages, bases, chunk).ok());
          ByteReader in(chunk);
          Bytes decoded(pages.size());
          Status s = decoder.Next(in, bases, decoded);
          ASSERT_TRUE(s.ok()) << s.ToString();
          ASSERT_EQ(in.remaining(), 0u);
          ASSERT_EQ(decoded, pages);
        }
      }
    }
  }
}

// Found at the level where libzstd's own table holds the last bases only: 786 KB instead of 2 KB.
TEST(ChunkCodecTest, AWholeChunkFindsTheBasesOfAllItsPages) {
  std::mt19937_64 random(2);
  Bytes bases = RandomPage(random, kChunkBytes);
  Bytes pages = Changed(bases, random, 20);
  for (int level : {1, 3}) {
    Bytes chunk = Encoded(pages, bases, level);
    EXPECT_LT(chunk.size(), 4096u) << "at level " << level << " bases were not found";
    Bytes decoded(pages.size());
    ASSERT_TRUE(Decode(chunk, bases, decoded).ok());
    EXPECT_EQ(decoded, pages);
  }
}

TEST(ChunkCodecTest, AOneColumnChangeOfA4KPageTakesAboutThirtyBytes) {
  std::mt19937_64 random(3);
  Bytes base = RandomPage(random, 4096);
  Bytes page = base;
  for (size_t i = 2000; i < 2008; ++i) {
    page[i] ^= 0xff;
  }
  EXPECT_LE(Encoded(page, base).size(), 40u);
}

TEST(ChunkCodecTest, AContextKeepsNothingFromOneChunkToTheNext) {
  std::mt19937_64 random(4);
  Bytes base = RandomPage(random, 4096);
  Bytes page = Changed(base, random, 4);
  ChunkEncoder encoder(3);
  Bytes with_base;
  Bytes without;
  ASSERT_TRUE(encoder.Append(page, base, with_base).ok());
  ASSERT_TRUE(encoder.Append(page, {}, without).ok());
  EXPECT_GT(without.size(), 4000u);
  Bytes decoded(4096);
  ASSERT_TRUE(Decode(without, {}, decoded).ok());
  EXPECT_EQ(decoded, page);
}

TEST(ChunkCodecTest, TheFrameIsDecodableByZstdAlone) {
  std::mt19937_64 random(5);
  Bytes base = RandomPage(random, 4096);
  Bytes page = Changed(base, random, 4);
  Bytes chunk = Encoded(page, base);
  ByteSpan frame = FrameOf(chunk);
  EXPECT_EQ(ZSTD_getFrameContentSize(frame.data(), frame.size()), ZSTD_CONTENTSIZE_UNKNOWN);
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 21);
  ZSTD_DCtx_refPrefix(context, base.data(), base.size());
  Bytes decoded(page.size());
  size_t n =
      ZSTD_decompressDCtx(context, decoded.data(), decoded.size(), frame.data(), frame.size());
  ZSTD_freeDCtx(context);
  EXPECT_EQ(n, page.size());
  EXPECT_EQ(decoded, page);
}

TEST(ChunkCodecTest, ABaseThatLooksLikeADictionaryIsJustBytes) {
  std::mt19937_64 random(6);
  Bytes base = RandomPage(random, 4096);
  StoreLe32(base.data(), 0xEC30A437);  // ZSTD_MAGIC_DICTIONARY
  Bytes page = Changed(base, random, 3);
  Bytes chunk = Encoded(page, base);
  EXPECT_LT(chunk.size(), 60u);
  Bytes decoded(4096);
  ASSERT_TRUE(Decode(chunk, base, decoded).ok());
  EXPECT_EQ(decoded, page);
}

TEST(ChunkCodecTest, EncoderRefusesChunksOfImpossibleSize) {
  ChunkEncoder encoder(1);
  Bytes out;
  Bytes page(512);
  EXPECT_EQ(encoder.Append({}, {}, out).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(encoder.Append(Bytes(kChunkBytes + 1), {}, out).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(encoder.Append(page, Bytes(513), out).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(out.empty());
}

TEST(ChunkCodecTest, ChunkMustDecodeToExactlyThePagesAsked) {
  std::mt19937_64 random(7);
  Bytes chunk = Encoded(RandomPage(random, 1024), {});
  for (size_t size : {1u, 512u, 1023u, 1025u, 2048u}) {
    Bytes decoded(size);
    EXPECT_EQ(Decode(chunk, {}, decoded).code(), StatusCode::kCorruption) << size;
  }
}

TEST(ChunkCodecTest, TruncatedChunksAreCorruption) {
  std::mt19937_64 random(8);
  Bytes page = RandomPage(random, 512);
  Bytes chunk = Encoded(page, {});
  Bytes decoded(512);
  for (size_t n = 0; n < chunk.size(); ++n) {
    EXPECT_EQ(Decode(ByteSpan(chunk).first(n), {}, decoded).code(), StatusCode::kCorruption) << n;
  }
}

TEST(ChunkCodecTest, FlippedBitsNeverReachBeyondThePages) {
  std::mt19937_64 random(9);
  Bytes base = RandomPage(random, 512);
  Bytes page = Changed(base, random, 5);
  Bytes chunk = Encoded(page, base);
  for (size_t bit = 0; bit < chunk.size() * 8; ++bit) {
    Bytes damaged = chunk;
    damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    Bytes decoded(512);
    Status s = Decode(damaged, base, decoded);  // memory is what the sanitizers watch here
    EXPECT_TRUE(s.ok() || s.code() == StatusCode::kCorruption) << s.ToString();
  }
}

TEST(ChunkCodecTest, TakesOneShapeOfFrameOnly) {
  Bytes content(512, 0x5a);
  Bytes decoded(512);
  auto status = [&](const Bytes& frame) {
    Bytes length;
    ByteWriter(length).Varint(frame.size());
    return Decode(length + frame, {}, decoded).code();
  };
  Bytes chunk = FilledChunk(512, 0x5a);
  ByteSpan plain = FrameOf(chunk);
  Bytes good(plain.begin(), plain.end());
  EXPECT_EQ(status(good), StatusCode::kOk);
  EXPECT_EQ(decoded, content);
  Bytes simple(ZSTD_compressBound(512));
  simple.resize(ZSTD_compress(simple.data(), simple.size(), content.data(), content.size(), 1));
  EXPECT_EQ(status(simple), StatusCode::kCorruption) << "content size in the frame";
  Bytes wide = good;
  wide[5] = 12 << 3;  // a window of 4 MiB
  EXPECT_EQ(status(wide), StatusCode::kCorruption);
  EXPECT_EQ(status(good + good), StatusCode::kCorruption) << "two frames";
  EXPECT_EQ(status(good + FromHex("502a4d1800000000")), StatusCode::kCorruption) << "skippable";
  EXPECT_EQ(status(FromHex("502a4d180a00000000000000000000000000")), StatusCode::kCorruption);
  EXPECT_EQ(status(good + Bytes{0}), StatusCode::kCorruption) << "trailing byte";
}

TEST(ChunkCodecTest, CheckChunksCountsWholeChunks) {
  Bytes one = FilledChunk(512, 1);
  EXPECT_TRUE(CheckChunks({}, 0).ok());
  EXPECT_TRUE(CheckChunks(one, 1).ok());
  EXPECT_TRUE(CheckChunks(one + one, 2).ok());
  EXPECT_FALSE(CheckChunks(one, 0).ok());
  EXPECT_FALSE(CheckChunks(one, 2).ok());
  EXPECT_FALSE(CheckChunks(one + one, 1).ok());
  EXPECT_FALSE(CheckChunks(one + Bytes{0}, 1).ok());
  EXPECT_FALSE(CheckChunks(one + Bytes{0}, 2).ok()) << "a chunk of no bytes";
  EXPECT_FALSE(CheckChunks(ByteSpan(one).first(one.size() - 1), 1).ok());
  EXPECT_FALSE(CheckChunks(Bytes(11, 0xff), 1).ok());
}

}  // namespace
}  // namespace sqlite_s3

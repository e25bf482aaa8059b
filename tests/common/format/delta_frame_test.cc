#include "common/format/delta_frame.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <random>

#include "common/format/fse_encoder.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

constexpr DeltaFrameWriter::Limits kNoLimits{1 << 20, 1 << 20};

// Decodes with libzstd alone; empty when it refuses.
Bytes Decoded(ByteSpan frame, ByteSpan bases, size_t size) {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ZSTD_DCtx_refPrefix(context, bases.data(), bases.size());
  Bytes out(size);
  size_t n = ZSTD_decompressDCtx(context, out.data(), out.size(), frame.data(), frame.size());
  ZSTD_freeDCtx(context);
  EXPECT_FALSE(ZSTD_isError(n)) << ZSTD_getErrorName(n);
  out.resize(ZSTD_isError(n) ? 0 : n);
  return out;
}

// One of the things that SQLite does to pages, or that it does not.
void Change(std::mt19937_64& random, Bytes& pages) {
  const size_t n = pages.size();
  size_t at = random() % n;
  size_t length = std::min<size_t>(1 + random() % 200, n - at);
  auto begin = pages.begin() + static_cast<std::ptrdiff_t>(at);
  auto end = begin + static_cast<std::ptrdiff_t>(length);
  switch (random() % 6) {
    case 0:  // new bytes
      std::generate(begin, end, [&] { return static_cast<uint8_t>(random()); });
      break;
    case 1:  // an entry into an array of cell pointers
      std::rotate(begin, begin + static_cast<std::ptrdiff_t>(std::min<size_t>(2, length)), end);
      break;
    case 2:  // a cell moved, or repeated on another page
    {
      const Bytes cell(begin, end);
      std::copy(cell.begin(), cell.end(),
                pages.begin() + static_cast<std::ptrdiff_t>(random() % (n - length + 1)));
    } break;
    case 3:
      std::fill(begin, end, static_cast<uint8_t>(random() % 3));
      break;
    case 4:  // every other byte: no match is long enough
      for (size_t i = at; i < at + length; i += 2) {
        ++pages[i];
      }
      break;
    default:
      ++pages[at];
  }
}

TEST(DeltaFrameTest, EveryFrameIsOneThatLibzstdDecodes) {
  std::mt19937_64 random(1);
  DeltaFrameWriter writer;
  int written = 0;
  for (int round = 0; round < 4000; ++round) {
    const uint32_t page_size = uint32_t{512} << random() % 5;
    const uint32_t count = static_cast<uint32_t>(1 + random() % 6);
    Bytes pages = RandomPage(random, page_size * count);
    if (random() % 4 == 0) {
      std::fill(pages.begin(), pages.end(), uint8_t{0});
    }
    const Bytes bases(pages.begin(),
                      pages.end() - static_cast<std::ptrdiff_t>(random() % count * page_size));
    for (size_t i = random() % 12; i > 0; --i) {
      Change(random, pages);
    }
    auto frame = writer.Write(pages, bases, kNoLimits);
    if (frame) {
      ++written;
      ASSERT_LT(frame->size(), pages.size() + 9);
      ASSERT_EQ(Decoded(*frame, bases, pages.size()), pages) << "round " << round;
    }
  }
  EXPECT_GT(written, 2000);
}

TEST(DeltaFrameTest, LongMatchesAndManyFramesOfTheLargestSize) {
  std::mt19937_64 random(2);
  DeltaFrameWriter writer;
  const Bytes bases = RandomPage(random, 128 << 10);
  Bytes pages = bases;
  // More than the 2^28 bytes after which places in the index start anew.
  for (int round = 0; round < 2200; ++round) {
    const size_t at = random() % (pages.size() - 40);
    std::generate_n(pages.begin() + static_cast<std::ptrdiff_t>(at), 40,
                    [&] { return static_cast<uint8_t>(random()); });
    auto frame = writer.Write(pages, bases, kNoLimits);
    ASSERT_TRUE(frame) << round;
    if (round % 100 == 0 || round > 2040) {
      ASSERT_EQ(Decoded(*frame, bases, pages.size()), pages) << round;
    }
    std::copy_n(bases.begin() + static_cast<std::ptrdiff_t>(at), 40,
                pages.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

// The index of the bases outlives a frame: what it knows of an earlier page is compared before it
// is used, and a page that comes again is found in as well as by a writer that sees it first.
TEST(DeltaFrameTest, AnIndexKeptFromAnEarlierPageDoesNoHarm) {
  std::mt19937_64 random(3);
  DeltaFrameWriter writer;
  Bytes pages[3] = {RandomPage(random, 4096), RandomPage(random, 4096), RandomPage(random, 512)};
  size_t kept = 0;
  size_t fresh = 0;
  for (int round = 0; round < 3000; ++round) {
    Bytes& page = pages[random() % 40 == 0 ? random() % 3 : 0];
    const Bytes base = page;
    for (size_t i = 1 + random() % 3; i > 0; --i) {
      Change(random, page);
    }
    auto frame = writer.Write(page, base, kNoLimits);
    auto alone = DeltaFrameWriter().Write(page, base, kNoLimits);
    if (frame) {
      ASSERT_EQ(Decoded(*frame, base, page.size()), page) << "round " << round;
    }
    kept += frame ? frame->size() : page.size();
    fresh += alone ? alone->size() : page.size();
  }
  EXPECT_LT(kept, fresh + fresh / 50);
}

TEST(DeltaFrameTest, LeavesToLibzstdWhatItIsNotMadeFor) {
  std::mt19937_64 random(3);
  DeltaFrameWriter writer;
  const Bytes base = RandomPage(random, 4096);
  Bytes page = base;
  page[100] ^= 1;
  EXPECT_TRUE(writer.Write(page, base, {1, 2}));
  EXPECT_FALSE(writer.Write(page, base, {0, 2})) << "more literals than allowed";
  EXPECT_FALSE(writer.Write(page, base, {1, 0})) << "more sequences than allowed";
  EXPECT_FALSE(writer.Write(page, {}, kNoLimits)) << "no bases";
  EXPECT_FALSE(writer.Write(RandomPage(random, 4096), base, kNoLimits)) << "nothing in common";
  const Bytes large = RandomPage(random, 132 << 10);
  EXPECT_FALSE(writer.Write(large, large, kNoLimits)) << "more than a block";
}

TEST(DeltaFrameTest, CodesOfLengthsCoverEveryValue) {
  uint32_t next = 0;
  for (uint32_t length = 0; length < 65536; ++length) {
    uint32_t code = fse::LiteralsCode(length);
    if (length == next) {
      next += 1u << fse::LiteralsExtraBits(code);
      EXPECT_TRUE(length == 0 || code == fse::LiteralsCode(length - 1) + 1) << length;
    } else {
      EXPECT_EQ(code, fse::LiteralsCode(length - 1)) << length;
    }
  }
  next = 0;
  for (uint32_t length = 0; length < 65536; ++length) {
    uint32_t code = fse::MatchCode(length);
    if (length == next) {
      next += 1u << fse::MatchExtraBits(code);
      EXPECT_TRUE(length == 0 || code == fse::MatchCode(length - 1) + 1) << length;
    } else {
      EXPECT_EQ(code, fse::MatchCode(length - 1)) << length;
    }
  }
}

}  // namespace
}  // namespace sqlite_s3

#include "common/format/image_part.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "common/base/hash.h"
#include "common/format/segment.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

// What a page of these tests holds: its number, over and over.
Bytes PageOf(PageNumber page, uint32_t page_size) {
  Bytes out;
  while (out.size() < page_size) {
    ByteWriter(out).U32(page);
  }
  return out;
}

Bytes ContentOf(const std::vector<PageNumber>& pages, uint32_t page_size) {
  Bytes out;
  for (PageNumber page : pages) {
    out = out + PageOf(page, page_size);
  }
  return out;
}

std::vector<PageNumber> Expand(const ImageFrame& frame) {
  std::vector<PageNumber> pages;
  for (const PageRun& run : frame.runs) {
    for (uint32_t i = 0; i < run.count; ++i) {
      pages.push_back(run.first + i);
    }
  }
  return pages;
}

Bytes BuildPart(uint32_t page_size, const std::vector<std::vector<PageNumber>>& frames) {
  ImagePartBuilder builder(page_size, 1);
  for (const auto& pages : frames) {
    Status s = builder.AddFrame(pages, ContentOf(pages, page_size));
    EXPECT_TRUE(s.ok()) << s.ToString();
  }
  return builder.Finish();
}

// A part whose digest fits whatever index and footer say.
Bytes ResealedPart(Bytes part) {
  uint64_t index_offset = LoadLe64(part.data() + part.size() - 40);
  if (index_offset > part.size() - 24) {
    return part;
  }
  Bytes covered(part.begin() + static_cast<std::ptrdiff_t>(index_offset), part.end() - 24);
  covered.insert(covered.end(), part.begin(), part.begin() + 8);
  Digest digest = ComputeDigest(covered);
  std::copy(digest.bytes.begin(), digest.bytes.end(), part.end() - 24);
  return part;
}

TEST(ImagePartTest, FramesRoundTripForEveryPageSize) {
  for (uint32_t page_size = kMinPageSize; page_size <= kMaxPageSize; page_size *= 2) {
    std::vector<PageNumber> full(PagesPerImageFrame(page_size));
    std::iota(full.begin(), full.end(), 10);
    const std::vector<std::vector<PageNumber>> frames = {
        full, {1}, {2, 4, 5, 9}, {kMaxPageCount - 1, kMaxPageCount}};
    Bytes part = BuildPart(page_size, frames);
    auto parsed = ParseImagePart(part, page_size, "k");
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
    ASSERT_EQ(parsed->size(), frames.size());
    for (size_t i = 0; i < frames.size(); ++i) {
      const ImageFrame& frame = (*parsed)[i];
      EXPECT_EQ(Expand(frame), frames[i]);
      EXPECT_EQ(frame.page_count, frames[i].size());
      Bytes out(frames[i].size() * page_size);
      Status s = DecodeImageFrame(part, frame, page_size, out, "k");
      ASSERT_TRUE(s.ok()) << s.ToString();
      EXPECT_EQ(out, ContentOf(frames[i], page_size));
    }
    EXPECT_EQ((*parsed)[0].runs, (std::vector<PageRun>{{10, PagesPerImageFrame(page_size)}}));
    EXPECT_EQ((*parsed)[2].runs, (std::vector<PageRun>{{2, 1}, {4, 2}, {9, 1}}));
  }
}

TEST(ImagePartTest, AFrameReadAloneByRangeDecodes) {
  Bytes part = BuildPart(512, {{1, 2}, {3, 4}});
  auto frames = ParseImagePart(part, 512, "k");
  ASSERT_TRUE(frames.ok());
  ImageFrame frame = (*frames)[1];
  Bytes range(part.begin() + static_cast<std::ptrdiff_t>(frame.offset),
              part.begin() + static_cast<std::ptrdiff_t>(frame.offset + frame.size_bytes));
  frame.offset = 0;
  Bytes out(1024);
  ASSERT_TRUE(DecodeImageFrame(range, frame, 512, out, "k").ok());
  EXPECT_EQ(out, ContentOf({3, 4}, 512));
}

TEST(ImagePartTest, TheBuilderIsReadyForTheNextPart) {
  ImagePartBuilder builder(512, 1);
  size_t empty = builder.size_bytes();
  std::vector<PageNumber> pages = {1, 2};
  ASSERT_TRUE(builder.AddFrame(pages, ContentOf(pages, 512)).ok());
  EXPECT_EQ(builder.page_count(), 2u);
  size_t size = builder.size_bytes();
  Bytes first = builder.Finish();
  EXPECT_EQ(first.size(), size);
  EXPECT_EQ(builder.page_count(), 0u);
  EXPECT_EQ(builder.size_bytes(), empty);
  ASSERT_TRUE(builder.AddFrame(pages, ContentOf(pages, 512)).ok());
  EXPECT_EQ(builder.Finish(), first);
}

TEST(ImagePartTest, TheBuilderRefusesFramesThatBreakARule) {
  ImagePartBuilder builder(65536, 1);
  auto add = [&](std::vector<PageNumber> pages, size_t bytes) {
    return builder.AddFrame(pages, Bytes(bytes)).code();
  };
  EXPECT_EQ(add({}, 0), StatusCode::kInvalidArgument);
  EXPECT_EQ(add({1}, 65535), StatusCode::kInvalidArgument);
  EXPECT_EQ(add({1, 2, 3, 4, 5}, 5 * 65536), StatusCode::kInvalidArgument);
  EXPECT_EQ(add({2, 1}, 2 * 65536), StatusCode::kInvalidArgument);
  EXPECT_EQ(add({1, 1}, 2 * 65536), StatusCode::kInvalidArgument);
  EXPECT_EQ(add({0}, 65536), StatusCode::kInvalidArgument);
  EXPECT_EQ(add({0xffffffff}, 65536), StatusCode::kInvalidArgument);
  EXPECT_EQ(add({LockBytePage(65536)}, 65536), StatusCode::kInvalidArgument);
  EXPECT_EQ(builder.page_count(), 0u);
  ImagePartBuilder bad(1000, 1);
  EXPECT_EQ(bad.AddFrame(std::vector<PageNumber>{1}, Bytes(1000)).code(),
            StatusCode::kInvalidArgument);
}

TEST(ImagePartTest, EveryTruncationIsCorruption) {
  Bytes part = BuildPart(512, {{1, 2}, {4}});
  for (size_t n = 0; n < part.size(); ++n) {
    EXPECT_EQ(ParseImagePart(ByteSpan(part).first(n), 512, "k").code(), StatusCode::kCorruption)
        << n;
  }
  EXPECT_EQ(ParseImagePart(part + Bytes{0}, 512, "k").code(), StatusCode::kCorruption);
}

TEST(ImagePartTest, EveryFlippedBitIsFoundByTheIndexOrItsFrame) {
  Bytes part = BuildPart(512, {{1, 2}, {4}});
  for (size_t bit = 0; bit < part.size() * 8; ++bit) {
    Bytes damaged = part;
    damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    auto frames = ParseImagePart(damaged, 512, "k");
    if (!frames.ok()) {
      continue;
    }
    // The index is as it was. A frame fails, or its pages are what they were (a bit of its header
    // that means nothing for so short a frame).
    for (const ImageFrame& frame : *frames) {
      Bytes out(frame.page_count * size_t{512});
      Status s = DecodeImageFrame(damaged, frame, 512, out, "k");
      EXPECT_TRUE(s.ok() || s.code() == StatusCode::kCorruption) << s.ToString();
      if (s.ok()) {
        EXPECT_EQ(out, ContentOf(Expand(frame), 512)) << "bit " << bit;
      }
    }
  }
}

TEST(ImagePartTest, DamageUnderARightDigestNeverReachesBeyondThePart) {
  std::mt19937_64 random(12);
  Bytes part = BuildPart(512, {{1, 2}, {4, 6}});
  size_t tail = 60;
  for (int i = 0; i < 20'000; ++i) {
    Bytes damaged = part;
    damaged[damaged.size() - 1 - random() % tail] = static_cast<uint8_t>(random());
    damaged[damaged.size() - 1 - random() % tail] = static_cast<uint8_t>(random());
    auto frames = ParseImagePart(ResealedPart(damaged), 512, "k");
    if (!frames.ok()) {
      continue;
    }
    for (const ImageFrame& frame : *frames) {
      ASSERT_LE(frame.offset + frame.size_bytes, damaged.size());
      ASSERT_LE(frame.page_count, PagesPerImageFrame(512));
      Bytes out(frame.page_count * size_t{512});
      (void)DecodeImageFrame(damaged, frame, 512, out, "k");  // memory is what counts here
    }
  }
}

TEST(ImagePartTest, ANewerVersionIsNamed) {
  Bytes part = BuildPart(512, {{1}});
  part[4] = 2;
  auto parsed = ParseImagePart(part, 512, "some/key");
  EXPECT_EQ(parsed.code(), StatusCode::kUnimplemented);
  EXPECT_NE(parsed.status().message().find("some/key: image part of format version 2"),
            std::string::npos)
      << parsed.status().message();
}

TEST(ImagePartTest, AnotherPageSizeIsCorruption) {
  Bytes part = BuildPart(512, {{1}});
  EXPECT_EQ(ParseImagePart(part, 1024, "k").code(), StatusCode::kCorruption);
  EXPECT_EQ(ParseImagePart(part, 1000, "k").code(), StatusCode::kInvalidArgument);
}

TEST(ImagePartTest, HostileNumbersAreRefused) {
  Bytes part = BuildPart(512, {{1, 2}});
  size_t footer = part.size() - 40;
  for (uint64_t offset : {uint64_t{0}, uint64_t{7}, ~uint64_t{0}, uint64_t{part.size()}}) {
    Bytes bad = part;
    StoreLe64(bad.data() + footer, offset);
    EXPECT_EQ(ParseImagePart(ResealedPart(bad), 512, "k").code(), StatusCode::kCorruption);
  }
  for (uint32_t count : {0u, 2u, 1000u, 0xffffffffu}) {
    Bytes bad = part;
    StoreLe32(bad.data() + footer + 8, count);
    EXPECT_EQ(ParseImagePart(ResealedPart(bad), 512, "k").code(), StatusCode::kCorruption);
    bad = part;
    StoreLe32(bad.data() + footer + 12, count == 2 ? 3 : count);
    EXPECT_EQ(ParseImagePart(ResealedPart(bad), 512, "k").code(), StatusCode::kCorruption);
  }
}

TEST(ImagePartTest, DecodingChecksTheBuffer) {
  Bytes part = BuildPart(512, {{1, 2}});
  auto frames = ParseImagePart(part, 512, "k");
  ASSERT_TRUE(frames.ok());
  Bytes out(1024);
  EXPECT_EQ(DecodeImageFrame(part, (*frames)[0], 512, std::span(out).first(512), "k").code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(DecodeImageFrame(ByteSpan(part).first(20), (*frames)[0], 512, out, "k").code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sqlite_s3

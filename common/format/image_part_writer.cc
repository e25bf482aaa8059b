#include <fmt/format.h>

#include <bit>

#include "common/base/hash.h"
#include "common/format/image_part.h"
#include "common/format/image_part_layout.h"
#include "common/format/segment.h"

namespace sqlite_s3 {
namespace {

// Room for a part from the start: growing by doubling would hold the old and the new buffer at
// once, half as much again as the part itself. What is not written to costs address space only.
constexpr size_t kReservedBytes = 17 << 20;

Bytes Header(uint32_t page_size) {
  Bytes header(std::begin(kImagePartMagic), std::end(kImagePartMagic));
  ByteWriter out(header);
  out.U16(kImagePartVersion);
  out.U8(static_cast<uint8_t>(std::countr_zero(page_size)));
  out.U8(0);
  return header;
}

}  // namespace

struct ImagePartBuilder::Impl {
  uint32_t page_size;
  ZstdCompressor zstd;
  Bytes bytes;  // header and frames
  Bytes index;
  uint32_t frame_count = 0;
  uint32_t page_count = 0;
};

ImagePartBuilder::ImagePartBuilder(uint32_t page_size, int zstd_level)
    : impl_(new Impl{
          page_size, ZstdCompressor(zstd_level, /*checksum=*/true), Header(page_size), {}}) {}
ImagePartBuilder::~ImagePartBuilder() = default;

Status ImagePartBuilder::AddFrame(std::span<const PageNumber> pages, ByteSpan content) {
  Impl& s = *impl_;
  if (!IsValidPageSize(s.page_size)) {
    return InvalidArgumentError(fmt::format("image part: invalid page size {}", s.page_size));
  }
  if (pages.empty() || pages.size() > PagesPerImageFrame(s.page_size) ||
      content.size() != pages.size() * s.page_size) {
    return InvalidArgumentError(
        fmt::format("image part: a frame of {} pages and {} bytes", pages.size(), content.size()));
  }
  std::vector<PageRun> runs;
  PageNumber previous = 0;
  for (PageNumber page : pages) {
    if (page <= previous || page > kMaxPageCount || page == LockBytePage(s.page_size)) {
      return InvalidArgumentError(
          fmt::format("image part: page {} after page {} in a frame", page, previous));
    }
    if (!runs.empty() && page == previous + 1) {
      ++runs.back().count;
    } else {
      runs.push_back({page, 1});
    }
    previous = page;
  }
  ASSIGN_OR_RETURN(ByteSpan frame, s.zstd.Compress(content, {}));
  size_t index_bytes = 8 + runs.size() * 10;  // at most
  if (size_bytes() + frame.size() + index_bytes > kMaxImagePartBytes) {
    return ResourceExhaustedError(fmt::format(
        "image part of {} bytes is full, hint: finish it and begin another", size_bytes()));
  }
  s.bytes.reserve(kReservedBytes);
  ByteWriter(s.bytes).Raw(frame);
  ByteWriter index(s.index);
  index.Varint(frame.size());
  index.Varint(runs.size());
  PageNumber next = 0;  // the page after the run before
  for (const PageRun& run : runs) {
    index.Varint(run.first - next);
    index.Varint(run.count);
    next = run.first + run.count;
  }
  ++s.frame_count;
  s.page_count += static_cast<uint32_t>(pages.size());
  return Status::Ok();
}

size_t ImagePartBuilder::size_bytes() const {
  return impl_->bytes.size() + impl_->index.size() + kImagePartFooterBytes;
}

uint32_t ImagePartBuilder::page_count() const { return impl_->page_count; }

Bytes ImagePartBuilder::Finish() {
  Impl& s = *impl_;
  Bytes header = Header(s.page_size);
  Bytes footer = std::move(s.index);
  ByteWriter out(footer);
  out.U64(s.bytes.size());
  out.U32(s.frame_count);
  out.U32(s.page_count);
  // The digest covers index, numbers and header; the copy behind it is where a reader of the tail
  // alone finds the version.
  Bytes covered = footer;
  ByteWriter(covered).Raw(header);
  out.Raw(ComputeDigest(covered).bytes);
  out.Raw(header);
  Bytes part = std::move(s.bytes);
  ByteWriter(part).Raw(footer);
  s.bytes = std::move(header);
  s.index = {};
  s.frame_count = 0;
  s.page_count = 0;
  return part;
}

}  // namespace sqlite_s3

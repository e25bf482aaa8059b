#include <fmt/format.h>

#include <algorithm>

#include "common/base/hash.h"
#include "common/format/image_part.h"
#include "common/format/image_part_layout.h"
#include "common/format/segment.h"

namespace sqlite_s3 {
namespace {

Status Corrupt(std::string what) { return CorruptionError("image part: " + std::move(what)); }

Status CheckHeader(ByteSpan part, uint32_t page_size) {
  ByteReader in(part);
  ByteSpan magic = in.Raw(sizeof(kImagePartMagic));
  uint16_t version = in.U16();
  if (!in.ok() || !std::equal(magic.begin(), magic.end(), kImagePartMagic)) {
    return Corrupt("not an image part");
  }
  if (version > kImagePartVersion) {
    return UnimplementedError(
        fmt::format("image part of format version {}, this program reads up to {}, hint: use a "
                    "newer version of "
                    "it",
                    version, kImagePartVersion));
  }
  uint8_t page_size_log2 = in.U8();
  uint8_t zero = in.U8();
  if (!in.ok() || version == 0 || zero != 0) {
    return Corrupt("malformed header");
  }
  if (page_size_log2 > 16 || uint32_t{1} << page_size_log2 != page_size) {
    return Corrupt(fmt::format("page size 2^{}, expected {}", page_size_log2, page_size));
  }
  return Status::Ok();
}

Status ReadRuns(ByteReader& in, uint32_t page_size, ImageFrame& frame) {
  uint64_t run_count = in.Varint();
  if (!in.ok() || run_count == 0 || run_count > PagesPerImageFrame(page_size)) {
    return Corrupt("impossible number of runs");
  }
  uint64_t next = 0;
  uint64_t pages = 0;
  for (uint64_t i = 0; i < run_count; ++i) {
    uint64_t gap = in.Varint();
    uint64_t count = in.Varint();
    // Runs that touch would be one: the second of them has a gap, and so has the first (page 0).
    if (!in.ok() || gap == 0 || gap > kMaxPageCount || count == 0 ||
        count > PagesPerImageFrame(page_size) - pages || next + gap + count - 1 > kMaxPageCount) {
      return Corrupt("malformed run of pages");
    }
    uint64_t first = next + gap;
    next = first + count;
    pages += count;
    uint64_t lock_byte_page = LockBytePage(page_size);
    if (first <= lock_byte_page && lock_byte_page < next) {
      return Corrupt("a run holds the lock-byte page");
    }
    frame.runs.push_back({static_cast<PageNumber>(first), static_cast<uint32_t>(count)});
  }
  frame.page_count = static_cast<uint32_t>(pages);
  return Status::Ok();
}

Status Parse(ByteSpan part, uint32_t page_size, std::vector<ImageFrame>& frames) {
  if (!IsValidPageSize(page_size)) {
    return InvalidArgumentError(fmt::format("image part: invalid page size {}", page_size));
  }
  RETURN_IF_ERROR(CheckHeader(part, page_size));
  if (part.size() < kImagePartHeaderBytes + kImagePartFooterBytes ||
      part.size() > kMaxImagePartBytes) {
    return Corrupt(fmt::format("impossible size {}", part.size()));
  }
  ByteSpan body = part.first(part.size() - kImagePartFooterBytes);
  ByteReader footer(part.last(kImagePartFooterBytes));
  uint64_t index_offset = footer.U64();
  uint32_t frame_count = footer.U32();
  uint32_t page_count = footer.U32();
  ByteSpan digest = footer.Raw(sizeof(Digest::bytes));
  ByteSpan header = part.first(kImagePartHeaderBytes);
  if (!std::ranges::equal(footer.Raw(kImagePartHeaderBytes), header)) {
    return Corrupt("header and footer disagree");
  }
  if (index_offset < kImagePartHeaderBytes || index_offset > body.size()) {
    return Corrupt("impossible index offset");
  }
  ByteSpan index = body.subspan(static_cast<size_t>(index_offset));
  ByteSpan indexed =
      part.subspan(static_cast<size_t>(index_offset), index.size() + kImagePartCoveredFooterBytes);
  Bytes covered(indexed.begin(), indexed.end());
  covered.insert(covered.end(), header.begin(), header.end());
  if (!std::ranges::equal(digest, ComputeDigest(covered).bytes)) {
    return Corrupt("the digest does not fit the index");
  }
  if (frame_count == 0 || frame_count > index.size() / kMinIndexEntryBytes ||
      frame_count > body.size() / kMinImageFrameBytes) {
    return Corrupt(fmt::format("impossible number of frames {}", frame_count));
  }
  ByteReader in(index);
  uint64_t offset = kImagePartHeaderBytes;
  uint64_t pages = 0;
  frames.resize(frame_count);
  for (ImageFrame& frame : frames) {
    uint64_t size_bytes = in.Varint();
    if (!in.ok() || size_bytes < kMinImageFrameBytes || size_bytes > index_offset - offset) {
      return Corrupt("a frame is not whole");
    }
    frame.offset = offset;
    frame.size_bytes = static_cast<uint32_t>(size_bytes);
    offset += size_bytes;
    RETURN_IF_ERROR(ReadRuns(in, page_size, frame));
    pages += frame.page_count;
  }
  if (in.remaining() != 0 || offset != index_offset || pages != page_count) {
    return Corrupt("frames, index and footer disagree");
  }
  return Status::Ok();
}

}  // namespace

Result<std::vector<ImageFrame>> ParseImagePart(ByteSpan part, uint32_t page_size,
                                               std::string_view key) {
  std::vector<ImageFrame> frames;
  if (Status s = Parse(part, page_size, frames); !s.ok()) {
    return s.WithContext(key);
  }
  return frames;
}

Status DecodeImageFrame(ByteSpan part, const ImageFrame& frame, uint32_t page_size,
                        std::span<uint8_t> out, std::string_view key) {
  if (frame.offset > part.size() || frame.size_bytes > part.size() - frame.offset ||
      out.size() != uint64_t{frame.page_count} * page_size) {
    return InvalidArgumentError("image part: the frame does not fit the part or the buffer")
        .WithContext(key);
  }
  ZstdDecompressor zstd(/*checksum=*/true);
  ByteSpan bytes = part.subspan(static_cast<size_t>(frame.offset), frame.size_bytes);
  return zstd.Decompress(bytes, {}, out)
      .WithContext(fmt::format("frame at {}", frame.offset))
      .WithContext(key);
}

}  // namespace sqlite_s3

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

// What the footer says.
struct Footer {
  uint64_t index_offset = 0;
  uint32_t frame_count = 0;
  uint32_t page_count = 0;
  ByteSpan digest;
  ByteSpan header;  // the copy
};

Status ReadFooter(ByteSpan tail, uint64_t part_bytes, Footer& out) {
  if (part_bytes < kImagePartHeaderBytes + kImagePartFooterBytes ||
      part_bytes > kMaxImagePartBytes || tail.size() < kImagePartFooterBytes ||
      tail.size() > part_bytes) {
    return Corrupt(fmt::format("impossible size {}", part_bytes));
  }
  ByteReader footer(tail.last(kImagePartFooterBytes));
  out.index_offset = footer.U64();
  out.frame_count = footer.U32();
  out.page_count = footer.U32();
  out.digest = footer.Raw(sizeof(Digest::bytes));
  out.header = footer.Raw(kImagePartHeaderBytes);
  if (out.index_offset < kImagePartHeaderBytes ||
      out.index_offset > part_bytes - kImagePartFooterBytes) {
    return Corrupt("impossible index offset");
  }
  return Status::Ok();
}

// `tail`: the last bytes of the part, with the index.
Status ParseTail(ByteSpan tail, uint64_t part_bytes, uint32_t page_size,
                 std::vector<ImageFrame>& frames) {
  if (!IsValidPageSize(page_size)) {
    return InvalidArgumentError(fmt::format("image part: invalid page size {}", page_size));
  }
  Footer footer;
  RETURN_IF_ERROR(ReadFooter(tail, part_bytes, footer));
  RETURN_IF_ERROR(CheckHeader(footer.header, page_size));
  const uint64_t index_bytes = part_bytes - kImagePartFooterBytes - footer.index_offset;
  if (index_bytes + kImagePartFooterBytes > tail.size()) {
    return InvalidArgumentError("image part: the index does not lie in these bytes");
  }
  const ByteSpan indexed = tail.last(static_cast<size_t>(index_bytes) + kImagePartFooterBytes);
  const ByteSpan index = indexed.first(static_cast<size_t>(index_bytes));
  const ByteSpan covered_part = indexed.first(index.size() + kImagePartCoveredFooterBytes);
  Bytes covered(covered_part.begin(), covered_part.end());
  covered.insert(covered.end(), footer.header.begin(), footer.header.end());
  if (!std::ranges::equal(footer.digest, ComputeDigest(covered).bytes)) {
    return Corrupt("the digest does not fit the index");
  }
  const uint32_t frame_count = footer.frame_count;
  if (frame_count == 0 || frame_count > index.size() / kMinIndexEntryBytes ||
      frame_count > part_bytes / kMinImageFrameBytes) {
    return Corrupt(fmt::format("impossible number of frames {}", frame_count));
  }
  ByteReader in(index);
  uint64_t offset = kImagePartHeaderBytes;
  uint64_t pages = 0;
  frames.resize(frame_count);
  for (ImageFrame& frame : frames) {
    uint64_t size_bytes = in.Varint();
    if (!in.ok() || size_bytes < kMinImageFrameBytes || size_bytes > footer.index_offset - offset) {
      return Corrupt("a frame is not whole");
    }
    frame.offset = offset;
    frame.size_bytes = static_cast<uint32_t>(size_bytes);
    offset += size_bytes;
    RETURN_IF_ERROR(ReadRuns(in, page_size, frame));
    pages += frame.page_count;
  }
  if (in.remaining() != 0 || offset != footer.index_offset || pages != footer.page_count) {
    return Corrupt("frames, index and footer disagree");
  }
  return Status::Ok();
}

Status Parse(ByteSpan part, uint32_t page_size, std::vector<ImageFrame>& frames) {
  if (!IsValidPageSize(page_size)) {
    return InvalidArgumentError(fmt::format("image part: invalid page size {}", page_size));
  }
  RETURN_IF_ERROR(CheckHeader(part, page_size));
  Footer footer;
  RETURN_IF_ERROR(ReadFooter(part, part.size(), footer));
  if (!std::ranges::equal(footer.header, part.first(kImagePartHeaderBytes))) {
    return Corrupt("header and footer disagree");
  }
  return ParseTail(part, part.size(), page_size, frames);
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

Result<uint64_t> ImagePartTailBytes(ByteSpan tail, uint64_t part_bytes, std::string_view key) {
  Footer footer;
  if (Status s = ReadFooter(tail, part_bytes, footer); !s.ok()) {
    return s.WithContext(key);
  }
  return part_bytes - footer.index_offset;
}

Result<std::vector<ImageFrame>> ParseImagePartTail(ByteSpan tail, uint64_t part_bytes,
                                                   uint32_t page_size, std::string_view key) {
  std::vector<ImageFrame> frames;
  if (Status s = ParseTail(tail, part_bytes, page_size, frames); !s.ok()) {
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

// Chunks of page data: a varint length, then a zstd frame whose prefix is the bases.
#include "common/format/delta_frame.h"
#include "common/format/segment.h"
#include "common/format/segment_rules.h"
#include "common/format/zstd_codec.h"

namespace sqlite_s3 {
namespace {

// Our own frames have the predefined entropy tables only: measured, with more sequences than this
// libzstd's are smaller, for they bring tables of their own. Higher levels also find more matches,
// so there only the smallest of changes are ours.
DeltaFrameWriter::Limits DeltaLimits(int level, size_t bytes) {
  constexpr int kLastFastLevel = 4;
  if (level > kLastFastLevel) {
    return {24, 4};
  }
  return {512 + bytes / 128, 32 + bytes / 1024};
}

}  // namespace

struct ChunkEncoder::Impl {
  int level;
  ZstdCompressor zstd;
  DeltaFrameWriter delta;
};

ChunkEncoder::ChunkEncoder(int level)
    : impl_(new Impl{level, ZstdCompressor(level, /*checksum=*/false), {}}) {}
ChunkEncoder::~ChunkEncoder() = default;

Status ChunkEncoder::Append(ByteSpan pages, ByteSpan bases, Bytes& out) {
  if (pages.empty() || pages.size() > kChunkBytes || bases.size() > pages.size()) {
    return InvalidArgumentError("a chunk takes 1.." + std::to_string(kChunkBytes) +
                                " bytes of pages and no more of bases");
  }
  auto delta = impl_->delta.Write(pages, bases, DeltaLimits(impl_->level, pages.size()));
  ByteSpan frame;
  if (delta) {
    frame = *delta;
  } else {
    ASSIGN_OR_RETURN(frame, impl_->zstd.Compress(pages, bases));
  }
  ByteWriter writer(out);
  writer.Varint(frame.size());
  writer.Raw(frame);
  return Status::Ok();
}

struct ChunkDecoder::Impl {
  ZstdDecompressor zstd;
};

ChunkDecoder::ChunkDecoder() : impl_(new Impl{ZstdDecompressor(/*checksum=*/false)}) {}
ChunkDecoder::~ChunkDecoder() = default;

Status ChunkDecoder::Next(ByteReader& in, ByteSpan bases, std::span<uint8_t> pages) {
  if (pages.empty() || pages.size() > kChunkBytes || bases.size() > pages.size()) {
    return InvalidArgumentError("a chunk holds 1.." + std::to_string(kChunkBytes) +
                                " bytes of pages and no more of bases");
  }
  uint64_t size_bytes = in.Varint();
  ByteSpan frame;
  if (in.ok() && size_bytes <= in.remaining()) {
    frame = in.Raw(static_cast<size_t>(size_bytes));
  }
  if (frame.empty()) {
    return CorruptionError("page data: the chunk is not whole");
  }
  return impl_->zstd.Decompress(frame, bases, pages).WithContext("page data");
}

Status CheckChunks(ByteSpan chunks, uint32_t count) {
  ByteReader in(chunks);
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t size_bytes = in.Varint();
    if (!in.ok() || size_bytes > in.remaining()) {
      return CorruptionError("page data: chunk " + std::to_string(i) + " is not whole");
    }
    if (size_bytes < kMinZstdFrameBytes || size_bytes > kMaxChunkFrameBytes) {
      return CorruptionError("page data: chunk " + std::to_string(i) + " has the impossible size " +
                             std::to_string(size_bytes));
    }
    (void)in.Raw(static_cast<size_t>(size_bytes));
  }
  if (in.remaining() != 0) {
    return CorruptionError("page data: " + std::to_string(in.remaining()) +
                           " bytes after the last chunk");
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

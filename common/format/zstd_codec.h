#pragma once
// The only door to libzstd (zstd_codec.cc includes <zstd.h>): contexts that are kept between calls,
// and the one shape of frame that the format uses: magic, no content size, no dictionary id, a
// window of at most kMaxZstdWindowBytes. Internal to common/format. One thread at a time per
// object.

#include <cstdint>
#include <memory>
#include <span>

#include "common/base/bytes.h"
#include "common/base/status.h"

namespace sqlite_s3 {

// A whole chunk of pages and the same amount of bases.
inline constexpr uint64_t kMaxZstdWindowBytes = uint64_t{2} << 20;
// Magic, frame header and window (6), block header (3), at least one byte of content.
inline constexpr size_t kMinZstdFrameBytes = 10;

// ZSTD_compressBound: what the worst input of `n` bytes becomes.
size_t ZstdFrameBound(size_t n);

class ZstdCompressor {
 public:
  // `checksum`: the frame ends with 4 bytes over its content.
  ZstdCompressor(int level, bool checksum);
  ~ZstdCompressor();
  // One frame over `content`, with `prefix` (may be empty) as history. The result is valid until
  // the next call. kInvalidArgument when the two together exceed the window; kInternal.
  Result<ByteSpan> Compress(ByteSpan content, ByteSpan prefix);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class ZstdDecompressor {
 public:
  // `checksum`: frames must have one, or must have none.
  explicit ZstdDecompressor(bool checksum);
  ~ZstdDecompressor();
  // `frame` must be exactly one frame of the shape above that fills exactly `out`; else
  // kCorruption.
  Status Decompress(ByteSpan frame, ByteSpan prefix, std::span<uint8_t> out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sqlite_s3

#include "common/format/zstd_codec.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <string>

namespace sqlite_s3 {
namespace {

// RFC 8878, section 3.1.1.1: descriptor without single-segment, content size and dictionary id.
constexpr uint8_t kDescriptorPlain = 0x00;
constexpr uint8_t kDescriptorChecksum = 0x04;
constexpr uint32_t kZstdMagic = 0xFD2FB528;
constexpr int kMinWindowLog = 10;

struct FreeCCtx {
  void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
};
struct FreeDCtx {
  void operator()(ZSTD_DCtx* d) const { ZSTD_freeDCtx(d); }
};

int WindowLogFor(size_t bytes) {
  int log2 = static_cast<int>(std::bit_width(bytes - 1));  // bytes > 0; rounded up
  return std::max(kMinWindowLog, log2);
}

// The low levels' own hash tables are made for data that repeats nearby; ours repeats at the
// distance of a whole prefix, where they have forgotten it: measured with 256 changed 4 KiB pages
// at level 1, 2,426 bytes a page instead of 132, and a third of the speed. 0 leaves it to libzstd.
int HashLogFor(int level, int window_log) {
  constexpr int kLastFastLevel = 4;  // above, the tables are large enough
  constexpr int kFirstWindowLog = 17;
  constexpr int kMaxHashLog = 18;
  return level <= kLastFastLevel && window_log >= kFirstWindowLog
             ? std::min(window_log - 2, kMaxHashLog)
             : 0;
}

// RFC 8878, section 3.1.1.1.2.
uint64_t WindowBytes(uint8_t descriptor) {
  uint64_t base = uint64_t{1} << (kMinWindowLog + (descriptor >> 3));
  return base + base / 8 * (descriptor & 7);
}

}  // namespace

size_t ZstdFrameBound(size_t n) { return ZSTD_compressBound(n); }

struct ZstdCompressor::Impl {
  std::unique_ptr<ZSTD_CCtx, FreeCCtx> context;
  Bytes scratch;
  int level = 0;
  int window_log = 0;
};

ZstdCompressor::ZstdCompressor(int level, bool checksum) : impl_(std::make_unique<Impl>()) {
  impl_->context.reset(ZSTD_createCCtx());
  impl_->level = level;
  ZSTD_CCtx* c = impl_->context.get();
  if (c != nullptr) {
    // These fail only for values out of range, and the level is clamped by libzstd.
    (void)ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
    (void)ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
    (void)ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, checksum ? 1 : 0);
  }
}

ZstdCompressor::~ZstdCompressor() = default;

Result<ByteSpan> ZstdCompressor::Compress(ByteSpan content, ByteSpan prefix) {
  ZSTD_CCtx* c = impl_->context.get();
  if (c == nullptr) {
    return ResourceExhaustedError("zstd: no memory for a compression context");
  }
  if (content.empty() || content.size() + prefix.size() > kMaxZstdWindowBytes) {
    return InvalidArgumentError("zstd: content and prefix do not fit the window");
  }
  (void)ZSTD_CCtx_reset(c, ZSTD_reset_session_only);
  // The level's own window may be smaller than content and prefix, which would hide the bases of
  // the last pages. Set only when it changes: each change makes libzstd lay out its tables anew.
  int window_log = WindowLogFor(content.size() + prefix.size());
  if (window_log != impl_->window_log) {
    size_t rc = ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
    size_t rc2 = ZSTD_CCtx_setParameter(c, ZSTD_c_hashLog, HashLogFor(impl_->level, window_log));
    if (ZSTD_isError(rc) || ZSTD_isError(rc2)) {
      return InternalError(std::string("zstd: ") + ZSTD_getErrorName(ZSTD_isError(rc) ? rc : rc2));
    }
    impl_->window_log = window_log;
  }
  // A prefix of no bytes also forgets that of the call before.
  (void)ZSTD_CCtx_refPrefix(c, prefix.data(), prefix.size());
  size_t bound = ZSTD_compressBound(content.size());
  if (impl_->scratch.size() < bound) {
    impl_->scratch.resize(bound);
  }
  size_t n = ZSTD_compress2(c, impl_->scratch.data(), impl_->scratch.size(), content.data(),
                            content.size());
  if (ZSTD_isError(n)) {
    return InternalError(std::string("zstd: ") + ZSTD_getErrorName(n));
  }
  return ByteSpan(impl_->scratch.data(), n);
}

struct ZstdDecompressor::Impl {
  std::unique_ptr<ZSTD_DCtx, FreeDCtx> context;
  uint8_t descriptor = 0;
};

ZstdDecompressor::ZstdDecompressor(bool checksum) : impl_(std::make_unique<Impl>()) {
  impl_->context.reset(ZSTD_createDCtx());
  impl_->descriptor = checksum ? kDescriptorChecksum : kDescriptorPlain;
}

ZstdDecompressor::~ZstdDecompressor() = default;

Status ZstdDecompressor::Decompress(ByteSpan frame, ByteSpan prefix, std::span<uint8_t> out) {
  ZSTD_DCtx* d = impl_->context.get();
  if (d == nullptr) {
    return ResourceExhaustedError("zstd: no memory for a decompression context");
  }
  // One shape only: libzstd alone would also take several frames, skippable ones and old formats.
  if (frame.size() < kMinZstdFrameBytes || LoadLe32(frame.data()) != kZstdMagic ||
      frame[4] != impl_->descriptor) {
    return CorruptionError("not a zstd frame of this format");
  }
  if (WindowBytes(frame[5]) > kMaxZstdWindowBytes) {
    return CorruptionError("zstd frame with too large a window");
  }
  if (ZSTD_findFrameCompressedSize(frame.data(), frame.size()) != frame.size()) {
    return CorruptionError("zstd frame does not end where its length says");
  }
  // As raw content, whatever its first bytes are (ZSTD_decompress_usingDict would look for a
  // dictionary's magic in the page).
  (void)ZSTD_DCtx_reset(d, ZSTD_reset_session_only);
  size_t rc = ZSTD_DCtx_refPrefix(d, prefix.data(), prefix.size());
  if (ZSTD_isError(rc)) {
    return ResourceExhaustedError(std::string("zstd: ") + ZSTD_getErrorName(rc));
  }
  size_t n = ZSTD_decompressDCtx(d, out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(n)) {
    return CorruptionError(std::string("zstd frame: ") + ZSTD_getErrorName(n));
  }
  if (n != out.size()) {
    return CorruptionError("zstd frame decodes to " + std::to_string(n) + " bytes, expected " +
                           std::to_string(out.size()));
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

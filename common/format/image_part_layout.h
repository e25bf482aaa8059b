#pragma once
// Constants of an image part's layout, shared by writer and reader. Internal to common/format.

#include <cstddef>
#include <cstdint>

#include "common/format/image_part.h"
#include "common/format/zstd_codec.h"

namespace sqlite_s3 {

inline constexpr uint8_t kImagePartMagic[4] = {'s', 'q', '3', 'i'};
// magic, version u16, log2 of the page size u8, 0 u8
inline constexpr size_t kImagePartHeaderBytes = 8;
// index offset u64, frames u32, pages u32, digest 16, the header again
inline constexpr size_t kImagePartFooterBytes = 40;
// What of the footer its digest covers, after the index: up to the digest, and the copied header.
inline constexpr size_t kImagePartCoveredFooterBytes = 16;

// A frame of the image carries zstd's own content checksum: it may be read alone, by range.
inline constexpr size_t kMinImageFrameBytes = kMinZstdFrameBytes + 4;
inline constexpr size_t kMinIndexEntryBytes = 4;  // size, number of runs, one run of two numbers

}  // namespace sqlite_s3

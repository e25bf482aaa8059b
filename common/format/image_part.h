#pragma once
// A part of an image: independently compressed zstd frames, then a frame index, then a footer, so
// that parts travel and decode in parallel and a page can be read by one range GET.
//
// A frame holds 1..kImageFrameBytes/page_size pages whose numbers are strictly ascending, given in
// the index as runs (first page, count). Most frames are one run; frames of pages that were set
// aside because they changed before the copy reached them ("early" pages) have several. Over the
// whole image each page 1..page_count but the lock-byte page occurs exactly once; parts and frames
// come in no particular order of page numbers.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace sqlite_s3 {

inline constexpr uint16_t kImagePartVersion = 1;
inline constexpr uint32_t kImageFrameBytes = 256 << 10;
inline constexpr uint64_t kMaxImagePartBytes = uint64_t{128} << 20;
constexpr uint32_t PagesPerImageFrame(uint32_t page_size) { return kImageFrameBytes / page_size; }

struct PageRun {
  PageNumber first = 0;
  uint32_t count = 0;
  bool operator==(const PageRun&) const = default;
};

class ImagePartBuilder {
 public:
  ImagePartBuilder(uint32_t page_size, int zstd_level);
  ~ImagePartBuilder();
  ImagePartBuilder(const ImagePartBuilder&) = delete;
  ImagePartBuilder& operator=(const ImagePartBuilder&) = delete;
  // `pages` ascending; `content` their pages, concatenated. kInvalidArgument when they break a
  // rule, kResourceExhausted when the part would pass kMaxImagePartBytes; unchanged after an error.
  Status AddFrame(std::span<const PageNumber> pages, ByteSpan content);
  size_t size_bytes() const;
  uint32_t page_count() const;
  // The part; the builder is empty again, ready for the next one. REQUIRES: at least one frame.
  Bytes Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct ImageFrame {
  uint64_t offset = 0;  // in the part
  uint32_t size_bytes = 0;
  std::vector<PageRun> runs;
  uint32_t page_count = 0;
};

// Checks and reads the index of a whole part: header, index and footer (by digest), not the frames.
// That no page occurs twice over the image is for the reader of all parts to check. kCorruption
// naming `key`, kUnimplemented for a newer format version.
Result<std::vector<ImageFrame>> ParseImagePart(ByteSpan part, uint32_t page_size,
                                               std::string_view key);
// The same from the end of a part alone, for who reads single frames by range. `tail` is the last
// bytes of the part, at least its footer of 40 bytes; ImagePartTailBytes says how many hold index
// and footer. kCorruption as above; kInvalidArgument when `tail` does not reach back to the index.
Result<uint64_t> ImagePartTailBytes(ByteSpan tail, uint64_t part_bytes, std::string_view key);
Result<std::vector<ImageFrame>> ParseImagePartTail(ByteSpan tail, uint64_t part_bytes,
                                                   uint32_t page_size, std::string_view key);
// Fills `out` (page_count x page_size bytes) with the frame's pages in run order. A frame read
// alone by range is decoded with `part` being those bytes and offset 0. kCorruption also when the
// content does not fit the frame's checksum. Thread-safe.
Status DecodeImageFrame(ByteSpan part, const ImageFrame& frame, uint32_t page_size,
                        std::span<uint8_t> out, std::string_view key);

}  // namespace sqlite_s3

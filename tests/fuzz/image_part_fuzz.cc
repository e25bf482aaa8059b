// Any bytes as an image part of 512-byte pages: as they are, and with the digest put right.
#include <algorithm>

#include "common/base/hash.h"
#include "common/format/image_part.h"
#include "common/format/image_part_layout.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kPageSize = 512;

void Try(const Bytes& part) {
  auto frames = ParseImagePart(part, kPageSize, "fuzz");
  if (!frames.ok()) {
    return;
  }
  for (const ImageFrame& frame : *frames) {
    Bytes out(size_t{frame.page_count} * kPageSize);
    (void)DecodeImageFrame(part, frame, kPageSize, out, "fuzz");  // may fail, must not crash
  }
}

}  // namespace
}  // namespace sqlite_s3

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sqlite_s3;
  Bytes part(data, data + size);
  Try(part);
  if (size < kImagePartHeaderBytes + kImagePartFooterBytes) {
    return 0;
  }
  std::copy(part.begin(), part.begin() + kImagePartHeaderBytes, part.end() - kImagePartHeaderBytes);
  uint8_t* footer = part.data() + size - kImagePartFooterBytes;
  uint64_t index_offset = LoadLe64(footer);
  uint8_t* digest_at = footer + kImagePartCoveredFooterBytes;
  if (index_offset <= size - kImagePartFooterBytes) {
    Bytes covered(part.data() + index_offset, digest_at);
    covered.insert(covered.end(), part.begin(), part.begin() + kImagePartHeaderBytes);
    Digest digest = ComputeDigest(covered);
    std::copy(digest.bytes.begin(), digest.bytes.end(), digest_at);
    Try(part);
  }
  return 0;
}

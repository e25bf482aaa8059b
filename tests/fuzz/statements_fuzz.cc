// Any bytes as a statements section. What parses is written again and read as the same.
#include "common/format/statements.h"

#include <cstdlib>

#include "common/format/segment.h"

namespace sqlite_s3 {
namespace {

void Try(ByteSpan section, uint32_t commits) {
  auto log = ParseStatements(section, commits);
  if (!log.ok()) {
    return;
  }
  auto again = EncodeStatements(*log, 1);
  if (!again.ok()) {
    return;  // texts that were named often are longer than a section may be
  }
  auto read = ParseStatements(*again, commits);
  if (!read.ok() || *read != *log) {
    std::abort();
  }
}

}  // namespace
}  // namespace sqlite_s3

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sqlite_s3;
  const ByteSpan bytes(data, size);
  Try(bytes, 3);  // the golden section's
  if (size > 0) {
    // The raw form, compressed as it must be: behind zstd no mutation would get far.
    Bytes section = {1, 2, 0, 0, 0, 0, 0, 0, 0, 0};  // version, values, build
    ByteWriter(section).Varint(size);
    ChunkEncoder encoder(1);
    if (size <= kChunkBytes && encoder.Append(bytes, {}, section).ok()) {
      for (const uint32_t commits : {1u, 2u, 3u}) {
        Try(section, commits);
      }
    }
  }
  return 0;
}

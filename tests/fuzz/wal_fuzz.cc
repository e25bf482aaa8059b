// Any bytes as a WAL file: as they are, and with the header's checksum put right. Header, frame
// headers, the checksum chain.
#include <algorithm>
#include <cstdlib>

#include "common/sqlite/wal_format.h"

namespace sqlite_s3 {
namespace {

void Try(const Bytes& wal) {
  const ByteSpan bytes(wal);
  auto header = ParseWalHeader(bytes.first(std::min<size_t>(wal.size(), kWalHeaderBytes)));
  if (!header.ok()) {
    return;
  }
  // What is taken for a header is one: written again it is the same.
  uint8_t again[kWalHeaderBytes];
  EncodeWalHeader(*header, again);
  auto reread = ParseWalHeader(again);
  if (!reread.ok() || reread->page_size != header->page_size || reread->salt1 != header->salt1 ||
      reread->checksum != header->checksum) {
    std::abort();
  }
  WalChecksum running = header->checksum;
  const size_t frame_bytes = kWalFrameHeaderBytes + header->page_size;
  for (size_t at = kWalHeaderBytes; wal.size() - at >= frame_bytes; at += frame_bytes) {
    const WalFrameHeader frame = ParseWalFrameHeader(wal.data() + at);
    running = ExtendWalChecksum(running, bytes.subspan(at, 8), header->big_endian_words);
    running =
        ExtendWalChecksum(running, bytes.subspan(at + kWalFrameHeaderBytes, header->page_size),
                          header->big_endian_words);
    if (frame.checksum != running) {
      break;
    }
  }
}

}  // namespace
}  // namespace sqlite_s3

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sqlite_s3;
  Bytes wal(data, data + size);
  Try(wal);
  if (size >= kWalHeaderBytes) {
    constexpr size_t kCovered = 24;  // the two words of the checksum follow
    const bool big_endian = (wal[3] & 1) != 0;
    const WalChecksum right = ExtendWalChecksum({}, ByteSpan(wal).first(kCovered), big_endian);
    StoreBe32(&wal[kCovered], right.s0);
    StoreBe32(&wal[kCovered + 4], right.s1);
    Try(wal);
  }
  return 0;
}

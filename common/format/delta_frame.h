#pragma once
// Writes zstd frames (RFC 8878) for pages that hardly differ from their bases, several times faster
// than libzstd, which hashes all of the bases and all of the pages to find out that byte n is like
// byte n. Measured, 4 KiB pages at level 3: update of one column 0.5 us a commit instead of 4.6,
// insert of one row 2 to 3 us instead of 6.6, with two secondary indexes 12 us instead of 22, in no
// more bytes.
//
// Only frames that every decoder takes: one compressed block with raw literals and the format's
// predefined tables. Internal to common/format. One thread at a time per object.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/bytes.h"

namespace sqlite_s3 {

class DeltaFrameWriter {
 public:
  struct Limits {
    size_t literals;   // bytes that are found nowhere
    size_t sequences;  // copies from somewhere, in place or moved
  };
  DeltaFrameWriter();
  // A frame over `pages` with `bases` as its prefix, where pages[i] is likely to equal bases[i];
  // valid until the next call. Nothing when libzstd should be asked: no bases, more than one block,
  // or a difference beyond the limits.
  std::optional<ByteSpan> Write(ByteSpan pages, ByteSpan bases, const Limits& limits);

 private:
  // Copies `match` bytes from `offset` before, after `literals` bytes as they are. The offset is
  // coded as in RFC 8878, section 3.1.1.3.2.1.1: 1..3 name one of the last three.
  struct Sequence {
    uint32_t literals;
    uint32_t match;
    uint32_t offset_code;
  };
  struct Match {
    size_t length = 0;
    size_t offset = 0;
    size_t back = 0;  // bytes that match before the position, too
  };

  bool FindSequences(ByteSpan pages, ByteSpan bases, const Limits& limits);
  Match FindMoved(ByteSpan pages, ByteSpan bases, size_t at);
  void IndexBases(ByteSpan bases);
  void Take(ByteSpan pages, size_t at, size_t length, size_t offset);
  size_t WriteBlock(uint8_t* out) const;

  std::vector<Sequence> sequences_;
  Bytes literals_;
  Bytes frame_;
  std::vector<uint32_t> table_;  // hash of four bytes -> epoch_ + place in pages
  uint32_t epoch_ = 1;           // what is below it in table_ is of earlier frames
  // Hash of four bytes -> place in indexed_ / kIndexStep, perhaps: what is found must be compared.
  std::vector<uint16_t> bases_table_;
  Bytes indexed_;      // bases as bases_table_ knows them, of this frame or an earlier one
  size_t anchor_ = 0;  // end of the last sequence
  uint32_t recent_[3] = {};
};

}  // namespace sqlite_s3

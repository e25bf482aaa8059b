#pragma once
// BodyWriter and BodyReader: object bytes on their way in and out, in bounded memory.

#include <cstdint>
#include <memory>
#include <span>

#include "common/base/bytes.h"
#include "server/storage/storage_status.h"

namespace sqlite_s3::server {

inline constexpr size_t kInlineBytes =
    128 * 1024;  // bodies up to this go with the publishing commit
inline constexpr size_t kChunkBytes = 1024 * 1024;

// Takes the bytes of one body: a PUT's or a part's. Up to kInlineBytes they stay in memory; beyond,
// full chunks are stored as they come, each in a short transaction of its own, unseen by anybody
// until Bucket::Put or PutPart publishes them. A writer that is dropped, or whose process dies,
// leaves chunks behind that maintenance sweeps, at the latest when the bucket is next opened. At
// most kChunkBytes of memory. One thread at a time. Keeps its bucket open.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  // Errors: kEntityTooLarge beyond kMaxPutBytes, kDiskFull, kReadOnly, ... After an error the body
  // is lost: drop it.
  virtual StorageStatus Append(ByteSpan bytes) = 0;
  virtual uint64_t size_bytes() const = 0;
};

// The bytes of one version of an object, the same until the reader is dropped, whatever is written
// or deleted meanwhile. No transaction is open between calls: a slow client holds nothing up. At
// most kChunkBytes of memory (a file of s3ite's in read-only mode: the whole value). One thread at
// a time.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  virtual uint64_t size_bytes() const = 0;
  // What Next yields: `length` bytes from `offset`, cut at the end. May be called again at any
  // time. A new reader yields everything.
  virtual void SetRange(uint64_t offset, uint64_t length) = 0;
  // The next bytes, up to kChunkBytes, valid until the next call; empty at the end.
  virtual StorageResult<ByteSpan> Next() = 0;
  // The next bytes into `out`: all of it, or what there is to the end; 0 at the end. Fastest for
  // large bodies, kChunkBytes at a time.
  virtual StorageResult<size_t> Read(std::span<uint8_t> out) = 0;
};

// Appends what is left of `from`'s range to `to`, chunk by chunk: copies between buckets.
StorageStatus CopyBody(BodyReader& from, BodyWriter& to);

}  // namespace sqlite_s3::server

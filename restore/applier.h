#pragma once
// Applier: replays commits, from decoded segments, onto a PageStore, and compares the database
// checksum after every one.

#include <functional>

#include "common/replica/replica.h"
#include "restore/page_store.h"

namespace sqlite_s3 {

// One thread.
class Applier {
 public:
  // Sees each commit after it was applied and proved: for rebuilding a WAL.
  using CommitSink = std::function<Status(const CommitRecord&, ByteSpan pages)>;

  // Both must outlive the applier. `sink` may be empty; with it the pages of a commit are kept
  // together, concatenated.
  Applier(Replica& replica, PageStore& pages, uint32_t page_size, CommitSink sink = {});

  // kCorruption naming `key` and the TXID when the commit does not lead to its own checksum.
  Status Apply(const Segment& segment, size_t index, const std::string& key);

  uint64_t part_bytes() const { return part_bytes_; }

 private:
  Status ApplyChunks(const CommitRecord& record, ByteReader& in, size_t* next, uint32_t chunks,
                     uint32_t before);
  Replica& replica_;
  PageStore& pages_;
  const uint32_t page_size_;
  CommitSink sink_;
  ChunkDecoder decoder_;
  Bytes bases_, decoded_, commit_pages_;
  uint64_t part_bytes_ = 0;
};

}  // namespace sqlite_s3

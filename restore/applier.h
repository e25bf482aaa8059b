#pragma once
// Applier: replays commits, from decoded segments, onto a PageStore, and compares the database
// checksum after every one, so that no state ever goes on that is not the one the writer had.

#include <functional>

#include "common/replica/replica.h"
#include "restore/page_store.h"

namespace sqlite_s3 {

// Sees the pages of each commit, for a way of restoring that must write them itself.
class CommitSink {
 public:
  virtual ~CommitSink() = default;
  // A new version of a page. After the `last` one of a commit the database has `page_count` pages.
  virtual Status AddPage(PageNumber page, ByteSpan content, bool last, uint32_t page_count) = 0;
};

// One thread.
class Applier {
 public:
  // All must outlive the applier; `sink` may be null. With a sink, `pages` reads through to what
  // the sink wrote.
  Applier(Replica& replica, PageStore& pages, uint32_t page_size, CommitSink* sink = nullptr);

  // kCorruption or kNotFound when the commit does not lead to its own checksum, or a part of it is
  // damaged or missing: then `damage` names the object. After an error nothing more can be applied.
  Status Apply(const Segment& segment, size_t index, const std::string& key, Damage* damage);

  uint64_t part_bytes() const { return part_bytes_; }
  uint64_t part_count() const { return part_count_; }

 private:
  Status ApplyParts(const Segment& segment, const CommitRecord& record, size_t* next,
                    uint32_t before, Damage* damage);
  Status ApplyChunks(const CommitRecord& record, ByteReader& in, size_t* next, uint32_t chunks,
                     uint32_t before);
  Replica& replica_;
  PageStore& pages_;
  const uint32_t page_size_;
  CommitSink* const sink_;
  ChunkDecoder decoder_;
  Bytes bases_, decoded_;
  uint64_t part_bytes_ = 0;
  uint64_t part_count_ = 0;
};

}  // namespace sqlite_s3

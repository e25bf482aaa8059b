#pragma once
// WalRebuilder: the other way to a database file. Writes a valid SQLite WAL beside it, with the frames
// of each commit (sqlite.org/fileformat2.html, section 4), and lets SQLite itself checkpoint it.

#include <string>

#include "common/base/status.h"
#include "common/format/segment.h"
#include "common/os/fd.h"
#include "common/sqlite/wal_format.h"

namespace sqlite_s3 {

// One thread. Nobody else may have the database open.
class WalRebuilder {
 public:
  WalRebuilder(std::string database_path, uint32_t page_size)
      : path_(std::move(database_path)), page_size_(page_size) {}
  ~WalRebuilder();
  WalRebuilder(const WalRebuilder&) = delete;
  WalRebuilder& operator=(const WalRebuilder&) = delete;

  // Appends a commit. `pages`: of record.pages, concatenated; `first_page`: page 1, for a commit that
  // changed nothing but the size.
  Status Add(const CommitRecord& record, ByteSpan pages, ByteSpan first_page);
  uint64_t wal_bytes() const { return offset_; }
  // Lets SQLite put everything added so far into the database file. kInternal when it did not take
  // every frame: SQLite stops silently at a frame it finds invalid.
  Status Checkpoint();

 private:
  Status Begin();
  Status AddFrame(PageNumber page, uint32_t commit_pages, ByteSpan content);
  const std::string path_;
  const uint32_t page_size_;
  Fd wal_;
  WalHeader header_;
  WalChecksum running_;
  uint64_t offset_ = 0;
  int frames_ = 0;
  Bytes buffer_;
};

}  // namespace sqlite_s3

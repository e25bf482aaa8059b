#pragma once
// WalRebuilder: the other way to a database file. Writes a valid SQLite WAL beside it, with the
// frames of each commit (sqlite.org/fileformat2.html, section 4), and lets SQLite itself checkpoint
// it. The frames are on disk, not in memory, however large a commit is.

#include <string>
#include <unordered_map>

#include "common/base/status.h"
#include "common/os/fd.h"
#include "common/sqlite/wal_format.h"
#include "restore/applier.h"
#include "restore/page_store.h"

namespace sqlite_s3 {

// One thread. Nobody else may have the database open. The destructor removes what it made beside
// the database: -wal and -shm.
class WalRebuilder : public CommitSink, public NewerPages {
 public:
  WalRebuilder(std::string database_path, uint32_t page_size)
      : path_(std::move(database_path)), page_size_(page_size) {}
  ~WalRebuilder() override;
  WalRebuilder(const WalRebuilder&) = delete;
  WalRebuilder& operator=(const WalRebuilder&) = delete;

  Status AddPage(PageNumber page, ByteSpan content, bool last, uint32_t page_count) override;
  Result<bool> Read(PageNumber page, std::span<uint8_t> out) override;

  uint64_t wal_bytes() const { return offset_ + buffer_.size(); }
  // Lets SQLite put everything added so far into the database file. kInternal when it did not take
  // every frame: SQLite stops silently at a frame it finds invalid. kFailedPrecondition when page 1
  // does not say that the database is in WAL mode: SQLite would not look at the WAL.
  // REQUIRES: the last page added was the last of its commit.
  Status Checkpoint();

 private:
  Status Begin();
  Status WriteBuffer();
  const std::string path_;
  const std::string wal_path_ = path_ + "-wal";
  const uint32_t page_size_;
  Fd wal_;
  WalHeader header_;
  WalChecksum running_;
  uint64_t offset_ = 0;  // bytes of the WAL that are in the file; the rest is in buffer_
  int frames_ = 0;
  Bytes buffer_;
  std::unordered_map<PageNumber, uint64_t> newest_;  // where the page's last frame has its content
};

}  // namespace sqlite_s3

#pragma once
// PageHashes: the hash of every page of the database as of the last commit that was encoded, so
// that the database checksum can be carried from commit to commit, and a gap be closed by shipping
// only the pages that differ. On disk: a table, 8 bytes a page, as of an acknowledged segment, and
// a log of the changes of later segments, written before a segment can be sent. Memory: the changes
// not yet in the table. It is a cache: valid at a TXID when its XOR is that TXID's database
// checksum.
//
// Thread-safety: none; the engine's encoder side owns it.

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

// A table under construction, page by page and mostly in order.
class HashTableFile {
 public:
  static Result<HashTableFile> Create(const std::string& path);
  Status Set(PageNumber page, uint64_t hash);
  Result<uint64_t> Get(PageNumber page);
  Status Truncate(uint32_t page_count);
  Status Flush();
  const std::string& path() const { return path_; }

 private:
  Fd fd_;
  std::string path_;
  PageNumber run_first_ = 0;  // of the pages in run_, not yet written
  std::vector<uint64_t> run_;
};

class PageHashes {
 public:
  // `directory`: the state directory.
  static Result<PageHashes> Open(const std::string& directory);

  // Brings the table to the segment that ends at `txid`; true when its XOR over page_count pages is
  // db_checksum. False leaves it unusable until Adopt.
  Result<bool> LoadAt(Txid txid, uint32_t page_count, uint64_t db_checksum, uint32_t page_size);
  // Takes `scan` as the table; forgets everything else.
  Status Adopt(HashTableFile scan);

  // As of the last Set. REQUIRES: page within the table or set before.
  Result<uint64_t> Get(PageNumber page);
  // Calls fn(page, hash) for first..last.
  Status ForRange(PageNumber first, PageNumber last,
                  const std::function<void(PageNumber, uint64_t)>& fn);
  void Set(PageNumber page, uint64_t hash);
  // Writes what was Set since the last call to the log, as the changes of the segment that ends at
  // `last`. Must come before the segment's bytes can leave the process.
  Status LogSegment(Txid last);
  // Segments up to `txid` are in the store: their changes may move to the table (they do when the
  // log is large, or `always`).
  Status Acknowledge(Txid txid, bool always);

 private:
  struct Pending {
    uint64_t hash;
    uint64_t txid;  // 0: not logged yet
  };
  Status ReplayLog(Txid up_to);
  std::string directory_;
  Fd table_;
  Fd log_;
  uint64_t log_bytes_ = 0;
  std::unordered_map<PageNumber, Pending> pending_;
  std::vector<PageNumber> unlogged_;
};

}  // namespace sqlite_s3

#pragma once
// PageHashes: the hash of every page of the database as of the last commit that was encoded, so
// that the database checksum can be carried from commit to commit, and a gap be closed by shipping
// only the pages that differ. On disk: a table, 8 bytes a page, as of the last segment that was
// cut, and an undo log with what the table held before each segment that is not acknowledged yet.
// Memory: the changes since the last cut and a cache, both bounded, however long the store is away.
// It is a cache: valid at a TXID when its XOR is that TXID's database checksum.
//
// Thread-safety: none; the engine's encoder side owns it.

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/bytes.h"
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

  // Brings the table back to the segment that ends at `txid` and forgets the undo log; true when
  // its XOR over page_count pages is db_checksum. False leaves it unusable until Adopt.
  Result<bool> LoadAt(Txid txid, uint32_t page_count, uint64_t db_checksum, uint32_t page_size);
  // Takes `scan` as the table; forgets everything else.
  Status Adopt(HashTableFile scan);

  // As of the last Set. REQUIRES: page within the table or set before.
  Result<uint64_t> Get(PageNumber page);
  // Calls fn(page, hash) for first..last.
  Status ForRange(PageNumber first, PageNumber last,
                  const std::function<void(PageNumber, uint64_t)>& fn);
  // `commit`: the TXID of the commit that changes the page, later than every acknowledged one.
  Status Set(PageNumber page, uint64_t hash, Txid commit);
  // Writes what was Set since the last call down, as the changes of the segment that ends at
  // `last`. Must come before the segment's bytes can leave the process.
  Status LogSegment(Txid last);
  // Segments up to `txid` are in the store: nobody will ask for the state before them.
  Status Acknowledge(Txid txid);
  // For a database at rest: gives back memory and descriptors until they are needed again.
  void Rest();

 private:
  struct Entry {
    uint64_t hash;
    bool dirty;  // not in the table yet
  };
  // A file of the undo log; its records are of the TXIDs up to last_txid.
  struct UndoFile {
    uint64_t sequence = 0;
    uint64_t last_txid = 0;
    uint64_t bytes = 0;
  };
  Status OpenTable();
  Status WriteDown(Txid txid);
  Status AppendUndo(ByteSpan record, Txid txid);
  Status UndoDownTo(Txid txid);
  Status UndoFileDownTo(const std::string& path, Txid txid);
  Status DropUndoLog();
  // Of entries that lie side by side in the table: their old hashes are put out.
  Status ReadRun(PageNumber first, std::span<uint64_t> hashes);
  Status WriteRun(PageNumber first, std::span<const uint64_t> hashes);
  std::string UndoPath(uint64_t sequence) const;

  std::string directory_;
  Fd table_;
  Fd undo_fd_;                 // of undo_.back()
  std::deque<UndoFile> undo_;  // oldest first
  std::unordered_map<PageNumber, Entry> entries_;
  std::vector<PageNumber> dirty_;
};

}  // namespace sqlite_s3

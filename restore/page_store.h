#pragma once
// PageStore: the database file under construction, with a bounded cache of pages and their hashes, and
// the database checksum of what it holds.
//
// One thread at a time, but for WriteRun, which several may call before the first other call.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/hash.h"
#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

class PageStore {
 public:
  // `file` is open for reading and writing; `name` is for messages.
  PageStore(Fd file, std::string name, uint32_t page_size, const ChecksumKey& key,
            uint64_t cache_bytes);

  // Writes consecutive pages straight to the file. Thread-safe.
  Status WriteRun(PageNumber first, ByteSpan pages);
  // After the image: its size and the checksum of its pages.
  void SetState(uint32_t page_count, uint64_t checksum);

  uint32_t page_count() const { return page_count_; }
  uint64_t checksum() const { return checksum_; }

  // The page as it is now, valid until the next call. REQUIRES: 1 <= page <= page_count().
  Result<ByteSpan> Read(PageNumber page);
  // Replaces a page; `old`: it was part of the database before the commit (else it is new).
  Status Write(PageNumber page, ByteSpan content, bool old);
  // The size after a commit; comes before the commit's pages are written. Pages cut off leave the
  // checksum.
  Status Resize(uint32_t page_count);
  // Writes what is only in memory and sets the file's size.
  Status Flush();
  // From now on changed pages stay in memory, whatever the cache's bound, until MarkClean: somebody
  // else (SQLite's checkpoint) writes them to the file.
  void HoldDirty() { hold_dirty_ = true; }
  uint64_t dirty_bytes() const { return dirty_ * page_size_; }
  void MarkClean();
  const Fd& file() const { return file_; }
  const PageHasher& hasher() const { return hasher_; }

 private:
  struct Entry {
    PageNumber page = 0;
    bool dirty = false;
    uint64_t hash = 0;
    uint8_t* data = nullptr;
  };
  Result<Entry*> Load(PageNumber page, bool read);
  Status WriteBack(Entry& entry);

  Fd file_;
  const std::string name_;
  const uint32_t page_size_;
  const PageHasher hasher_;
  const PageNumber lock_page_;
  const size_t capacity_;
  std::vector<Bytes> slabs_;
  std::vector<Entry> entries_;
  std::unordered_map<PageNumber, uint32_t> index_;
  bool hold_dirty_ = false;
  size_t dirty_ = 0;
  size_t hand_ = 0;
  uint32_t page_count_ = 0;
  uint64_t checksum_ = 0;
};

}  // namespace sqlite_s3

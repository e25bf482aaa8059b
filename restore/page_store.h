#pragma once
// PageStore: the database file under construction, with a bounded cache of pages and their hashes,
// and the database checksum of what it holds. Each page version is hashed once: its hash stays with
// it for as long as it is cached.
//
// One thread at a time, but for WriteRun, which several may call before the first other call.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

// Pages that are newer than those of the file: frames of a WAL that was not checkpointed yet.
class NewerPages {
 public:
  virtual ~NewerPages() = default;
  // Fills `page` and says true, or false when it has none of that number.
  virtual Result<bool> Read(PageNumber number, std::span<uint8_t> page) = 0;
};

// Pages that the file does not have yet: those of an image that is read page by page, as needed.
class OlderPages {
 public:
  virtual ~OlderPages() = default;
  // Comes before `number` is read from the file: after OK the file has it.
  virtual Status Provide(PageNumber number) = 0;
  // The page is about to be written without ever having been read.
  virtual void Supersede(PageNumber number) = 0;
};

// Sees each page before it goes, for who wants to keep it.
class PageWatcher {
 public:
  virtual ~PageWatcher() = default;
  // `content` is replaced, or cut off with the end of the database.
  virtual Status Replaced(PageNumber number, ByteSpan content) = 0;
};

class PageStore {
 public:
  // `file` is open for reading and writing; `name` is for messages. Both and `hasher` must outlive
  // the store.
  PageStore(const Fd& file, std::string name, uint32_t page_size, const PageHasher& hasher,
            uint64_t cache_bytes);

  // Writes consecutive pages straight to the file. Thread-safe.
  Status WriteRun(PageNumber first, ByteSpan pages);
  // After the image: its size and the checksum of its pages.
  void SetState(uint32_t page_count, uint64_t checksum);
  // From now on the file is written by somebody else (SQLite's checkpoint): changed pages are
  // looked up in `newer` when the cache has let go of them. It must outlive the store.
  void ReadThrough(NewerPages& newer) { newer_ = &newer; }

  // Both may be null, and must outlive the store.
  void ReadBeneath(OlderPages* older) { older_ = older; }
  void Watch(PageWatcher* watcher) { watcher_ = watcher; }

  uint32_t page_count() const { return page_count_; }
  uint64_t checksum() const { return checksum_; }

  // The page as it is now, valid until the next call. REQUIRES: 1 <= page <= page_count().
  Result<ByteSpan> Read(PageNumber page);
  // Its hash. REQUIRES: as Read's.
  Result<uint64_t> HashOf(PageNumber page);
  // Replaces a page; `old`: it was part of the database before the commit (else it is new).
  Status Write(PageNumber page, ByteSpan content, bool old);
  // The size after a commit; comes before the commit's pages are written when it grows. Pages cut
  // off leave the checksum.
  Status Resize(uint32_t page_count);
  // Writes what is only in memory, in order of page numbers, and sets the file's size.
  Status Flush();
  const Fd& file() const { return file_; }
  const PageHasher& hasher() const { return hasher_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Entry {
    PageNumber page = 0;  // 0: free
    uint32_t next = kNone;
    uint64_t hash = 0;
    bool dirty = false;
    bool recent = false;
  };

  uint8_t* Data(uint32_t slot) {
    return slabs_[slot / slab_pages_].get() + size_t{slot % slab_pages_} * page_size_;
  }
  uint32_t& Bucket(PageNumber page) { return buckets_[(page * 0x9E3779B1u) >> bucket_shift_]; }
  uint32_t Find(PageNumber page);
  // The slot of `page`; its content is as it was last written if `read`, else anything.
  Result<uint32_t> Load(PageNumber page, bool read);
  Result<uint32_t> TakeSlot();
  Status ReadBehindCache(PageNumber page, std::span<uint8_t> out);
  void Unlink(uint32_t slot);
  void Forget(PageNumber first, uint64_t last);
  Status WriteDirty();

  const Fd& file_;
  const std::string name_;
  const uint32_t page_size_;
  const PageHasher& hasher_;
  const PageNumber lock_page_;
  NewerPages* newer_ = nullptr;
  OlderPages* older_ = nullptr;
  PageWatcher* watcher_ = nullptr;
  uint32_t capacity_ = 0;  // in pages
  uint32_t slab_pages_ = 0;
  std::vector<std::unique_ptr<uint8_t[]>> slabs_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> buckets_;  // chains of entries by page number
  int bucket_shift_ = 0;
  std::vector<uint32_t> free_;
  uint32_t hand_ = 0;
  uint32_t page_count_ = 0;
  uint64_t checksum_ = 0;
};

}  // namespace sqlite_s3

#include "restore/page_store.h"

#include <algorithm>

#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kSlabPages = 256;

}  // namespace

PageStore::PageStore(Fd file, std::string name, uint32_t page_size, const ChecksumKey& key,
                     uint64_t cache_bytes)
    : file_(std::move(file)),
      name_(std::move(name)),
      page_size_(page_size),
      hasher_(key),
      lock_page_(LockBytePage(page_size)),
      capacity_(std::max<size_t>(cache_bytes / page_size, 64)) {}

Status PageStore::WriteRun(PageNumber first, ByteSpan pages) {
  return WriteAt(file_, uint64_t{first - 1} * page_size_, pages, name_);
}

void PageStore::SetState(uint32_t page_count, uint64_t checksum) {
  page_count_ = page_count;
  checksum_ = checksum;
}

Status PageStore::WriteBack(Entry& entry) {
  if (entry.dirty && entry.page <= page_count_) {
    RETURN_IF_ERROR(WriteAt(file_, uint64_t{entry.page - 1} * page_size_,
                            ByteSpan(entry.data, page_size_), name_));
  }
  dirty_ -= entry.dirty ? 1 : 0;
  entry.dirty = false;
  return Status::Ok();
}

void PageStore::MarkClean() {
  for (Entry& entry : entries_) {
    entry.dirty = false;
  }
  dirty_ = 0;
}

// The entry of `page`; its content is read from the file if `read`, else left as it is.
Result<PageStore::Entry*> PageStore::Load(PageNumber page, bool read) {
  auto it = index_.find(page);
  if (it != index_.end()) {
    return &entries_[it->second];
  }
  uint32_t slot = 0;
  if (entries_.size() < capacity_ || (hold_dirty_ && dirty_ * 2 >= entries_.size())) {
    if (entries_.size() % kSlabPages == 0) {
      slabs_.emplace_back(kSlabPages * page_size_);
    }
    slot = static_cast<uint32_t>(entries_.size());
    entries_.push_back(
        Entry{0, false, 0, slabs_.back().data() + (slot % kSlabPages) * page_size_});
  } else {
    do {
      slot = static_cast<uint32_t>(hand_);
      hand_ = (hand_ + 1) % entries_.size();
    } while (hold_dirty_ && entries_[slot].dirty);
    RETURN_IF_ERROR(WriteBack(entries_[slot]));
    index_.erase(entries_[slot].page);
  }
  Entry& entry = entries_[slot];
  entry.page = page;
  entry.dirty = false;
  entry.hash = 0;
  index_[page] = slot;
  if (read) {
    RETURN_IF_ERROR(ReadExactlyAt(file_, uint64_t{page - 1} * page_size_,
                                  std::span<uint8_t>(entry.data, page_size_), name_));
    entry.hash = hasher_.Hash(page, ByteSpan(entry.data, page_size_));
  }
  return &entry;
}

Result<ByteSpan> PageStore::Read(PageNumber page) {
  ASSIGN_OR_RETURN(Entry * entry, Load(page, true));
  return ByteSpan(entry->data, page_size_);
}

Status PageStore::Write(PageNumber page, ByteSpan content, bool old) {
  // The old hash must leave the checksum, so an old page that is not in the cache is read.
  ASSIGN_OR_RETURN(Entry * entry, Load(page, old));
  if (old) {
    checksum_ ^= entry->hash;
  }
  std::copy(content.begin(), content.end(), entry->data);
  entry->hash = hasher_.Hash(page, content);
  dirty_ += entry->dirty ? 0 : 1;
  entry->dirty = true;
  checksum_ ^= entry->hash;
  return Status::Ok();
}

Status PageStore::Resize(uint32_t page_count) {
  for (uint64_t page = uint64_t{page_count} + 1; page <= page_count_; ++page) {
    const auto number = static_cast<PageNumber>(page);
    if (number == lock_page_) {
      continue;
    }
    ASSIGN_OR_RETURN(Entry * entry, Load(number, true));
    checksum_ ^= entry->hash;
    // What is cut off must not come back: the next page of this number has no base.
    dirty_ -= entry->dirty ? 1 : 0;
    entry->dirty = false;
    index_.erase(number);
    entry->page = 0;
  }
  page_count_ = page_count;
  return Status::Ok();
}

Status PageStore::Flush() {
  for (Entry& entry : entries_) {
    if (entry.page != 0) {
      RETURN_IF_ERROR(WriteBack(entry));
    }
  }
  return TruncateFile(file_, uint64_t{page_count_} * page_size_, name_);
}

}  // namespace sqlite_s3

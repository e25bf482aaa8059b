#include "restore/page_store.h"

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMinPages = 64;
constexpr uint64_t kSlabBytes = 4 << 20;
constexpr size_t kMaxIov = 256;  // below IOV_MAX, and enough to make a call worth it

}  // namespace

PageStore::PageStore(const Fd& file, std::string name, uint32_t page_size, const PageHasher& hasher,
                     uint64_t cache_bytes)
    : file_(file),
      name_(std::move(name)),
      page_size_(page_size),
      hasher_(hasher),
      lock_page_(LockBytePage(page_size)),
      capacity_(static_cast<uint32_t>(
          std::clamp<uint64_t>(cache_bytes / page_size, kMinPages, 1u << 30))),
      slab_pages_(static_cast<uint32_t>(kSlabBytes / page_size)) {
  const uint32_t buckets = std::bit_ceil(capacity_ + capacity_ / 2);
  buckets_.assign(buckets, kNone);
  bucket_shift_ = 32 - std::countr_zero(buckets);
}

Status PageStore::WriteRun(PageNumber first, ByteSpan pages) {
  const uint64_t offset = uint64_t{first - 1} * page_size_;
  RETURN_IF_ERROR(WriteAt(file_, offset, pages, name_));
  // The disk begins now, while the next pages are decoded: the sync at the end has less left to do.
  // A hint: where it is not understood, nothing is lost.
  (void)::sync_file_range(file_.get(), static_cast<off_t>(offset), static_cast<off_t>(pages.size()),
                          SYNC_FILE_RANGE_WRITE);
  return Status::Ok();
}

void PageStore::SetState(uint32_t page_count, uint64_t checksum) {
  page_count_ = page_count;
  checksum_ = checksum;
}

uint32_t PageStore::Find(PageNumber page) {
  uint32_t slot = Bucket(page);
  while (slot != kNone && entries_[slot].page != page) {
    slot = entries_[slot].next;
  }
  return slot;
}

void PageStore::Unlink(uint32_t slot) {
  uint32_t* link = &Bucket(entries_[slot].page);
  while (*link != slot) {
    link = &entries_[*link].next;
  }
  *link = entries_[slot].next;
  entries_[slot] = Entry();
}

Result<uint32_t> PageStore::TakeSlot() {
  if (!free_.empty()) {
    const uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  if (entries_.size() < capacity_) {
    const auto slot = static_cast<uint32_t>(entries_.size());
    if (slot / slab_pages_ == slabs_.size()) {
      slabs_.push_back(std::make_unique_for_overwrite<uint8_t[]>(size_t{slab_pages_} * page_size_));
    }
    entries_.emplace_back();
    return slot;
  }
  // The clock: a second chance for what was used since the hand last came by.
  while (entries_[hand_].recent) {
    entries_[hand_].recent = false;
    hand_ = (hand_ + 1) % capacity_;
  }
  const uint32_t slot = hand_;
  hand_ = (hand_ + 1) % capacity_;
  if (entries_[slot].dirty) {
    // All of them at once: in order they make few and long writes.
    RETURN_IF_ERROR(WriteDirty());
  }
  Unlink(slot);
  return slot;
}

Status PageStore::ReadBehindCache(PageNumber page, std::span<uint8_t> out) {
  if (newer_ != nullptr) {
    ASSIGN_OR_RETURN(const bool found, newer_->Read(page, out));
    if (found) {
      return Status::Ok();
    }
  }
  if (older_ != nullptr) {
    RETURN_IF_ERROR(older_->Provide(page));
  }
  return ReadExactlyAt(file_, uint64_t{page - 1} * page_size_, out, name_);
}

Result<uint32_t> PageStore::Load(PageNumber page, bool read) {
  uint32_t slot = Find(page);
  if (slot == kNone) {
    ASSIGN_OR_RETURN(slot, TakeSlot());
    if (read) {
      const std::span<uint8_t> content(Data(slot), page_size_);
      if (Status status = ReadBehindCache(page, content); !status.ok()) {
        free_.push_back(slot);
        return status;
      }
      entries_[slot].hash = hasher_.Hash(page, content);
    }
    entries_[slot].page = page;
    entries_[slot].next = Bucket(page);
    Bucket(page) = slot;
  }
  entries_[slot].recent = true;
  return slot;
}

Result<ByteSpan> PageStore::Read(PageNumber page) {
  ASSIGN_OR_RETURN(const uint32_t slot, Load(page, true));
  return ByteSpan(Data(slot), page_size_);
}

Result<uint64_t> PageStore::HashOf(PageNumber page) {
  ASSIGN_OR_RETURN(const uint32_t slot, Load(page, true));
  return entries_[slot].hash;
}

Status PageStore::Write(PageNumber page, ByteSpan content, bool old) {
  // The old hash must leave the checksum, so an old page that is not in the cache is read.
  ASSIGN_OR_RETURN(const uint32_t slot, Load(page, old));
  Entry& entry = entries_[slot];
  if (old) {
    checksum_ ^= entry.hash;
    if (watcher_ != nullptr) {
      RETURN_IF_ERROR(watcher_->Replaced(page, ByteSpan(Data(slot), page_size_)));
    }
  } else if (older_ != nullptr) {
    older_->Supersede(page);
  }
  std::memcpy(Data(slot), content.data(), page_size_);
  entry.hash = hasher_.Hash(page, content);
  entry.dirty = newer_ == nullptr;
  checksum_ ^= entry.hash;
  return Status::Ok();
}

void PageStore::Forget(PageNumber first, uint64_t last) {
  const auto drop = [this](uint32_t slot) {
    Unlink(slot);
    free_.push_back(slot);
  };
  if (last - first < entries_.size()) {  // commits that free a few pages are many: ask for each
    for (uint64_t page = first; page <= last; ++page) {
      if (const uint32_t slot = Find(static_cast<PageNumber>(page)); slot != kNone) {
        drop(slot);
      }
    }
    return;
  }
  for (uint32_t slot = 0; slot < entries_.size(); ++slot) {
    if (entries_[slot].page >= first && entries_[slot].page <= last) {
      drop(slot);
    }
  }
}

Status PageStore::Resize(uint32_t page_count) {
  for (uint64_t page = uint64_t{page_count} + 1; page <= page_count_; ++page) {
    if (page != lock_page_) {
      ASSIGN_OR_RETURN(const uint32_t slot, Load(static_cast<PageNumber>(page), true));
      checksum_ ^= entries_[slot].hash;
      if (watcher_ != nullptr) {
        RETURN_IF_ERROR(
            watcher_->Replaced(static_cast<PageNumber>(page), ByteSpan(Data(slot), page_size_)));
      }
    }
  }
  if (page_count < page_count_) {
    // What is cut off must not come back: the next page of this number has no base.
    Forget(page_count + 1, page_count_);
  }
  page_count_ = page_count;
  return Status::Ok();
}

Status PageStore::WriteDirty() {
  std::vector<uint32_t> dirty;
  for (uint32_t slot = 0; slot < entries_.size(); ++slot) {
    if (entries_[slot].dirty) {
      dirty.push_back(slot);
    }
  }
  std::sort(dirty.begin(), dirty.end(),
            [this](uint32_t a, uint32_t b) { return entries_[a].page < entries_[b].page; });
  iovec run[kMaxIov];
  for (size_t i = 0; i < dirty.size();) {
    const PageNumber first = entries_[dirty[i]].page;
    size_t count = 0;
    for (; count < kMaxIov && i + count < dirty.size() &&
           entries_[dirty[i + count]].page == first + count;
         ++count) {
      run[count] = {Data(dirty[i + count]), page_size_};
    }
    const uint64_t offset = uint64_t{first - 1} * page_size_;
    const ssize_t n =
        ::pwritev(file_.get(), run, static_cast<int>(count), static_cast<off_t>(offset));
    if (n < 0 && errno != EINTR) {
      return ErrnoStatus(errno, "write", name_);
    }
    size_t done = n > 0 ? static_cast<size_t>(n) / page_size_ : 0;
    if (done < count) {  // cut short: the next page alone, for its error if it has one
      RETURN_IF_ERROR(WriteAt(file_, offset + done * page_size_,
                              ByteSpan(Data(dirty[i + done]), page_size_), name_));
      ++done;
    }
    for (size_t k = 0; k < done; ++k) {
      entries_[dirty[i + k]].dirty = false;
    }
    i += done;
  }
  return Status::Ok();
}

Status PageStore::Flush() {
  RETURN_IF_ERROR(WriteDirty());
  return TruncateFile(file_, uint64_t{page_count_} * page_size_, name_);
}

}  // namespace sqlite_s3

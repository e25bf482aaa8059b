#include "common/sqlite/wal_index.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "common/sqlite/connection.h"

namespace sqlite_s3 {
namespace {

// Byte offsets in the first block, walformat section 2.1.
constexpr int kBlockBytes = 32768;
constexpr uint32_t kHeaderWords = 12;  // 48 bytes, twice
constexpr uint32_t kBackfillWord = 96 / 4;
constexpr uint32_t kBackfillAttemptedWord = 128 / 4;
constexpr uint32_t kMarkWord = kBackfillWord + 1;  // of slot 0, the others behind it
constexpr uint32_t kNotMarked = 0xffffffff;
constexpr uint32_t kFirstBlockFrames = 4062;  // page numbers in block 0, after its 136-byte header
constexpr uint32_t kBlockFrames = 4096;
constexpr uint32_t kFirstBlockPageWord = 136 / 4;
constexpr uint32_t kIndexVersion = 3007000;
constexpr int kHeaderTries = 1000;

// The salts and checksums of the header are stored as the WAL has them: big-endian bytes for salts,
// native numbers for aFrameCksum.
uint32_t BigEndianWord(uint32_t raw) {
  return std::endian::native == std::endian::big ? raw : __builtin_bswap32(raw);
}

}  // namespace

Result<WalIndexView> WalIndexView::Attach(sqlite3* db) {
  WalIndexView view;
  int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &view.file_);
  if (rc != SQLITE_OK || view.file_ == nullptr || view.file_->pMethods == nullptr) {
    return FailedPreconditionError("the database has no file");
  }
  const sqlite3_io_methods* methods = view.file_->pMethods;
  if (methods->iVersion < 2 || methods->xShmMap == nullptr) {
    return FailedPreconditionError(
        "the VFS of this database has no shared memory, hint: use the default VFS");
  }
  void volatile* region = nullptr;
  rc = methods->xShmMap(view.file_, 0, kBlockBytes, 0, &region);
  if (rc != SQLITE_OK || region == nullptr) {
    return FailedPreconditionError(
        "the database has no WAL index, hint: PRAGMA journal_mode=WAL, and locking_mode=NORMAL");
  }
  view.map_ = static_cast<const volatile uint32_t*>(region);
  return view;
}

void WalIndexView::Unmap() const {
  (void)madvise(const_cast<uint32_t*>(map_), kBlockBytes, MADV_DONTNEED);  // a shared mapping
}

std::optional<WalIndexHeader> WalIndexView::ReadHeader() const {
  for (int i = 0; i < kHeaderTries; ++i) {
    uint32_t a[kHeaderWords];
    uint32_t b[kHeaderWords];
    // SQLite writes copy 2, a barrier, then copy 1; reading copy 1, a barrier, then copy 2 makes a
    // torn read visible as a difference.
    for (uint32_t w = 0; w < kHeaderWords; ++w) {
      a[w] = map_[w];
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (uint32_t w = 0; w < kHeaderWords; ++w) {
      b[w] = map_[kHeaderWords + w];
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (std::memcmp(a, b, sizeof(a)) != 0) {
      continue;
    }
    uint8_t raw[sizeof(a)];
    std::memcpy(raw, a, sizeof(a));
    bool is_init = raw[12] != 0;
    if (!is_init || a[0] != kIndexVersion) {
      return std::nullopt;
    }
    // The checksum over the first 40 bytes is in native words.
    WalChecksum c =
        ExtendWalChecksum({}, ByteSpan(raw, 40), std::endian::native == std::endian::big);
    if (c.s0 != a[10] || c.s1 != a[11]) {
      continue;
    }
    WalIndexHeader h;
    h.change = a[2];
    h.big_endian_words = raw[13] != 0;
    uint16_t page_size16 = 0;
    std::memcpy(&page_size16, raw + 14, 2);
    h.page_size = page_size16 == 1 ? 65536 : page_size16;
    h.max_frame = a[4];
    h.page_count = a[5];
    h.frame_checksum = {a[6], a[7]};
    h.salt1 = BigEndianWord(a[8]);
    h.salt2 = BigEndianWord(a[9]);
    return h;
  }
  return std::nullopt;
}

uint32_t WalIndexView::PeekMaxFrame() const { return map_[4]; }
uint32_t WalIndexView::PeekSalt1() const {
  // After whatever the caller has read from the WAL, not before it.
  std::atomic_thread_fence(std::memory_order_acquire);
  return BigEndianWord(map_[8]);
}
uint32_t WalIndexView::PeekSalt2() const { return BigEndianWord(map_[9]); }
uint32_t WalIndexView::BackfilledFrames() const { return map_[kBackfillWord]; }

uint32_t WalIndexView::BackfillAttemptedFrames() const { return map_[kBackfillAttemptedWord]; }

bool WalIndexView::IsTaken(int lock) const {
  const auto call = file_->pMethods->xShmLock;
  const int rc = call(file_, lock, 1, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
  if (rc == SQLITE_OK) {
    (void)call(file_, lock, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
  }
  return rc == SQLITE_BUSY;
}

bool WalIndexView::AnotherProcessWrites(const std::string& shm_path) {
  constexpr off_t kLocksAt = 120;  // walformat section 2.3.1
  struct stat shm {};
  if (stat(shm_path.c_str(), &shm) != 0) {
    return false;
  }
  // A descriptor of our own could not be closed again: SQLite's locks would go with it.
  const std::unique_ptr<DIR, int (*)(DIR*)> all(opendir("/proc/self/fd"), &closedir);
  while (const dirent* entry = all ? readdir(all.get()) : nullptr) {
    const int fd = std::atoi(entry->d_name);
    struct stat there {};
    if (fd <= 0 || fstat(fd, &there) != 0 || there.st_dev != shm.st_dev ||
        there.st_ino != shm.st_ino) {
      continue;
    }
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kLocksAt + kWriteLock;
    lock.l_len = 1;
    return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  }
  return false;
}

bool WalIndexView::HasReadMark(uint32_t frame) const {
  for (int slot = 1; slot < kSlots; ++slot) {
    if (map_[kMarkWord + static_cast<size_t>(slot)] == frame) {
      return true;
    }
  }
  return false;
}

std::optional<int> WalIndexView::HoldUnmarkedSlot() const {
  const auto call = file_->pMethods->xShmLock;
  for (int slot = kSlots - 1; slot > 0; --slot) {  // readers mark the first that is free
    const volatile uint32_t& mark = map_[kMarkWord + static_cast<size_t>(slot)];
    if (mark != kNotMarked ||
        call(file_, kFirstSlotLock + slot, 1, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED) != SQLITE_OK) {
      continue;
    }
    if (mark == kNotMarked) {
      return slot;
    }
    LetGoOfSlot(slot);  // a reader was there first
  }
  return std::nullopt;
}

void WalIndexView::LetGoOfSlot(int slot) const {
  (void)file_->pMethods->xShmLock(file_, kFirstSlotLock + slot, 1,
                                  SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
}

PageNumber WalIndexView::PageOfFrame(uint32_t frame) {
  uint32_t index = frame - 1;
  int block = 0;
  uint32_t word = kFirstBlockPageWord + index;
  if (index >= kFirstBlockFrames) {
    index -= kFirstBlockFrames;
    block = 1 + static_cast<int>(index / kBlockFrames);
    word = index % kBlockFrames;
  }
  void volatile* region = nullptr;
  if (file_->pMethods->xShmMap(file_, block, kBlockBytes, 0, &region) != SQLITE_OK ||
      region == nullptr) {
    return 0;
  }
  return static_cast<const volatile uint32_t*>(region)[word];
}

Status WalIndexView::ReadDatabaseFile(uint64_t offset, std::span<uint8_t> out) const {
  int rc = file_->pMethods->xRead(file_, out.data(), static_cast<int>(out.size()),
                                  static_cast<sqlite3_int64>(offset));
  if (rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ) {
    return Status::Ok();  // SQLite zeroes what is past the end
  }
  return SqliteStatus(rc, "read of the database file at " + std::to_string(offset));
}

Result<uint64_t> WalIndexView::DatabaseFileSize() const {
  sqlite3_int64 size = 0;
  int rc = file_->pMethods->xFileSize(file_, &size);
  if (rc != SQLITE_OK) {
    return SqliteStatus(rc, "size of the database file");
  }
  return static_cast<uint64_t>(size);
}

}  // namespace sqlite_s3

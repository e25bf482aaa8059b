#include "agent/ship/shared_block.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kLayoutVersion = 1;
constexpr uint32_t kMostVersions = 0xffff;  // beyond that it was none of ours that wrote it

void FutexWait(std::atomic<uint32_t>& word, uint32_t expected, std::chrono::microseconds timeout) {
  timespec ts{};
  ts.tv_sec = static_cast<time_t>(timeout.count() / 1'000'000);
  ts.tv_nsec = static_cast<long>(timeout.count() % 1'000'000 * 1000);
  // Spurious returns, EINTR and EAGAIN all mean: look again.
  (void)syscall(SYS_futex, &word, FUTEX_WAIT, expected, &ts, nullptr, 0);
}

void FutexWakeAll(std::atomic<uint32_t>& word) {
  (void)syscall(SYS_futex, &word, FUTEX_WAKE, 0x7fffffff, nullptr, nullptr, 0);
}

}  // namespace

Result<std::unique_ptr<SharedBlock>> SharedBlock::Open(const std::string& path) {
  std::unique_ptr<SharedBlock> block(new SharedBlock);
  block->path_ = path;
  block->directory_ = DirectoryOf(path);
  ASSIGN_OR_RETURN(const Fd fd, OpenFile(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  RETURN_IF_ERROR(block->Map(fd));
  return block;
}

Status SharedBlock::Map(const Fd& fd) {
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) {
    return ErrnoStatus(errno, "look at", path_);
  }
  const int error = posix_fallocate(fd.get(), 0, sizeof(Layout));
  if (error != 0) {
    return ErrnoStatus(error, "allocate", path_);
  }
  void* map = mmap(nullptr, sizeof(Layout), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (map == MAP_FAILED) {
    return ErrnoStatus(errno, "map", path_);
  }
  auto* layout = static_cast<Layout*>(map);
  uint32_t found = 0;
  const bool is_new = layout->version.compare_exchange_strong(found, kLayoutVersion);
  if (!is_new && found != kLayoutVersion) {
    munmap(map, sizeof(Layout));
    if (found > kMostVersions) {
      return CorruptionError(path_ +
                             " is garbled, hint: stop all processes that ship this database, then "
                             "remove it, it is made anew");
    }
    return FailedPreconditionError(path_ +
                                   " is of another version of this library, hint: stop all "
                                   "processes that ship this database, then remove it");
  }
  if (layout_ == nullptr) {
    layout_ = layout;
  } else {
    if (is_new) {
      layout->timeline = layout_->timeline.load();
      layout->captured_txid = layout_->captured_txid.load();
      layout->shipped_txid = layout_->shipped_txid.load();
    }
    // Before the change: whoever saw anything of the other file sees this, too.
    mapping_.fetch_add(1, std::memory_order_seq_cst);
    if (mremap(map, sizeof(Layout), sizeof(Layout), MREMAP_MAYMOVE | MREMAP_FIXED, layout_) ==
        MAP_FAILED) {
      Status failed = ErrnoStatus(errno, "map", path_);
      munmap(map, sizeof(Layout));
      return failed;
    }
  }
  device_ = st.st_dev;
  inode_ = st.st_ino;
  return Status::Ok();
}

Status SharedBlock::Reopen() {
  struct stat st {};
  if (stat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_) {
    return Status::Ok();
  }
  ASSIGN_OR_RETURN(const Fd fd, OpenFile(path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  return Map(fd);
}

SharedBlock::~SharedBlock() {
  if (layout_ != nullptr) {
    munmap(layout_, sizeof(Layout));
  }
}

void SharedBlock::NoteCommit(uint32_t frame, int64_t time_us) {
  TimeSlot& slot = layout_->times[frame % kTimeSlots];
  slot.frame.store(0, std::memory_order_relaxed);
  slot.time_us.store(time_us, std::memory_order_release);
  slot.frame.store(frame, std::memory_order_release);
}

int64_t SharedBlock::TakeCommitTime(uint32_t frame) {
  TimeSlot& slot = layout_->times[frame % kTimeSlots];
  if (slot.frame.load(std::memory_order_acquire) != frame) {
    return 0;
  }
  int64_t time_us = slot.time_us.load(std::memory_order_acquire);
  uint32_t expected = frame;
  return slot.frame.compare_exchange_strong(expected, 0) ? time_us : 0;
}

void SharedBlock::Ring() {
  layout_->doorbell.fetch_add(1, std::memory_order_seq_cst);
  const uint32_t sleeping = layout_->sleeping.exchange(kAwake, std::memory_order_seq_cst);
  if (sleeping == kPooled) {
    (void)utimensat(AT_FDCWD, directory_.c_str(), nullptr, 0);  // else its timer finds out
  } else if (sleeping != kAwake) {
    FutexWakeAll(layout_->doorbell);
  }
}

// Of a notice and a worker about to sleep, one sees the other: each writes its word before it reads
// the other's, all sequentially consistent.
void SharedBlock::SleepUntilRung(Seen seen, std::chrono::microseconds timeout, bool nap) {
  layout_->sleeping.store(nap ? kNaps : kSleeps, std::memory_order_seq_cst);
  if (nap || layout_->notices.load(std::memory_order_seq_cst) == seen.notices) {
    FutexWait(layout_->doorbell, seen.doorbell, timeout);
  }
  layout_->sleeping.store(kAwake, std::memory_order_seq_cst);
}

void SharedBlock::Unmap() { (void)madvise(layout_, sizeof(Layout), MADV_DONTNEED); }

void SharedBlock::Publish() {
  layout_->news.fetch_add(1, std::memory_order_seq_cst);
  if (layout_->waiters.load(std::memory_order_seq_cst) != 0) {
    FutexWakeAll(layout_->news);
  }
}

void SharedBlock::WaitForNews(uint32_t seen, std::chrono::microseconds timeout) {
  layout_->waiters.fetch_add(1, std::memory_order_seq_cst);
  FutexWait(layout_->news, seen, timeout);
  layout_->waiters.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace sqlite_s3

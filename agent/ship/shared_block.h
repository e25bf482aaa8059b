#pragma once
// SharedBlock: one page of memory that all processes with this database and state directory map.
// The process that ships (holder of the state directory's lock) serves it; the others ring its
// doorbell and wait for durability through it. One process alone uses it just the same, so that
// there is one mechanism, and a process that takes over finds the tickets of those who wait.
//
// Words that are slept on are futexes in a shared file mapping (futex(2), without
// FUTEX_PRIVATE_FLAG). All members are lock-free atomics; any thread of any process may use them.

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

class SharedBlock {
 public:
  static constexpr uint32_t kTimeSlots = 16384;

  // Of the shipper's worker. kNaps, kSleeps: on the doorbell, for a moment or for long. kPooled: no
  // thread sleeps there; another process wakes it by a change of the state directory's times, which
  // inotify tells the pool's process.
  static constexpr uint32_t kAwake = 0, kNaps = 1, kSleeps = 2, kPooled = 3;

  struct TimeSlot {
    std::atomic<uint32_t> frame;  // 0 = empty
    std::atomic<int64_t> time_us;
  };

  struct Layout {
    std::atomic<uint32_t> version;
    std::atomic<uint32_t> doorbell;  // futex of the shipper's worker; bumped by whoever rings
    std::atomic<uint32_t> sleeping;  // what the shipper's worker does: kAwake, ...
    std::atomic<uint32_t> news;      // futex of everybody who waits; bumped at every change below
    std::atomic<uint32_t> waiters;   // threads asleep on `news`
    std::atomic<uint32_t> state;     // EngineState of the shipper
    std::atomic<uint32_t> timeline;
    std::atomic<uint32_t> full;  // the shipper's spool is: commits are held with when_full=block
    // Tickets: take one by incrementing; everything committed before is captured / in the store /
    // made room for once the second number of the pair has reached it.
    std::atomic<uint64_t> capture_ticket, captured_ticket;
    std::atomic<uint64_t> sync_ticket, synced_ticket;
    std::atomic<uint64_t> room_ticket, roomed_ticket;
    std::atomic<uint64_t> captured_txid, shipped_txid;
    TimeSlot times[kTimeSlots];  // direct-mapped by frame number
    // Bumped by RingIfIdle, whatever the worker does. Last, so that files of before only grow.
    std::atomic<uint32_t> notices;
  };
  // What the worker read before it looked for work, to be asked of it when it goes to sleep.
  struct Seen {
    uint32_t doorbell = 0;
    uint32_t notices = 0;
  };
  static_assert(std::atomic<uint64_t>::is_always_lock_free);

  // Maps `path`, creating it (0600) with its blocks allocated, so that a full disk cannot raise
  // SIGBUS in the application later. kFailedPrecondition: it is of another version, and of use to
  // others. kCorruption: of none; whoever has the state directory's lock may remove it.
  static Result<std::unique_ptr<SharedBlock>> Open(const std::string& path);
  // Maps what is at the path now, if it is another file (made anew if there is none), at the same
  // address: any thread may go on using the block meanwhile. TXIDs are carried over into a new
  // file, tickets are not: see mapping(). One thread at a time.
  Status Reopen();
  // Another number after each Reopen that found another file: what was read of a ticket before is
  // worth nothing then.
  uint32_t mapping() const { return mapping_.load(std::memory_order_seq_cst); }
  ~SharedBlock();
  SharedBlock(const SharedBlock&) = delete;
  SharedBlock& operator=(const SharedBlock&) = delete;

  Layout& operator*() { return *layout_; }
  Layout* operator->() { return layout_; }

  // From the wal hook: no syscall.
  void NoteCommit(uint32_t frame, int64_t time_us);
  // The time noted for that frame, once; 0 when there is none.
  int64_t TakeCommitTime(uint32_t frame);

  // Wakes the shipper's worker if it sleeps (one syscall then), else it will see the change.
  void Ring();
  // The same, but lets it finish a nap of a few milliseconds: commits at full speed cost no
  // syscall. A worker that is awake and has looked already sees the notice before it sleeps.
  void RingIfIdle() {
    layout_->notices.fetch_add(1, std::memory_order_seq_cst);
    if (layout_->sleeping.load(std::memory_order_seq_cst) == kSleeps) {
      Ring();
    }
  }
  // For the worker, before it looks for work.
  Seen Look() const { return {layout_->doorbell, layout_->notices}; }
  // For the worker: sleeps until rung or timeout; not at all when it was rung since `seen`, or, if
  // it is no nap, noticed.
  void SleepUntilRung(Seen seen, std::chrono::microseconds timeout, bool nap);
  // Gives back the memory that this process sees it in, until the next use.
  void Unmap();
  // Tells everybody who waits that something changed.
  void Publish();
  // Sleeps until `news` is not `seen` any more, or timeout.
  void WaitForNews(uint32_t seen, std::chrono::microseconds timeout);

 private:
  SharedBlock() = default;
  // In place of what is mapped, if anything is. kFailedPrecondition for a file of another version.
  Status Map(const Fd& fd);

  std::string path_;
  std::string directory_;
  Layout* layout_ = nullptr;
  std::atomic<uint32_t> mapping_{0};
  dev_t device_ = 0;  // of the file
  ino_t inode_ = 0;
};

}  // namespace sqlite_s3

#pragma once
// CommitQueue: the one writer of a bucket, shared by all threads that want to write.
//
// Whoever finds the queue without a leader takes everybody's operations, up to a bound, runs them
// in one transaction, commits, and lets them go. While it waits for the disk the next group
// gathers.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "server/storage/session.h"
#include "server/storage/storage_status.h"

namespace sqlite_s3::server {

class CommitQueue {
 public:
  // Runs inside a transaction, perhaps on another thread, perhaps more than once (when a neighbour
  // broke the transaction): it assigns its results, never adds to them. A refusal (any reason but
  // kDiskFull, kBusy, kCorrupt, kInternal) must come before the first write.
  using Operation = std::function<StorageStatus(Session&)>;

  // `writer` must outlive the queue and is used by it alone.
  explicit CommitQueue(Session& writer) : writer_(writer) {}

  // OK once the operation's transaction is committed. `bytes` is about what it writes.
  StorageStatus Run(size_t bytes, const Operation& operation);
  // Runs outside of any transaction, with no other operation beside it.
  StorageStatus RunAlone(const Operation& operation);
  // After this everything ends with `status`; call inside RunAlone.
  void Stop(StorageStatus status) { stopped_ = std::move(status); }

  uint64_t transactions() const { return transactions_.load(std::memory_order_relaxed); }
  uint64_t operations() const { return operations_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    const Operation& operation;
    size_t bytes;
    bool alone;
    bool done = false;
    StorageStatus status{};
    std::condition_variable wake{};
  };
  StorageStatus Wait(Entry& entry);
  std::vector<Entry*> TakeGroup();
  void Execute(const std::vector<Entry*>& group);
  StorageStatus Transaction(std::span<Entry* const> group);

  Session& writer_;
  std::mutex mutex_;
  std::deque<Entry*> queue_;  // the leader is the front
  StorageStatus stopped_;     // the leader's
  std::atomic<uint64_t> transactions_{0};
  std::atomic<uint64_t> operations_{0};
};

}  // namespace sqlite_s3::server

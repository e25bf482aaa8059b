#include "server/storage/commit_queue.h"

namespace sqlite_s3::server {
namespace {

// Longer groups would make the last one in wait for bytes that are not its own.
constexpr size_t kGroupBytes = size_t{4} << 20;
constexpr size_t kGroupOperations = 256;

bool BreaksTransaction(const StorageStatus& status) {
  switch (status.reason()) {
    case Reason::kDiskFull:
    case Reason::kBusy:
    case Reason::kCorrupt:
    case Reason::kInternal:
      return true;
    default:
      return false;
  }
}

}  // namespace

StorageStatus CommitQueue::Run(size_t bytes, const Operation& operation) {
  Entry entry{operation, bytes, false};
  return Wait(entry);
}

StorageStatus CommitQueue::RunAlone(const Operation& operation) {
  Entry entry{operation, 0, true};
  return Wait(entry);
}

StorageStatus CommitQueue::Wait(Entry& entry) {
  std::vector<Entry*> group;
  {
    std::unique_lock lock(mutex_);
    queue_.push_back(&entry);
    entry.wake.wait(lock, [&] { return entry.done || queue_.front() == &entry; });
    if (entry.done) {
      return entry.status;
    }
    group = TakeGroup();
  }
  Execute(group);
  std::lock_guard lock(mutex_);
  // Under the lock: a follower's Entry lives on its stack, until it sees `done`.
  for (Entry* member : group) {
    queue_.pop_front();
    member->done = true;
    if (member != &entry) {
      member->wake.notify_one();
    }
  }
  if (!queue_.empty()) {
    queue_.front()->wake.notify_one();
  }
  return entry.status;
}

std::vector<CommitQueue::Entry*> CommitQueue::TakeGroup() {
  std::vector<Entry*> group;
  size_t bytes = 0;
  for (Entry* entry : queue_) {
    bool first = group.empty();
    if (!first &&
        (entry->alone || group.size() == kGroupOperations || bytes + entry->bytes > kGroupBytes)) {
      break;
    }
    group.push_back(entry);
    bytes += entry->bytes;
    if (entry->alone) {
      break;
    }
  }
  return group;
}

void CommitQueue::Execute(const std::vector<Entry*>& group) {
  if (!stopped_.ok()) {
    for (Entry* entry : group) {
      entry->status = stopped_;
    }
    return;
  }
  if (group.front()->alone) {
    group.front()->status = group.front()->operation(writer_);
    return;
  }
  StorageStatus status = Transaction(group);
  if (status.ok()) {
    return;
  }
  if (group.size() == 1 || status.reason() == Reason::kBusy) {
    for (Entry* entry : group) {
      entry->status = status;
    }
    return;
  }
  // One of them broke it: each gets its own chance and its own answer.
  for (Entry* entry : group) {
    StorageStatus alone = Transaction({&entry, 1});
    if (!alone.ok()) {
      entry->status = alone;
    }
  }
}

StorageStatus CommitQueue::Transaction(std::span<Entry* const> group) {
  RETURN_IF_STORAGE_ERROR(writer_.Use("BEGIN IMMEDIATE").Run());
  StorageStatus status;
  for (Entry* entry : group) {
    entry->status = entry->operation(writer_);
    if (BreaksTransaction(entry->status)) {
      status = entry->status;
      break;
    }
  }
  if (status.ok()) {
    status = writer_.Use("COMMIT").Run();
  }
  if (!status.ok()) {
    if (sqlite3_get_autocommit(writer_.connection().get()) == 0) {
      // Some errors have rolled back already; after any other failure of this the next BEGIN fails.
      (void)writer_.Use("ROLLBACK").Run();
    }
    return status;
  }
  transactions_.fetch_add(1, std::memory_order_relaxed);
  operations_.fetch_add(group.size(), std::memory_order_relaxed);
  return {};
}

}  // namespace sqlite_s3::server

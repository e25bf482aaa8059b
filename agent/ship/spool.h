#pragma once
// Spool: objects of the log on their way to the store, in order, their bytes frozen on disk from
// before the first try until the answer is known, also across restarts: a retry sends the same
// bytes. Thread-safe.

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace sqlite_s3 {

struct SpoolItem {
  uint64_t sequence = 0;
  std::string key;
  uint64_t size_bytes = 0;
  bool is_segment = false;  // false: a part
  // Of segments made by this process:
  Txid last;
  Digest digest;
  uint32_t commits = 0;
  int64_t oldest_commit_us = 0;  // monotonic clock, when its first commit was captured
  uint64_t sync_ticket = 0;      // reached once this is acknowledged
};

class Spool {
 public:
  // Opens the folder (made 0700), drops temporary files, finds what a former process left, in
  // order.
  static Result<std::unique_ptr<Spool>> Open(const std::string& directory);

  // Freezes the bytes. After OK they survive the end of the process (not a power loss: then the
  // comparison at start finds out). Never blocks on the bound: ask bytes() first.
  Status Push(SpoolItem item, Bytes bytes);
  // The oldest item and its bytes; nullopt when empty. Stays until Pop.
  std::optional<SpoolItem> Front();
  Result<Bytes> ReadFront();
  Status Pop();
  // Everything, oldest first; for the start.
  std::vector<SpoolItem> Items();
  Result<Bytes> Read(const SpoolItem& item);
  Status Clear();
  // Drops everything behind the first `count` items.
  Status DropAfter(size_t count);

  uint64_t bytes();
  size_t size();

 private:
  explicit Spool(std::string directory) : directory_(std::move(directory)) {}
  std::string PathOf(const SpoolItem& item) const;
  std::string directory_;
  std::mutex mutex_;
  std::deque<SpoolItem> items_;
  std::deque<Bytes> cached_;  // bytes of items_, while small in all; empty: read the file
  uint64_t cached_bytes_ = 0;
  uint64_t bytes_ = 0;
  uint64_t next_sequence_ = 1;
};

}  // namespace sqlite_s3

#pragma once
// Pins: which contents are being read or written, so that the sweep leaves them alone. In memory
// only: after a start nobody reads, and every content that nothing refers to may go.

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

namespace sqlite_s3::server {

// Thread-safe.
class Pins {
 public:
  // False when the content is being swept: whoever found it holds an old view and looks again. True
  // does not say that it is still there: a sweep may have ended before. Look again after it.
  bool Pin(int64_t content) {
    std::lock_guard lock(mutex_);
    if (sweeping_.contains(content)) {
      return false;
    }
    ++pins_[content];
    return true;
  }
  void Unpin(int64_t content) {
    std::lock_guard lock(mutex_);
    auto found = pins_.find(content);
    if (--found->second == 0) {
      pins_.erase(found);
    }
  }
  // False when it is pinned. From true to EndSweep nobody can pin it.
  bool BeginSweep(int64_t content) {
    std::lock_guard lock(mutex_);
    return !pins_.contains(content) && (sweeping_.insert(content), true);
  }
  void EndSweep(int64_t content) {
    std::lock_guard lock(mutex_);
    sweeping_.erase(content);
  }

 private:
  std::mutex mutex_;
  std::unordered_map<int64_t, int> pins_;
  std::unordered_set<int64_t> sweeping_;
};

}  // namespace sqlite_s3::server

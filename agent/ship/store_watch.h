#pragma once
// StoreWatch: what the engines of one process know together of one store. They share the threads
// that wait for answers; without it a store that hangs would take all of them, each for as long as
// a request may last, and hold up the uploads to every other store.

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "common/base/status.h"

namespace sqlite_s3 {

// Thread-safe.
class StoreWatch {
 public:
  enum class For { kLog, kImage };
  // While the store is away, as many requests at a time find out when it answers again.
  static constexpr std::array<size_t, 2> kMostWhileAway{4, 1};

  // Whether a request may be made now: yes, as long as the store answers. Each yes is followed by
  // one Leave.
  [[nodiscard]] bool Enter(For what);
  // What became of it. kUnavailable and kDeadlineExceeded: the store is away; kCancelled says
  // nothing; anything else is an answer.
  void Leave(For what, const Status& status);

 private:
  std::mutex mutex_;
  bool away_ = false;
  std::array<size_t, 2> inside_{};
};

// Those of a process, by name of the store. Thread-safe.
class StoreWatches {
 public:
  std::shared_ptr<StoreWatch> Of(const std::string& store);

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<StoreWatch>> watches_;
};

}  // namespace sqlite_s3

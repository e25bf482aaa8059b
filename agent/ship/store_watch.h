#pragma once
// StoreWatch: what the engines of one process know together of one store. They share the threads
// that wait for answers; without it a store that hangs would take all of them, each for as long as
// a request may last, and hold up the uploads to every other store.

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "common/base/status.h"

namespace sqlite_s3 {

// Thread-safe.
class StoreWatch {
 public:
  enum class For { kLog, kImage };
  // While the store is away, as many requests at a time find out when it answers again.
  static constexpr std::array<size_t, 2> kMostWhileAway{4, 1};

  // A request that is being made. The watch outlives it.
  class Visit {
   public:
    Visit(Visit&& other) noexcept;
    Visit& operator=(Visit&& other) noexcept;
    ~Visit();  // nothing is known of a request that nobody told the end of
    // What became of it. kUnavailable and kDeadlineExceeded: the store is away; kCancelled says
    // nothing; anything else is an answer.
    void Ended(const Status& status);

   private:
    friend class StoreWatch;
    Visit(StoreWatch* watch, For what) : watch_(watch), what_(what) {}
    StoreWatch* watch_;  // null: it has ended
    For what_;
  };

  // nullopt: no request may be made now. As long as the store answers, any may.
  [[nodiscard]] std::optional<Visit> Enter(For what);

 private:
  void Leave(For what, const Status& status);

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

#pragma once
// PositionAlarm: there is something to ship, and for too long nothing of it gets there. Whatever
// the reason is (the store, credentials, a fence, a bug), this is what an operator must hear of.
// Pure: it has no clock. Not thread-safe.

#include <chrono>
#include <cstdint>

#include "common/base/ids.h"

namespace sqlite_s3 {

class PositionAlarm {
 public:
  struct Inputs {
    bool behind = false;  // there is something to ship, or nobody can say
    Txid shipped_txid;
    // Work that shows without moving the position, such as pages compared at a start: grows while
    // it goes on. Counts of different engines are not compared.
    uint64_t progress = 0;
    const void* engine = nullptr;
  };

  explicit PositionAlarm(std::chrono::milliseconds after) : after_us_(after.count() * 1000) {}
  // Returns whether the alarm is on. `now_us` is monotonic; the alarm is as exact as calls are
  // frequent.
  bool Update(const Inputs& inputs, int64_t now_us);

 private:
  const int64_t after_us_;
  bool behind_ = false;
  int64_t still_since_us_ = 0;  // when the position began to stand still
  Inputs last_;
};

}  // namespace sqlite_s3

#pragma once
// What the steps of an engine's worker are made of: engine_impl.h cuts its threads into steps, and
// a step leaves to its driver when the next one is due. Values alone; private to agent/ship.

#include <chrono>

#include "agent/ship/shared_block.h"
#include "agent/ship/work_pool.h"
#include "common/base/ids.h"

namespace sqlite_s3 {

// Why a session with the replica is over.
enum class EngineSessionEnd { kStop, kRestart, kFenced, kFailed, kRetryLater };

// What is done with captured commits.
enum class EngineCaptureMode {
  kDrop,       // only the scan looks at them (they become part of its result)
  kTentative,  // kept, until the scan says whether they lead to the live database
  kShip,
};

// Where the worker is in its life; each step is of one phase.
enum class EnginePhase { kLock, kOpen, kScan, kShip, kClose, kEnded };

// What a step leaves to its driver.
struct EnginePause {
  enum class Kind {
    kNone,      // the next step at once
    kDoorbell,  // when rung, or after `wait`
    kTime,      // after `wait`, or when stopped
    kEnd,       // no further step
  };
  Kind kind = Kind::kNone;
  std::chrono::microseconds wait{0};
  WorkPool::Lane lane = WorkPool::Lane::kShip;  // of the next step
  bool nap = false;
  bool flushing = false;     // kTime: `wait` is that of a flush
  SharedBlock::Seen seen{};  // before the step looked for work
};

// A sync that waits for the commits before it.
struct EnginePendingSync {
  uint64_t ticket;
  Txid txid;
};

// What the commit that an image is of says of the database.
struct EngineImageExpectation {
  int64_t time_us;
  uint64_t checksum;
};

}  // namespace sqlite_s3

#pragma once
// SharedEngine: one database of this process that is being shipped, however many handles and
// connections use it. Counts them, and stops the engine when nobody is left.
//
// Thread-safety: every method may be called from any thread. AddUser and RemoveUser must be called
// inside a ForkGate::Operation.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "agent/hook/start_engine.h"
#include "agent/ship/engine.h"

namespace sqlite_s3 {

// SQLite's own default, where no connection has said anything else.
inline constexpr uint32_t kDefaultCheckpointPages = 1000;

// Somebody who wants the database shipped.
struct ShipUser {
  enum class Kind { kHandle, kConnection } kind = Kind::kHandle;
  uint32_t checkpoint_pages = 0;  // of a connection: its own threshold; 0 = it has none
};

class SharedEngine {
 public:
  enum class Phase {
    kLive,
    kEnded,   // stopped: hooks that are still installed give way to SQLite's own
    kForked,  // this is the child of a fork: nothing of it may be touched
  };

  explicit SharedEngine(const HostDatabase& database) : database_(database) {}

  // Adds a user. The first one starts the engine, on the calling thread; a later one must ask for
  // the same (kInvalidArgument). An engine that stopped by itself (fenced, failed) is started
  // afresh with what is asked now. False: this object has ended, get another one. After an error
  // the user is not counted.
  Result<bool> AddUser(const ShipRequest& request, const ShipUser& user);
  // The last user gone flushes, within close_timeout, and ends this object.
  void RemoveUser(const ShipUser& user);
  // A connection has another threshold now.
  void ChangeCheckpointPages(uint32_t old_pages, uint32_t new_pages);
  // A user leaves on purpose. With the last one, with the last handle (handles own the shipping
  // where there are any), or when `everybody` is to go, waits for the replica up to `timeout`,
  // stops the engine and ends this object; a handle waits in any case. OK: the replica has
  // everything. Not inside an operation: it makes its own, so that fork(2) does not wait for
  // `timeout`.
  Status Leave(const ShipUser& user, std::chrono::milliseconds timeout, bool everybody);
  // At exit: flushes up to `timeout`, stops the engine and ends this object, whoever uses it.
  Status End(std::chrono::milliseconds timeout);

  // One more, or one less, connection whose wal hook is not the one installed.
  void AddDisplaced(int difference);

  Phase phase() const { return phase_.load(std::memory_order_acquire); }
  // The engine that works now; null before the first user. Valid as long as this object, also when
  // another has taken its place meanwhile. One load: made for the wal hook.
  Engine* engine() const { return engine_.load(std::memory_order_acquire); }
  // kCancelled, with the reason, unless there is an engine and the phase is kLive.
  Result<Engine*> LiveEngine() const;
  const HostDatabase& database() const { return database_; }
  // What the engine was started with.
  ShipRequest request() const;

  // Around fork(2), with the fork gate closed, so that no operation is under way.
  void PrepareFork();
  void ParentAfterFork();
  // Keeps this object for good: hooks of inherited connections point at it, and destroying an
  // engine whose threads do not exist is asking for trouble.
  void ChildAfterFork(std::shared_ptr<SharedEngine> self);

 private:
  Status Start(const ShipRequest& request);
  bool IsLast(const ShipUser& user, bool everybody) const;
  void Uncount(const ShipUser& user);
  void SetEnded();
  uint32_t CheckpointPages() const;
  void PushCheckpointPages();

  const HostDatabase database_;
  mutable std::mutex mutex_;  // what follows, but for the atomics
  ShipRequest request_;
  int handles_ = 0;
  int connections_ = 0;
  std::multiset<uint32_t> checkpoint_pages_;      // of the connections
  std::vector<std::shared_ptr<Engine>> engines_;  // the last one works; others may still be in use
  std::atomic<Engine*> engine_{nullptr};
  std::atomic<Phase> phase_{Phase::kLive};
  std::atomic<int> displaced_{0};
  std::shared_ptr<SharedEngine> self_;  // see ChildAfterFork
};

}  // namespace sqlite_s3

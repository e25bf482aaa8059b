#pragma once
// Registry: what this process ships, and through which connections. One per process (per copy of
// this library in it), because a connection's hook, fork handlers and SQLite's auto-extensions have
// nothing but process-wide state to start from. Never destroyed: threads and connections may
// outlive static destructors.
//
// Lock order: a connection's own mutex (SQLite's), fork gate, SharedEngine, Registry, log.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/hook/fork_gate.h"
#include "agent/hook/shared_engine.h"

namespace sqlite_s3 {

class HookedConnection;

// Every connection that this process opens to a database is to be attached.
struct AttachAll {
  ShipRequest request;
  // Start again for a new connection after the last one was closed (s3_start). Without it somebody
  // holds a handle, and there is nothing to start.
  bool restart = false;
  int64_t failed_at_us = 0;  // monotonic; the last restart that failed, 0 = none
};

class Registry {
 public:
  static Registry& Get();

  ForkGate& fork_gate() { return fork_gate_; }

  // The database's engine with `user` added; starts it when nobody ships the database yet, and,
  // with the first one, installs the handlers for fork(2) and exit(3). kInvalidArgument: shipped
  // already, otherwise. kFailedPrecondition: the same file is shipped under another name, or
  // another file was under this name. Else Engine::Start's errors. Inside an operation.
  Result<std::shared_ptr<SharedEngine>> Acquire(const ShipRequest& request, const ShipUser& user);
  // By the path that SQLite uses. Null when it is not shipped by this process.
  std::shared_ptr<SharedEngine> Find(const std::string& path);
  // It has ended.
  void Forget(const SharedEngine& shared);

  // The connections that carry our hook.
  void AddConnection(sqlite3* db, HookedConnection* connection);
  void RemoveConnection(sqlite3* db);
  HookedConnection* FindConnection(sqlite3* db);  // null when there is none

  void SetAttachAll(const std::string& path, const AttachAll& attach_all);
  void ClearAttachAll(const std::string& path);
  void SetAttachAllFailed(const std::string& path, int64_t monotonic_us);
  bool HasAttachAll(const std::string& path);
  Result<AttachAll> FindAttachAll(const std::string& path);  // kNotFound

  // The three handlers of pthread_atfork(3), and of atexit(3): what has not been closed is flushed,
  // for at most its close_timeout.
  void PrepareFork();
  void ParentAfterFork();
  void ChildAfterFork();
  void AtExit();

 private:
  Registry() = default;
  Result<std::shared_ptr<SharedEngine>> FindOrAdd(const HostDatabase& database);
  std::vector<std::shared_ptr<SharedEngine>> Snapshot();

  ForkGate fork_gate_;
  std::mutex mutex_;  // what follows; held for moments only
  std::map<std::string, std::shared_ptr<SharedEngine>> shared_;
  std::unordered_map<sqlite3*, HookedConnection*> connections_;
  std::map<std::string, AttachAll> attach_all_;
  std::atomic<bool> any_attach_all_{false};
  std::vector<std::shared_ptr<SharedEngine>> forking_;  // between the fork handlers
};

}  // namespace sqlite_s3

#pragma once
// Engine: ships one database to one replica. The library and the sidecar drive the same engine;
// they differ in what rings the doorbell. docs/ARCHITECTURE.md has the picture, docs/adr/ the
// reasons.
//
// Threads: every public method may be called from any thread, except where said. OnCommit is called
// from SQLite's wal hook, in the committing thread, and never fails the commit.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/ship/store_watch.h"
#include "agent/ship/work_pool.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/config/options.h"
#include "common/store/object_store.h"
#include "common/store/rate_limiter.h"

namespace sqlite_s3 {

class StatementInbox;

enum class LogLevel { kDebug, kInfo, kWarning, kError };
// Called from any thread, with our locks held: must not call back into the engine.
using LogCallback = std::function<void(LogLevel, const std::string& message)>;

struct EngineConfig {
  std::string database_path;  // absolute, as SQLite names it (sqlite3_db_filename)
  std::string vfs;            // the host connection's VFS; empty = default
  ShipOptions options;
  // Resolved: options.checkpoint_pages, or the connection's own setting. 0: the application
  // switched automatic checkpoints off, and makes its own.
  uint32_t checkpoint_pages = 1000;
  // How often the worker looks unasked. Longer where every commit rings (Notify).
  std::chrono::milliseconds idle_look{500};
  // An engine before this one was refused, and that was told: the log need not have each new try.
  bool starts_again = false;
  // After a start that failed of what may go away; those that follow come later and later.
  std::chrono::milliseconds first_retry{2000};
  // How long a segment waits for the statements of a commit whose thread has not said them yet.
  std::chrono::milliseconds statement_patience{250};
  // Never make a -wal or -shm, unless this process runs as the user that owns the database: files
  // of another user would lock the application out. kFailedPrecondition while they are missing.
  bool join_only = false;
  // From how many frames a second on writers of other processes count as busy: checkpoints are made
  // beside them then, so that they need make none.
  uint32_t busy_frames_per_second = 20'000;
  // The threads that this engine shares with others; null: it has its own. Without fork(2).
  std::shared_ptr<WorkPool> pool;
  std::shared_ptr<ObjectStore> store;
  // What others know of the same store, with whom threads are shared; null: nobody.
  std::shared_ptr<StoreWatch> store_watch;
  // Limits that this engine's requests share with those of others, beside its own; null: none.
  std::shared_ptr<RateLimiter> shared_limits;
  const Clock* clock = &Clock::Real();
  LogCallback log;
};

enum class EngineState {
  kStarting,   // reading the replica, comparing the database with it
  kShipping,   // all is well
  kStoreAway,  // the last try failed; spooling
  kStandby,    // another process of this machine ships; we wait for durability through it
  kFenced,     // another writer has the timeline: stopped until told
  kFailed,     // stopped by an error that needs somebody; last_error says which
  kStopped,
};
const char* EngineStateName(EngineState state);

// The status record: s3_status() and, later, `status --json`.
struct EngineStatus {
  EngineState state = EngineState::kStopped;
  std::string database;
  std::string replica;  // without credentials
  uint32_t timeline = 0;
  Txid txid;                  // last captured
  bool txid_current = false;  // every commit made before a forced GetStatus is in `txid`
  Txid shipped_txid;          // last one that the store has, with an image to restore it from
  int64_t lag_ms = 0;         // age of the oldest commit not yet acknowledged; 0 = none
  uint64_t lag_commits = 0;
  uint64_t bytes_shipped = 0;   // since start, all objects
  uint64_t bytes_captured = 0;  // frames read from the WAL, since start
  uint64_t wal_frames = 0;      // now
  uint64_t spool_bytes = 0;
  uint64_t segments = 0;  // acknowledged since start
  uint64_t images = 0;
  Txid image_txid;  // of the newest complete image we know
  bool image_running = false;
  uint64_t requests = 0;    // to the store since start
  int64_t interval_ms = 0;  // how far apart segments are now: the option, or what the budget asks
  uint64_t request_budget = 0;       // a month; 0: none
  uint64_t requests_this_month = 0;  // of those that the budget is about
  uint64_t merged_commits = 0;       // commits that share a restore point because of overload
  uint64_t resyncs = 0;
  uint64_t salvaged_commits =
      0;  // commits whose frames failed SQLite's checksum (see wal_capture.h)
  uint64_t checkpoints = 0;
  uint64_t wal_resets = 0;
  uint64_t write_locks = 0;        // checkpoints for which writers were held off
  uint64_t write_lock_max_us = 0;  // the longest of them
  uint64_t looks = 0;  // of the worker at the database; stands still when it hangs; not in the JSON
  uint64_t commit_timeouts = 0;  // durable commits that returned before they were acknowledged
  bool hook_displaced = false;
  bool trace_displaced = false;       // of a connection whose statements are wanted
  uint64_t dropped_statements = 0;    // commits whose statements took too much memory
  bool sqlite_wal_reset_bug = false;  // the SQLite in use is affected
  std::string sqlite_version;
  std::string last_error;
  StatusCode last_error_code = StatusCode::kOk;  // not in the JSON
  std::string away_of;  // with kStoreAway: "store", or "machine": a full disk, memory, threads
  std::string checkpoint_error;  // why the WAL is not emptied, and may grow; empty: it is
};
// JSON object, one line; txid and shipped_txid as 16-digit hex strings.
std::string FormatStatusJson(const EngineStatus& status);

class Engine {
 public:
  // Checks the database and the store, takes the pin, finds out whether we may append, and starts
  // the threads; comparing the whole database with the replica goes on in the background
  // (kStarting). Errors, with nothing changed anywhere: kFailedPrecondition (not a WAL database,
  // in-memory, EXCLUSIVE, no shared memory, replica of another database, fenced, somebody else's
  // replica), kUnavailable / kPermissionDenied (store), kUnimplemented (newer format).
  static Result<std::shared_ptr<Engine>> Start(const EngineConfig& config);
  virtual ~Engine() = default;

  // From the wal hook: `frames` is SQLite's count. Hot path: two stores and no syscall, but for
  // commits that reach the checkpoint threshold, and durable ones.
  virtual void OnCommit(uint32_t frames) = 0;
  // Somebody else (another process) has perhaps committed, or touched the files: look soon, and for
  // a while again, for the sign can come before the commit can be seen. `files_changed`: a file was
  // made, removed or renamed. At most one syscall.
  virtual void Notify(bool files_changed) { (void)files_changed; }
  // `unasked`: nobody calls Notify for commits from now on: the worker looks every few
  // milliseconds.
  virtual void LookUnasked(bool unasked) { (void)unasked; }
  // Frames that came in a second, by the last twentieth of one; as of the last look. 0 while
  // nothing is captured.
  virtual uint32_t FramesPerSecond() const { return 0; }
  // Where attached connections leave their statements; null: none are wanted. Valid as long as the
  // engine.
  virtual StatementInbox* statement_inbox() { return nullptr; }
  // One more, or one less, connection whose trace callback is not the one installed.
  virtual void AddTraceDisplaced(int difference) { (void)difference; }
  // A connection was attached or is gone; the last one gone flushes (bounded by close_timeout) and
  // stops the engine. Never blocks longer. DetachConnection returns true when the engine stopped.
  virtual void AttachConnection() = 0;
  virtual bool DetachConnection() = 0;
  // The hook layer saw that our wal hook is not the one installed any more (or is again).
  virtual void SetHookDisplaced(bool displaced) = 0;
  // The application set another threshold (PRAGMA wal_autocheckpoint=N) on an attached connection;
  // means what EngineConfig.checkpoint_pages means, from the next commit on. The hook layer does
  // not call it when options.checkpoint_pages is given, for that option wins.
  virtual void SetCheckpointPages(uint32_t pages) { (void)pages; }
  // Commits seen by capture that no hook call announced, since the last call of OnCommit; > 0 for a
  // while means displaced hook, blob writes, or another process.
  virtual uint64_t UnannouncedCommits() const = 0;

  // Captures up to now and waits until the store has it, and an image to restore it from. *txid
  // gets the last TXID covered. kDeadlineExceeded after `timeout`; kAborted when fenced; kCancelled
  // when stopping.
  virtual Status Sync(std::chrono::milliseconds timeout, Txid* txid) = 0;
  // Waits until `txid` is acknowledged; does not force a capture. kInvalidArgument for a TXID
  // beyond the last captured one.
  virtual Status Wait(Txid txid, std::chrono::milliseconds timeout) = 0;
  // Names the last commit made before the call, once the store has it.
  virtual Result<Txid> Mark(const std::string& name, std::chrono::milliseconds timeout) = 0;
  // Ships an image of the current state, waits for it.
  virtual Result<Txid> MakeImage(std::chrono::milliseconds timeout) = 0;
  // `force_capture`: every commit made before the call is in `txid`, if txid_current says so: not
  // while the start compares, and not while there is no room.
  virtual EngineStatus GetStatus(bool force_capture) = 0;
  // Of the status what costs nothing: state, TXIDs, lag, counts that are at hand. No text.
  virtual EngineStatus GetPulse() { return GetStatus(false); }
  // Flushes within the timeout, then closes everything. Idempotent. kDeadlineExceeded when
  // something was left in the spool; it is shipped at the next start.
  virtual Status Stop(std::chrono::milliseconds timeout) = 0;

  // Around fork(2), in this order, from pthread_atfork handlers. Prepare leaves no SQLite
  // connection, no lock and no thread inside SQLite; the parent goes on as after a restart; the
  // child's engine is dead (kStopped) and touches nothing.
  virtual void PrepareFork() = 0;
  virtual void ParentAfterFork() = 0;
  virtual void ChildAfterFork() = 0;
};

}  // namespace sqlite_s3

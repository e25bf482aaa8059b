#pragma once
// HookedConnection: one connection of the application that rings an engine's doorbell.
//
// The slot. A connection has one wal hook, and SQLite's automatic checkpoint lives in it:
// sqlite3_wal_autocheckpoint() and PRAGMA wal_autocheckpoint=N put SQLite's own hook there,
// silently. sqlite3_wal_hook() returns the previous *argument* (N for SQLite's own), never the
// previous function, so another hook can be neither chained nor put back, and merely looking who is
// there throws him out. What can be known without harm:
//   - "PRAGMA wal_autocheckpoint" reads N > 0: SQLite's own hook is there. Ours goes back at once,
//     with N as the threshold: the application wanted another threshold, not to lose its backups.
//   - it reads 0: ours is there, or none (PRAGMA wal_autocheckpoint=0), or the application's own.
//     If this connection has committed since we last looked, commits went unannounced and our hook
//     was not called, ours is not there. Then the slot is left alone and the status says
//     hook_displaced. Nothing is lost: capture reads the WAL, not the doorbell. But commits are
//     noticed by a timer, are not held by durability=commit, and make no room in the WAL.
// The question is asked when one of our functions runs on the connection. Where every connection is
// attached (attach_all.h), the trace callback sees the PRAGMA itself, so that both N and 0 are
// known to be no hook of the application's, and ours goes back before the next statement. Asking to
// attach once more (s3_start, sqlite_s3_attach) takes the slot whoever is there.
//
// Statements. With statements=text or values the connection's trace slot is ours, too: see
// statement_recorder.h. An application that takes it for itself keeps it: its commits are marked as
// being without statements, and the status says trace_displaced.
//
// The end. A destructor rides on a hidden SQL function, because that is what SQLite calls when a
// connection is really gone: after sqlite3_close() returned OK, or the last statement of a zombie
// was finalized, and after the connection has let go of its files. SQLITE_TRACE_CLOSE also fires
// for closes that fail and for zombies that still commit, and takes the application's trace slot.
//
// Thread-safety: as a connection's: one thread at a time, held by SQLite's own mutex where it has
// one. Created and destroyed with the connection.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "agent/hook/shared_engine.h"
#include "agent/hook/statement_recorder.h"
#include "common/base/status.h"
#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

class HookedConnection {
 public:
  // Null when there is none; one that is not attached now is returned too.
  static HookedConnection* Find(sqlite3* db);

  // Attaches `db` to the engine of `request`, starting it if need be; if it is attached already,
  // only takes the hook's slot back. Errors: Registry::Acquire's.
  static Result<HookedConnection*> Attach(sqlite3* db, const ShipRequest& request);

  // Gives the connection its automatic checkpoint back, if our hook is still there, and leaves the
  // engine as SharedEngine::Leave says. OK when not attached.
  Status Detach(std::chrono::milliseconds timeout, bool everybody);

  bool attached() const { return shared_ != nullptr; }
  // Null when not attached.
  const std::shared_ptr<SharedEngine>& shared() const { return shared_; }

  // Asks the question above and acts on it.
  void CheckHook();
  // A PRAGMA wal_autocheckpoint=N has just been prepared on the connection: puts our hook back.
  void PutHookBack();
  // What our trace callback does; `text` is its last argument. Also for an application's own
  // callback, which calls us. Never fails.
  void OnStatement(sqlite3_stmt* statement, const char* text);
  // Of commits from now on. kInvalidArgument when it is too long; OK when nobody wants it.
  Status SetTag(const std::string& tag);
  // Null unless statements are wanted.
  StatementRecorder* recorder() { return recorder_.get(); }
  // What our hook does; also for an application's own hook, which calls us. Never fails.
  void OnCommit(uint32_t frames);

 private:
  explicit HookedConnection(sqlite3* db) : db_(db) {}
  ~HookedConnection();
  static Result<HookedConnection*> FindOrCreate(sqlite3* db);
  static void Destroy(void* connection);
  static int TraceHook(unsigned event, void* connection, void* statement, void* text);
  void TakeTrace();
  void SetTraceDisplaced(bool displaced);
  static int WalHook(void* connection, sqlite3* db, const char* schema, int frames);
  // Installs our hook; returns the previous argument.
  void* TakeSlot();
  void SetCheckpointPages(uint32_t pages);
  void SetDisplaced(bool displaced);
  void GiveWayToSqlite();
  ShipUser AsUser() const { return {ShipUser::Kind::kConnection, checkpoint_pages_}; }

  sqlite3* const db_;
  std::shared_ptr<SharedEngine> shared_;
  std::unique_ptr<StatementRecorder> recorder_;
  bool trace_displaced_ = false;
  bool in_trace_ = false;          // what we ask inside the callback is traced, too
  uint32_t checkpoint_pages_ = 0;  // the connection's own setting, 0: off
  bool displaced_ = false;
  bool called_ = false;                  // our hook, since the last look
  std::optional<uint32_t> own_commits_;  // at the last look; empty: not known
};

}  // namespace sqlite_s3

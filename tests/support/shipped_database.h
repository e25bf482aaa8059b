#pragma once
// ShippedDatabase: a real SQLite database with an engine on it, as a small language.
//
//   ShippedDatabase db;
//   db.Exec("create table t(a)");
//   db.Start();
//   db.Exec("insert into t values(1)");
//   db.Note();             // remembers the database at its TXID
//   db.Sync();
//   db.CheckNoted();       // every remembered TXID replays to the same bytes
//
// Errors fail the test at once.

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/ship/engine.h"
#include "common/sqlite/connection.h"
#include "common/store/memory_store.h"
#include "tests/support/fault_store.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {

// sqlite3_wal_checkpoint_v2 with the connection's busy timeout: SQLITE_OK, or SQLITE_BUSY when that
// was over. Asked again while another connection is in a checkpoint, as an engine that looks is now
// and then: for that SQLite waits for nobody.
int CheckpointAfterOthers(Connection& by, int mode);

class ShippedDatabase {
 public:
  struct Options {
    uint32_t page_size = 4096;
    int auto_vacuum = 0;
    uint32_t checkpoint_pages = 1000;
    bool announces = true;  // commits, by the hook; else an application that knows nothing of us
    uint32_t busy_frames_per_second = 20'000;
    ShipOptions ship;
    bool own_threads = false;  // the engine's, whatever the environment says
    std::shared_ptr<RateLimiter> limits;
    const Clock* clock = &Clock::Real();
    std::chrono::milliseconds first_retry{2000};
    Options() { ship.interval = std::chrono::milliseconds(20); }
  };

  explicit ShippedDatabase(const Options& options = Options());
  ~ShippedDatabase();

  // The application's connection, opened on first use, WAL mode, with the hook once started.
  Connection& app();
  void Exec(const std::string& sql);
  Status TryExec(const std::string& sql) { return app().Exec(sql.c_str()); }
  int64_t QueryInt(const std::string& sql);
  void CloseApp();
  // Another connection of this process; hooked like the first once started.
  Connection OpenAnother();

  Status TryStart();
  void Start();
  void Stop();
  // As a killed process leaves it: nothing is flushed. (Runs the fork protocol without a fork:
  // threads end, connections close, encoded commits stay behind.)
  void Abandon();

  // TXID of the last commit, by a forced capture. Throws when the engine has ended.
  Txid Now();
  Txid Note();
  Txid Sync();
  // Until the first image is complete, restore points before the next one would go with it.
  void WaitForImage();
  Bytes Serialize();
  // Copies the database, its WAL and, if asked, its state directory, by another process: opening
  // and closing the file here would drop SQLite's locks. REQUIRES: nobody writes.
  void CopyTo(const std::string& path, bool with_state = false);
  // REQUIRES: shipped. Every noted TXID, and the head against the live database.
  void CheckNoted();
  void CheckHead();
  size_t noted() const { return noted_.size(); }
  const std::map<Txid, Bytes>& notes() const { return noted_; }
  void ForgetNotes() { noted_.clear(); }
  // For a process killed before its first image was complete.
  void DropNotesBeforeFirstImage();

  Engine& engine() { return *engine_; }
  std::shared_ptr<Engine> engine_handle() { return engine_; }
  bool started() const { return engine_ != nullptr; }
  // Null: the engine has threads of its own.
  std::shared_ptr<WorkPool> pool() const { return pool_; }
  FaultStore& faults() { return *faults_; }
  std::shared_ptr<FaultStore> store() { return faults_; }
  void UseStore(std::shared_ptr<FaultStore> store) { faults_ = std::move(store); }
  const std::string& path() const { return path_; }
  std::string state_dir() const { return path_ + "-s3"; }
  TempDir& dir() { return dir_; }
  Options& options() { return options_; }
  std::vector<std::string> log();

  static int Hook(void* self, sqlite3*, const char* schema, int frames);

 private:
  Options options_;
  TempDir dir_;
  std::string path_;
  std::shared_ptr<FaultStore> faults_;
  Connection app_;
  std::shared_ptr<WorkPool> pool_;  // with SQLITE_S3_TEST_POOL in the environment
  std::shared_ptr<Engine> engine_;
  std::map<Txid, Bytes> noted_;
  std::mutex log_mutex_;
  std::vector<std::string> log_;
};

}  // namespace sqlite_s3

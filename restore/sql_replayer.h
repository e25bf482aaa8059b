#pragma once
// SqlReplayer: executes the statements of a commit again, and takes the result only when it is the
// very database that the commit left. Otherwise nothing has happened, and the commit's pages can be
// applied.
//
// SQLite runs in WAL mode, as it did, over a SandboxVfs: the frames it commits are read from the
// WAL in memory, and their database checksum compared with the commit's before any page is changed.
// An authorizer allows what a logged write needs and nothing else.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/format/segment.h"
#include "common/format/statements.h"
#include "common/sqlite/connection.h"
#include "restore/page_store.h"
#include "restore/prepared_statements.h"
#include "restore/sandbox_vfs.h"
#include "restore/sql_permissions.h"
#include "restore/watchdog.h"

namespace sqlite_s3 {

// What executing a commit's statements came to.
struct ReplayResult {
  bool same = false;   // the database is the commit's
  std::string reason;  // why not: one line without the statements' text
  // Statements that changed another number of rows than they did, or failed while they did change
  // some: index, and what happened.
  std::vector<std::string> surprises;
};

// One thread.
class SqlReplayer {
 public:
  struct Limits {
    double seconds = 30;                        // of a commit's statements
    double grace_seconds = 5;                   // more, until they are stuck
    uint64_t memory_bytes = uint64_t{1} << 30;  // of WAL and temporary files
    // The statements cannot be interrupted: see Watchdog. From another thread; ends the process.
    std::function<void()> on_stuck;
  };
  // `pages` must outlive the replayer, and be changed by others only with ForgetPages after it.
  SqlReplayer(PageStore& pages, uint32_t page_size, const Limits& limits);
  ~SqlReplayer();

  // Executes; on a result that is the same, `pages` has it. Else `pages` is as before.
  // An error is one of reading `pages`.
  Result<ReplayResult> Execute(const CommitStatements& commit, const CommitRecord& expected);
  // The same without anything to compare with: whatever the statements make is taken.
  Result<ReplayResult> ExecuteFreely(const CommitStatements& commit);
  // Somebody else has changed the pages.
  void ForgetPages() { Close(); }
  uint64_t timeouts() const { return timeouts_; }

 private:
  Result<ReplayResult> ExecuteOrTryLater(const CommitStatements& commit,
                                         const CommitRecord* expected);
  Result<ReplayResult> Try(const CommitStatements& commit, const CommitRecord* expected,
                           int64_t clock_shift_us);
  Status Open();
  void Close();
  void ApplySettings(uint32_t settings);
  void Run(const LoggedStatement& logged, size_t index, ReplayResult* result);
  Status Bind(sqlite3_stmt* statement, const LoggedStatement& logged);
  static std::vector<Bytes> FirstPages(ByteSpan written, uint32_t counter_before);
  Result<bool> TakeFrames(const CommitRecord* expected);
  void MaybeCheckpoint();
  static int OnWal(void* self, sqlite3*, const char* schema, int frames);

  PageStore& pages_;
  const uint32_t page_size_;
  const Limits limits_;
  SandboxVfs vfs_;
  SqlPermissions permissions_;
  Connection db_;
  PreparedStatements prepared_;  // of db_
  std::optional<uint32_t> settings_;
  uint32_t frames_taken_ = 0, frames_ = 0;
  bool timed_out_ = false;
  uint64_t timeouts_ = 0;
  Watchdog watchdog_;
};

}  // namespace sqlite_s3

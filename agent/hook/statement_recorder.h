#pragma once
// StatementRecorder: what one connection of the application executes, kept until its commit.
//
// SQLite's trace callback tells every statement as it begins, also those that will fail, wait for a
// lock and be tried again, or be rolled back. What is known when:
//   - Statements of triggers and of virtual tables come with a text that begins with "--" and is
//     not the statement's own.
//   - Actions of foreign keys come with the text of their statement, again and again.
//   - Autocommit before a statement, and no write transaction: whatever was kept was not committed.
//   - A transaction that has not written yet: its statements so far did nothing (a lock was busy).
//   - ROLLBACK TO takes back what came after its savepoint; ROLLBACK all.
//   - A statement that failed otherwise cannot be told from one that changed nothing. It is kept:
//     it fails in the same way when it is executed again.
//   - The wal hook: everything kept has been committed, up to exactly that frame. It can come late:
//     see CallLateHook.
//
// Thread-safety: as the connection's: its mutex is held in both callbacks.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/hook/connection_settings.h"
#include "agent/hook/sqlite_s3.h"
#include "agent/ship/statement_inbox.h"
#include "common/sqlite/sql_text.h"
#include "common/sqlite/sqlite_api.h"
#include "common/sqlite/wal_index.h"

namespace sqlite_s3 {

// What sqlite_s3_step() says about the statement it is about to step, on this thread.
struct ExactValues {
  sqlite3_stmt* statement = nullptr;
  std::span<const sqlite_s3_value> values;
};

class StatementRecorder {
 public:
  // `values`: what parameters are bound to is wanted, too.
  StatementRecorder(sqlite3* db, bool values);
  ~StatementRecorder() { Settle(); }
  StatementRecorder(const StatementRecorder&) = delete;
  StatementRecorder& operator=(const StatementRecorder&) = delete;

  // From the trace callback. `text` is its last argument.
  void OnStatement(StatementInbox& inbox, sqlite3_stmt* statement, const char* text);
  // From the wal hook, before anybody may wait. False when the commit came without any statement:
  // the trace callback is not ours any more.
  bool OnCommit(StatementInbox& inbox, uint32_t frames);
  // The statement that this thread has just stepped did not succeed.
  void OnFailure(sqlite3_stmt* statement);

  // Of commits from now on, until another one.
  void SetTag(std::string tag) { tag_ = std::move(tag); }

  // Around a step whose exact values are known; null afterwards.
  static void SetExact(const ExactValues* exact);

 private:
  struct Savepoint {
    std::string name;
    size_t kept;  // statements up to and with the SAVEPOINT
  };
  struct Generation {
    uint32_t salt1 = 0, salt2 = 0, max_frame = 0;
    bool known = false;
  };

  bool Wanted(sqlite3_stmt* statement, const char* text, SqlControlStatement* control);
  bool IsForeignKeyAction(sqlite3_stmt* statement) const;
  void CallLateHook();
  void BeginIfFresh();
  void FinishLast();
  void Clear();
  void Keep(sqlite3_stmt* statement, const char* text, bool is_control);
  void Settle();
  void Expect(StatementInbox& inbox);
  Generation Look();
  std::optional<ToldPlace> PlaceOf(uint32_t frames);

  sqlite3* const db_;
  const bool values_;
  const uint64_t number_;
  ConnectionSettings settings_;
  std::string tag_;
  RecordedCommit kept_;
  size_t kept_bytes_ = 0;
  size_t writes_ = 0;  // of kept_, that are no control statements
  std::vector<Savepoint> savepoints_;
  Generation before_;
  // Of the connection's own mapping, which it keeps until it leaves WAL mode: only a PRAGMA does
  // that, or its close.
  std::optional<WalIndexView> view_;
  int total_changes_ = 0;         // when the last kept statement began
  bool last_open_ = false;        // its changed rows are not counted yet
  sqlite3_stmt* last_ = nullptr;  // it; compared only
  int last_steps_ = 0;            // of its program when it began
  int last_reprepares_ = 0;
  bool seen_ = false;                          // a statement that may commit, since the last commit
  StatementInbox* registered_with_ = nullptr;  // compared only
  std::shared_ptr<StatementInbox::Expectation> expectation_;
  bool expecting_ = false;
};

}  // namespace sqlite_s3

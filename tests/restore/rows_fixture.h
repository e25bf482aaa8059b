#pragma once
// What the tests of diff and undo share: both over a replica in memory, and a database that a
// script is tried on.

#include "restore/command.h"
#include "restore/rows/apply_script.h"
#include "restore/rows/difference.h"
#include "restore/rows/query.h"
#include "restore/rows/undo.h"
#include "tests/restore/database_content.h"
#include "tests/restore/restore_fixture.h"
#include "tests/restore/sqlite_history.h"

namespace sqlite_s3 {

class RowsFixture : public RestoreFixture {
 protected:
  // From `a` to `b`, in either order, on the latest line of history; with its script if asked for.
  // An image that is damaged is done without where there is an older one, as in the program.
  Result<Difference> Diff(Txid a, Txid b, bool script = false, const std::string& table = "") {
    Replica replica(store());
    RETURN_IF_ERROR(replica.Open());
    Progress progress(false);
    ASSIGN_OR_RETURN(const auto timelines, replica.ListTimelines());
    ASSIGN_OR_RETURN(const TimelineId timeline, Replica::LatestTimeline(timelines));
    DifferenceOptions options;
    options.span = {std::min(a, b), std::max(a, b), timeline, b < a};
    options.table = table;
    options.script = script;
    damage_ = {};
    return WithOlderImages<Difference>(&damage_, [&](std::optional<Txid> image_before) {
      options.image_before = image_before;
      return FindDifference(replica, options, progress, &damage_);
    });
  }

  Result<UndoPlan> Plan(Txid txid, Txid until, bool triggers_are_off = true) {
    Replica replica(store());
    RETURN_IF_ERROR(replica.Open());
    Progress progress(false);
    damage_ = {};
    return WithOlderImages<UndoPlan>(&damage_, [&](std::optional<Txid> image_before) {
      UndoOptions options;
      options.txid = txid;
      options.until = until;
      options.image_before = image_before;
      options.triggers_are_off = triggers_are_off;
      return PlanUndo(replica, options, progress, &damage_);
    });
  }

  // The database after `script`. Triggers off: as --apply runs it; else as a shell does. `refused`:
  // it must change nothing, and say so.
  DatabaseContent Apply(const Bytes& database, const std::string& script, bool triggers_are_off,
                        bool refused = false) {
    const std::string path = directory_.File("live.db");
    for (const char* tail : {"", "-wal", "-shm"}) {
      EXPECT_OK(RemoveFile(path + tail));
    }
    EXPECT_OK(WriteFileAtomically(path, database, 0600, Durability::kVisible));
    if (triggers_are_off) {
      const Status status = ApplyScript(path, script);
      EXPECT_EQ(status.code(), refused ? StatusCode::kFailedPrecondition : StatusCode::kOk)
          << status.ToString() << "\n"
          << script.substr(0, 20000);
    } else {
      auto db = Connection::Open(path, SQLITE_OPEN_READWRITE, "", 0);
      EXPECT_OK(db);
      Status status = db->Exec(script.c_str());
      EXPECT_EQ(status.ok(), !refused) << sqlite3_errmsg(db->get()) << "\n"
                                       << script.substr(0, 20000);
    }
    auto db = Connection::Open(path, SQLITE_OPEN_READWRITE, "", 0);
    EXPECT_OK(db);
    EXPECT_EQ(*db->QueryText("PRAGMA integrity_check"), "ok");
    Query search(db->get(), "SELECT name FROM sqlite_schema WHERE sql LIKE '%USING fts5(%'");
    while (search.Next()) {
      const std::string name = SqlIdentifier(search.Text(0));
      EXPECT_OK(db->Exec(
          ("BEGIN;INSERT INTO " + name + "(" + name + ") VALUES('integrity-check');ROLLBACK")
              .c_str()));
    }
    return ReadContent(path);
  }

  // Both ways of running the script give back what was before `txid`, of the state right after it.
  void ExpectUndone(const SqliteHistory& history, Txid txid) {
    const DatabaseContent before = ReadContent(history.Reference(txid.Prev()));
    for (const bool off : {true, false}) {
      auto plan = Plan(txid, txid, off);
      ASSERT_OK(plan);
      ASSERT_FALSE(plan->script.empty()) << plan->obstacles.at(0);
      const DatabaseContent content = Apply(history.Reference(txid), plan->script, off);
      ASSERT_EQ(content.Difference(before), "") << plan->script.substr(0, 5000);
    }
  }
  // The script of the diff makes the one of the other, both ways.
  void ExpectDiffMakes(const SqliteHistory& history, Txid a, Txid b) {
    for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
      auto difference = Diff(from, to, /*script=*/true);
      ASSERT_OK(difference);
      const DatabaseContent content =
          Apply(history.Reference(from), difference->script, /*triggers_are_off=*/false);
      ASSERT_EQ(content.Difference(ReadContent(history.Reference(to))), "")
          << difference->script.substr(0, 5000);
    }
  }
  static uint64_t RowsIn(const ChangeSet& changes) {
    uint64_t rows = 0;
    for (const TableChanges& table : changes.tables) {
      rows += table.rows.size();
    }
    return rows;
  }
};

// With one history, of pages of 512 bytes, that a test writes commit by commit.
class OneHistoryFixture : public RowsFixture {
 protected:
  explicit OneHistoryFixture(int auto_vacuum = 0) : history_(*store_, 512, 1, auto_vacuum) {}
  // One commit.
  Txid Run(const std::string& sql) {
    const bool alone = sql.starts_with("VACUUM") || sql.starts_with("PRAGMA");
    const Txid txid = history_.Run(alone ? sql : "BEGIN;" + sql + ";COMMIT");
    EXPECT_TRUE(txid) << sql;
    history_.history().Cut();
    return txid;
  }
  void Fill(const std::string& table, int rows) {
    Run("CREATE TABLE " + table +
        ";WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<" +
        std::to_string(rows) + ") INSERT INTO " + table.substr(0, table.find('(')) +
        "(v) SELECT printf('%.*c', 40+i, 'v') FROM c");
  }
  ChangeSet Changes(Txid a, Txid b) {
    auto difference = Diff(a, b);
    EXPECT_OK(difference);
    return difference.ok() ? difference->changes : ChangeSet();
  }
  SqliteHistory history_;
};

}  // namespace sqlite_s3

// What is kept of the application's statements until a commit, and bound to it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "agent/hook/sqlite_s3.hpp"
#include "tests/integration/statements_fixture.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RecordingTest : public StatementsFixture {
 protected:
  void SetUp() override {
    StatementsFixture::SetUp();
    app.Do("CREATE TABLE k(id INTEGER PRIMARY KEY, v UNIQUE)");
    Start("statements=values,interval=0");
  }
  // The SQL of the commit that `sql` makes.
  std::vector<std::string> Recorded(const std::string& sql) {
    app.Do(sql);
    return Sql(Sync());
  }
};

TEST_F(RecordingTest, WhatASavepointTookBackIsLeftOut) {
  EXPECT_THAT(Recorded("BEGIN; INSERT INTO t VALUES(1); SAVEPOINT s; INSERT INTO t VALUES(2);"
                       "ROLLBACK TO \"S\"; INSERT INTO t VALUES(3); SAVEPOINT r;"
                       "INSERT INTO t VALUES(4); RELEASE r; RELEASE s; COMMIT"),
              ElementsAre("INSERT INTO t VALUES(1);", "INSERT INTO t VALUES(3);",
                          "INSERT INTO t VALUES(4);"));
}

TEST_F(RecordingTest, ARolledBackTransactionLeavesNothingToTheNext) {
  app.Do("BEGIN; INSERT INTO t VALUES('gone'); ROLLBACK");
  EXPECT_THAT(Recorded("INSERT INTO t VALUES('kept')"),
              ElementsAre("INSERT INTO t VALUES('kept')"));
}

TEST_F(RecordingTest, AFailedStatementLeavesNothingToTheNext) {
  app.Do("INSERT INTO k VALUES(1, 'a')");
  app.Try("INSERT INTO k VALUES(2, 'a')");
  EXPECT_THAT(Recorded("INSERT INTO t VALUES('kept')"),
              ElementsAre("INSERT INTO t VALUES('kept')"));
}

TEST_F(RecordingTest, AStatementThatFoundTheLockBusyIsLeftOutAndItsRetryKept) {
  App other(path);
  sqlite3_busy_timeout(app.db(), 0);
  other.Do("BEGIN IMMEDIATE");
  app.Do("BEGIN");
  app.Try("INSERT INTO t VALUES('busy')");
  EXPECT_EQ(app.code(), SQLITE_BUSY);
  other.Do("ROLLBACK");
  EXPECT_THAT(Recorded("INSERT INTO t VALUES('busy'); COMMIT"),
              ElementsAre("INSERT INTO t VALUES('busy');"));
}

TEST_F(RecordingTest, WhatTriggersAndVirtualTablesExecuteIsLeftOut) {
  app.Do("CREATE TRIGGER ki AFTER INSERT ON k BEGIN INSERT INTO t VALUES(new.id); END");
  app.Do("CREATE VIRTUAL TABLE f USING fts5(x)");
  EXPECT_THAT(Recorded("INSERT INTO k VALUES(5, 'b')"),
              ElementsAre("INSERT INTO k VALUES(5, 'b')"));
  EXPECT_THAT(Recorded("INSERT INTO f VALUES('hello world')"),
              ElementsAre("INSERT INTO f VALUES('hello world')"));
}

TEST_F(RecordingTest, ActionsOfForeignKeysAreNotStatements) {
  app.Do("PRAGMA foreign_keys=ON");
  app.Do("CREATE TABLE child(k REFERENCES k(id) ON DELETE CASCADE)");
  app.Do("INSERT INTO k VALUES(1, 'a'), (2, 'b'), (3, 'c')");
  app.Do("INSERT INTO child VALUES(1), (2), (3)");
  sqlite3_stmt* remove = app.Prepare("DELETE FROM k WHERE id = ?");
  std::vector<Txid> txids;
  for (int id = 1; id <= 2; ++id) {
    sqlite3_bind_int(remove, 1, id);
    EXPECT_EQ(sqlite3_step(remove), SQLITE_DONE);
    sqlite3_reset(remove);
    txids.push_back(Sync());
  }
  sqlite3_finalize(remove);
  EXPECT_THAT(Sql(txids[0]), ElementsAre("DELETE FROM k WHERE id = ?"));
  EXPECT_THAT(Sql(txids[1]), ElementsAre("DELETE FROM k WHERE id = ?"));
  EXPECT_THAT(Recorded("BEGIN; DELETE FROM k; COMMIT"), ElementsAre("DELETE FROM k;"));
}

TEST_F(RecordingTest, AStatementPreparedAgainForAChangedSchemaIsOneStatement) {
  app.Do("PRAGMA foreign_keys=ON");
  app.Do("CREATE TABLE child(k REFERENCES k(id) ON DELETE CASCADE)");
  app.Do("INSERT INTO k VALUES(1, 'a'), (2, 'b')");
  sqlite3_stmt* remove = app.Prepare("DELETE FROM k WHERE id = ?");
  {
    App other(path);
    other.Do("CREATE TABLE changes_the_schema(x)");
  }
  app.Do("BEGIN IMMEDIATE");
  for (int id = 1; id <= 2; ++id) {
    sqlite3_bind_int(remove, 1, id);
    EXPECT_EQ(sqlite3_step(remove), SQLITE_DONE);
    sqlite3_reset(remove);
  }
  sqlite3_finalize(remove);
  EXPECT_THAT(Recorded("COMMIT"),
              ElementsAre("DELETE FROM k WHERE id = ?", "DELETE FROM k WHERE id = ?"));
}

TEST_F(RecordingTest, AStatementThatWritesOnlyWhenItIsPreparedAgainIsRecorded) {
  App other(path);
  const std::string create =
      "CREATE TRIGGER IF NOT EXISTS tr AFTER INSERT ON t BEGIN SELECT 1; END";
  const std::string drop = "DROP TRIGGER IF EXISTS tr";
  EXPECT_THAT(Recorded(create), ElementsAre(create));
  other.Do(drop);
  // For this connection there still is such a trigger, and nothing to do, until it begins.
  EXPECT_THAT(Recorded(create), ElementsAre(create));
  EXPECT_THAT(Recorded(drop), ElementsAre(drop));
  other.Do(create);
  EXPECT_THAT(Recorded(drop), ElementsAre(drop));
}

TEST_F(RecordingTest, AStatementOfTheApplicationMayBeginWithAComment) {
  EXPECT_THAT(Recorded("-- mine\nINSERT INTO t VALUES(1)"),
              ElementsAre("-- mine\nINSERT INTO t VALUES(1)"));
}

TEST_F(RecordingTest, ReadingIsNotRecorded) {
  app.Do("BEGIN; SELECT * FROM t; PRAGMA table_info(t); EXPLAIN DELETE FROM t");
  EXPECT_THAT(Recorded("DELETE FROM k; SELECT 1; COMMIT"), ElementsAre("DELETE FROM k;"));
}

TEST_F(RecordingTest, AStatementWithinTheRowsOfAnotherIsRecorded) {
  app.Do("INSERT INTO t VALUES(1), (2)");
  sqlite3_stmt* rows = app.Prepare("SELECT x FROM t");
  ASSERT_EQ(sqlite3_step(rows), SQLITE_ROW);
  EXPECT_THAT(Recorded("INSERT INTO k VALUES(9, 9)"), ElementsAre("INSERT INTO k VALUES(9, 9)"));
  sqlite3_finalize(rows);
}

TEST_F(RecordingTest, EachConnectionKeepsItsOwn) {
  App other(path);
  ASSERT_EQ(sqlite_s3_attach(handle, other.db()), SQLITE_S3_OK);
  other.Do("BEGIN; SELECT * FROM t");
  app.Do("INSERT INTO t VALUES('mine')");
  const Txid mine = Sync();
  other.Do("COMMIT; BEGIN; INSERT INTO t VALUES('other'); COMMIT");
  const Txid others = Sync();
  EXPECT_THAT(Sql(mine), ElementsAre("INSERT INTO t VALUES('mine')"));
  EXPECT_THAT(Sql(others), ElementsAre("INSERT INTO t VALUES('other');"));
  EXPECT_NE(Log()[mine.value - 1].connection, Log()[others.value - 1].connection);
  ASSERT_EQ(sqlite_s3_detach(other.db()), SQLITE_S3_OK);
}

TEST_F(RecordingTest, ACommitOfAConnectionThatIsNotAttachedHasNone) {
  App other(path);
  other.Do("INSERT INTO t VALUES('stranger')");
  const Txid stranger = Sync();
  app.Do("INSERT INTO t VALUES('mine')");
  const Txid mine = Sync();
  EXPECT_EQ(Log()[stranger.value - 1].state, StatementsState::kNone);
  EXPECT_THAT(Sql(mine), ElementsAre("INSERT INTO t VALUES('mine')"));
}

TEST_F(RecordingTest, ACommitThatBeginsTheWalAnewIsBoundToo) {
  app.Do("PRAGMA wal_autocheckpoint=10");
  for (int i = 0; i < 200; ++i) {
    app.Do("INSERT INTO t VALUES(" + std::to_string(i) + ")");
  }
  const Txid last = Sync();
  const auto log = Log();
  size_t recorded = 0;
  for (size_t i = last.value - 200; i < last.value; ++i) {
    ASSERT_EQ(log[i].statements.size(), 1u) << i;
    recorded += log[i].statements[0].sql ==
                "INSERT INTO t VALUES(" + std::to_string(i - (last.value - 200)) + ")";
  }
  EXPECT_EQ(recorded, 200u);
}

TEST_F(RecordingTest, ACommitByAStatementThatFailsIsBoundBeforeTheNextBegins) {
  app.Do("INSERT INTO k VALUES(1, 'a')");
  const std::string fails = "INSERT OR FAIL INTO k VALUES(2, 'b'), (1, 'c')";
  app.Try(fails);
  EXPECT_EQ(app.code(), SQLITE_CONSTRAINT);
  app.Do("INSERT INTO t VALUES('next')");
  const Txid next = Sync();
  EXPECT_THAT(Sql(next.Prev()), ElementsAre(fails));
  EXPECT_THAT(Sql(next), ElementsAre("INSERT INTO t VALUES('next')"));
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), IsEmpty()) << reasons;
}

TEST_F(RecordingTest, ACommitByAStatementThatIsResetAtItsFirstRowIsBoundBeforeTheNextBegins) {
  const std::string returns = "INSERT INTO k VALUES(7, 'b') RETURNING id";
  sqlite3_stmt* insert = app.Prepare(returns);
  EXPECT_EQ(sqlite3_step(insert), SQLITE_ROW);
  sqlite3_finalize(insert);
  app.Do("BEGIN; INSERT INTO t VALUES('next'); COMMIT");
  const Txid next = Sync();
  EXPECT_THAT(Sql(next.Prev()), ElementsAre(returns));
  EXPECT_THAT(Sql(next), ElementsAre("INSERT INTO t VALUES('next');"));
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), IsEmpty()) << reasons;
}

TEST_F(RecordingTest, AStatementIsPreparedAnewAfterTheSchemaChanges) {
  // A statement of before the change begins a savepoint, at which FTS5 writes what it holds back.
  app.Do("CREATE VIRTUAL TABLE f USING fts5(x)");
  app.Do(
      "BEGIN; CREATE TABLE IF NOT EXISTS x(y); INSERT INTO f VALUES('a'); CREATE TABLE IF NOT "
      "EXISTS x(y); INSERT INTO f VALUES('b'); COMMIT");
  Sync();
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), IsEmpty()) << reasons;
}

TEST_F(RecordingTest, AColumnThatIsAddedIsWrittenByPrintf) {
  app.Do("ALTER TABLE t ADD COLUMN y DEFAULT 'x'");  // SQLite's own SQL calls it
  app.Do("INSERT INTO t VALUES(printf('%05.2f', 1.5), format('%s', 'a'))");
  Sync();
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), IsEmpty()) << reasons;
}

TEST_F(RecordingTest, ATagIsOnTheCommitsUntilTheNext) {
  ASSERT_EQ(sqlite_s3_tag(app.db(), "request 42"), SQLITE_S3_OK);
  app.Do("INSERT INTO t VALUES(1)");
  const Txid tagged = Sync();
  ASSERT_EQ(sqlite_s3_tag(app.db(), nullptr), SQLITE_S3_OK);
  app.Do("INSERT INTO t VALUES(2)");
  const Txid plain = Sync();
  EXPECT_EQ(Log()[tagged.value - 1].tag, "request 42");
  EXPECT_EQ(Log()[plain.value - 1].tag, "");
  EXPECT_EQ(sqlite_s3_tag(app.db(), std::string(257, 'x').c_str()), SQLITE_S3_INVALID);
}

int ForwardTrace(unsigned event, void*, void* statement, void* text) {
  return sqlite_s3_trace(event, statement, text);
}

TEST_F(RecordingTest, AnApplicationThatTakesTheTraceCallbackKeepsItAndItsCommitsSaySo) {
  int count = 0;
  sqlite3_trace_v2(app.db(), SQLITE_TRACE_STMT, CountTrace, &count);
  app.Do("INSERT INTO t VALUES(1)");
  const Txid displaced = Sync();
  EXPECT_EQ(Log()[displaced.value - 1].state, StatementsState::kDisplaced);
  char* status = sqlite_s3_status(handle);
  EXPECT_THAT(status, ::testing::HasSubstr("\"trace_displaced\":true"));
  sqlite_s3_free(status);
  app.Do("INSERT INTO t VALUES(2)");
  EXPECT_EQ(count, 2);
  sqlite3_trace_v2(app.db(), SQLITE_TRACE_STMT, ForwardTrace, nullptr);
  EXPECT_THAT(Recorded("INSERT INTO t VALUES(3)"), ElementsAre("INSERT INTO t VALUES(3)"));
  status = sqlite_s3_status(handle);
  EXPECT_THAT(status, ::testing::HasSubstr("\"trace_displaced\":false"));
  sqlite_s3_free(status);
}

TEST_F(RecordingTest, TheWrapperShipsEveryValueAsItIs) {
  BoundStatement insert(app.db(), "INSERT INTO t VALUES(?)");
  const std::string nul("a\0b", 3);
  insert.Bind(1, 0.1 + 0.2);
  insert.Run();
  insert.Bind(1, std::numeric_limits<double>::infinity());
  insert.Run();
  insert.Bind(1, nul);
  insert.Run();
  insert.BindBlob(1, nul);
  insert.Run();
  insert.Bind(1, nullptr);
  insert.Run();
  const Txid last = Sync();
  const auto log = Log();
  const auto value = [&](uint64_t back) { return log[last.value - back].statements[0].values[0]; };
  EXPECT_EQ(value(5).real, 0.1 + 0.2);
  EXPECT_EQ(value(4).real, std::numeric_limits<double>::infinity());
  EXPECT_EQ(value(3).bytes, nul);
  EXPECT_EQ(value(2).type, ValueType::kBlob);
  EXPECT_EQ(value(1).type, ValueType::kNull);
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), IsEmpty()) << reasons;
}

TEST_F(RecordingTest, AStatementThatFailsInTheWrapperIsLeftOut) {
  app.Do("INSERT INTO k VALUES(1, 'a')");
  app.Do("BEGIN; INSERT INTO t VALUES('first')");
  {
    BoundStatement insert(app.db(), "INSERT INTO k VALUES(2, ?)");
    insert.Bind(1, "a");
    EXPECT_THROW(insert.Run(), SqliteError);
  }
  EXPECT_THAT(Recorded("COMMIT"), ElementsAre("INSERT INTO t VALUES('first')"));
}

TEST_F(RecordingTest, TwoConnectionsThatShareTheirNumberOfRowsAreStillTold) {
  EXPECT_THAT(Recorded("INSERT INTO t VALUES(1), (2), (3)"), ::testing::SizeIs(1));
  EXPECT_EQ(Log().back().statements[0].changed_rows, 3u);
}

}  // namespace
}  // namespace sqlite_s3

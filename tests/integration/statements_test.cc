// The SQL log from the application's statement to the restored database, in one process: what is
// recorded, to which commit it is bound, and that executing it again gives the bytes of the pages.

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

class StatementsTest : public StatementsFixture {};

TEST_F(StatementsTest, AreShippedUnderTheTxidOfTheirCommit) {
  Start("statements=values,interval=0");
  app.Do("INSERT INTO t VALUES('one')");
  const Txid first = Sync();
  app.Do("BEGIN; INSERT INTO t VALUES('two'); UPDATE t SET x = x || '!'; COMMIT");
  const Txid second = Sync();
  Stop();
  EXPECT_EQ(second, first.Next());
  EXPECT_THAT(Sql(first), ElementsAre("INSERT INTO t VALUES('one')"));
  EXPECT_THAT(Sql(second),
              ElementsAre("INSERT INTO t VALUES('two');", "UPDATE t SET x = x || '!';"));
}

TEST_F(StatementsTest, ExecutedAgainGiveTheBytesOfThePages) {
  Start("statements=values,interval=0");
  app.Do("CREATE TABLE u(id INTEGER PRIMARY KEY, a TEXT, b REAL)");
  app.Do("CREATE INDEX ua ON u(a)");
  for (int i = 0; i < 20; ++i) {
    app.Do("INSERT INTO u(a, b) VALUES('row " + std::to_string(i) + "', 0.5)");
  }
  app.Do("BEGIN; DELETE FROM u WHERE id % 3 = 0; UPDATE u SET b = id; COMMIT");
  app.Do("INSERT INTO u(a) VALUES(datetime('now'))");
  app.Do("VACUUM");
  Sync();
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), IsEmpty()) << reasons;
}

TEST_F(StatementsTest, ACommitThatCannotBeRepeatedTakesItsPagesAndIsNamed) {
  Start("statements=values,interval=0");
  app.Do("INSERT INTO t VALUES(1)");
  app.Do("INSERT INTO t VALUES(random())");
  const Txid random = Sync();
  app.Do("INSERT INTO t VALUES(2)");
  const Txid last = Sync();
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), ElementsAre(random.value));
  Bytes bytes;
  EXPECT_STATUS(Restore(last, RestoreVia::kSql, &bytes, /*strict=*/true),
                StatusCode::kFailedPrecondition);
}

TEST_F(StatementsTest, AHistoryWithoutACommitIsExecutedAndSaysWhatChanged) {
  app.Do("CREATE TABLE k(id INTEGER PRIMARY KEY, v)");
  Start("statements=values,interval=0");
  app.Do("INSERT INTO k VALUES(1, 'a')");
  app.Do("INSERT INTO k VALUES(2, 'mistake')");
  const Txid mistake = Sync();
  app.Do("INSERT INTO k VALUES(3, 'c')");
  app.Do("UPDATE k SET v = v || '!' WHERE id >= 2");
  const Txid update = Sync();
  Stop();
  ASSERT_OK_AND_ASSIGN(const RestoreReport report, RestoreWithout({mistake}, update));
  EXPECT_EQ(report.commits_free, 2u);
  ASSERT_EQ(report.changed.size(), 1u);
  EXPECT_EQ(report.changed[0].txid, update);
  EXPECT_EQ(report.changed[0].what, "statement 1: changed 1 rows, not 2");
  App restored(directory.File("restored.db"));
  EXPECT_EQ(restored.Ask("SELECT group_concat(id || v) FROM k"), "1a,3c!");
}

TEST_F(StatementsTest, AHistoryWithoutACommitEndsWhereACommitHasNoStatements) {
  Start("statements=values,interval=0");
  app.Do("INSERT INTO t VALUES(1)");
  const Txid first = Sync();
  {
    App other(path);
    other.Do("INSERT INTO t VALUES(2)");
  }
  const Txid stranger = Sync();
  Stop();
  EXPECT_STATUS(RestoreWithout({first}, stranger), StatusCode::kFailedPrecondition);
  EXPECT_OK(RestoreWithout({stranger}, stranger));
}

class SecretsTest : public StatementsFixture {
 protected:
  // Whether any object of the replica, or the library's log, has the word, also compressed.
  bool Leaks(const std::string& word) {
    for (const CommitStatements& commit : Log()) {
      if (commit.tag.find(word) != std::string::npos) return true;
      for (const LoggedStatement& statement : commit.statements) {
        if (statement.sql.find(word) != std::string::npos) return true;
        for (const StatementValue& value : statement.values) {
          if (value.bytes.find(word) != std::string::npos) return true;
        }
      }
    }
    return false;
  }
  void Write() {
    app.Do("CREATE TABLE secrets(a, b)");
    app.Do("INSERT INTO secrets VALUES('canary-literal', \"canary-quoted\") -- canary-comment");
    sqlite3_stmt* insert = app.Prepare("INSERT INTO secrets VALUES(:a, ?2)");
    sqlite3_bind_text(insert, 1, "canary-bound", -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 2, "canary-second", -1, SQLITE_STATIC);
    EXPECT_EQ(sqlite3_step(insert), SQLITE_DONE);
    sqlite3_finalize(insert);
    app.Try("PRAGMA key='canary-key'");
    app.Do("PRAGMA user_version=3");
    Sync();
  }
};

TEST_F(SecretsTest, WithoutStatementsThereIsNoSection) {
  Start("interval=0");
  Write();
  for (const CommitStatements& commit : Log()) {
    EXPECT_EQ(commit.state, StatementsState::kNone);
  }
  // And nobody traces.
  int count = 0;
  sqlite3_trace_v2(app.db(), SQLITE_TRACE_STMT, CountTrace, &count);
  app.Do("INSERT INTO t VALUES(1)");
  Sync();
  EXPECT_EQ(count, 1);
}

TEST_F(SecretsTest, TextHasNoLiteralNoValueAndNoKey) {
  Start("statements=text,interval=0");
  Write();
  EXPECT_FALSE(Leaks("canary"));
  EXPECT_EQ(Sql(Txid{Log().size() - 2})[0], "INSERT INTO secrets VALUES(?, ?)  ");
}

TEST_F(SecretsTest, ValuesHaveThemButNeverAKey) {
  Start("statements=values,interval=0");
  Write();
  EXPECT_TRUE(Leaks("canary-bound"));
  EXPECT_FALSE(Leaks("canary-key"));
}

TEST_F(SecretsTest, AnExcludedTableIsOnlyNamedAsLeftOut) {
  Start("statements=values,interval=0,statements_exclude=other:secret*");
  Write();
  EXPECT_FALSE(Leaks("canary"));
  EXPECT_FALSE(Leaks("secrets"));
  const auto log = Log();
  EXPECT_EQ(log[log.size() - 2].statements[0].flags & kStatementExcluded, kStatementExcluded);
  Stop();
  ExpectSqlEqualsPages();  // those commits by their pages
}

}  // namespace
}  // namespace sqlite_s3

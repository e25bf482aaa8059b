#include "agent/hook/sql_functions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/agent/hook/app.h"
#include "tests/agent/hook/fake_engine.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

struct SqlFunctionsTest : ::testing::Test {
  void SetUp() override {
    app.Create(path);
    ASSERT_EQ(RegisterSqlFunctions(app.db()), SQLITE_OK);
  }
  void TearDown() override { app.Try("SELECT s3_stop()"); }
  void Start() { EXPECT_EQ(app.Ask("SELECT s3_start('memory:r')"), "shipping"); }

  TempDir dir;
  const std::string path = dir.File("app.db");
  FakeEngines engines;
  App app;
};

TEST_F(SqlFunctionsTest, StartShipsAndSaysTheState) {
  Start();
  EXPECT_EQ(engines.last().config.database_path, path);
  app.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(1));
}

TEST_F(SqlFunctionsTest, StartingTwiceIsHarmless) {
  Start();
  Start();
  app.Insert();
  EXPECT_EQ(engines.count(), 1u);
  EXPECT_THAT(engines.last().commits, SizeIs(1));
  EXPECT_EQ(app.Ask("SELECT s3_stop()"), "stopped");
  EXPECT_TRUE(engines.last().stopped);
}

TEST_F(SqlFunctionsTest, TxidsAreSixteenHexDigits) {
  Start();
  app.Insert(18);
  EXPECT_EQ(app.Ask("SELECT s3_sync()"), "0000000000000012");
  EXPECT_EQ(app.Ask("SELECT s3_wait()"), "0000000000000012");
  EXPECT_EQ(app.Ask("SELECT s3_wait('0000000000000003')"), "0000000000000003");
  EXPECT_EQ(app.Ask("SELECT s3_mark('before the migration')"), "0000000000000012");
  EXPECT_THAT(engines.last().marks, ElementsAre("before the migration"));
  EXPECT_EQ(app.Ask("SELECT s3_image()"), "0000000000000012");
}

TEST_F(SqlFunctionsTest, TimeoutsAreSecondsOrDurations) {
  Start();
  struct {
    const char* sql;
    milliseconds expected;
  } cases[] = {
      {"SELECT s3_sync()", std::chrono::seconds(30)},
      {"SELECT s3_sync(NULL)", std::chrono::seconds(30)},
      {"SELECT s3_sync(2)", std::chrono::seconds(2)},
      {"SELECT s3_sync(0)", milliseconds(0)},
      {"SELECT s3_sync(0.25)", milliseconds(250)},
      {"SELECT s3_sync('3')", std::chrono::seconds(3)},
      {"SELECT s3_sync('250ms')", milliseconds(250)},
      {"SELECT s3_sync('2m')", std::chrono::minutes(2)},
      {"SELECT s3_wait(NULL, '7s')", std::chrono::seconds(7)},
      {"SELECT s3_wait('0000000000000000', 7)", std::chrono::seconds(7)},
      {"SELECT s3_mark('m', 7)", std::chrono::seconds(7)},
      {"SELECT s3_image()", std::chrono::hours(24)},
      {"SELECT s3_image(7)", std::chrono::seconds(7)},
  };
  for (const auto& c : cases) {
    app.Ask(c.sql);
    EXPECT_EQ(engines.last().last_timeout, c.expected) << c.sql;
  }
  for (const char* bad : {"-1", "1e30", "'soon'", "'5 parsecs'", "x'00'"}) {
    app.Try(std::string("SELECT s3_sync(") + bad + ")");
    EXPECT_EQ(app.code(), SQLITE_ERROR) << bad;
  }
}

TEST_F(SqlFunctionsTest, WaitingInAnOpenWriteTransactionIsAnErrorAtOnce) {
  Start();
  app.Do("BEGIN; INSERT INTO t VALUES(1)");
  for (const char* sql : {"SELECT s3_sync()", "SELECT s3_wait()", "SELECT s3_mark('m')",
                          "SELECT s3_wait('0000000000000001')", "SELECT s3_image()",
                          "SELECT s3_stop()", "INSERT INTO t SELECT s3_sync()"}) {
    EXPECT_THAT(app.Try(sql), HasSubstr("a write transaction is open")) << sql;
    EXPECT_EQ(app.code(), SQLITE_ERROR);
  }
  EXPECT_EQ(engines.last().last_timeout, milliseconds(-1)) << "nothing waited";
  app.Do("COMMIT");
  EXPECT_EQ(app.Ask("SELECT count(*) FROM t"), "1") << "and nothing was rolled back";
  app.Do("BEGIN; SELECT * FROM t");
  app.Ask("SELECT s3_sync()");
  app.Do("COMMIT");
}

TEST_F(SqlFunctionsTest, StatusCountsEveryCommitBeforeIt) {
  Start();
  app.Insert(2);
  int captures = engines.last().captures_forced;
  EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.txid')"), "0000000000000002");
  EXPECT_EQ(engines.last().captures_forced, captures + 1);
  EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.state')"), "shipping");
}

TEST_F(SqlFunctionsTest, StatusIsNoErrorWhereNothingIsShipped) {
  EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.state')"), "stopped");
  EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.database')"), path);
}

TEST_F(SqlFunctionsTest, StatusShowsADisplacedHookAtOnce) {
  Start();
  app.Do("PRAGMA wal_autocheckpoint=0");
  app.Insert();
  engines.last().unannounced = 1;
  EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.hook_displaced')"), "1");
}

TEST_F(SqlFunctionsTest, AnyFunctionPutsADisplacedHookBack) {
  Start();
  for (const char* sql : {"SELECT s3_sync()", "SELECT s3_wait()", "SELECT s3_status()",
                          "SELECT s3_mark('m')", "SELECT s3_image()"}) {
    app.Do("PRAGMA wal_autocheckpoint=50");
    app.Ask(sql);
    size_t before = engines.last().commits.size();
    app.Insert();
    EXPECT_EQ(engines.last().commits.size(), before + 1) << sql;
  }
  EXPECT_EQ(engines.last().checkpoint_pages, 50u);
}

TEST_F(SqlFunctionsTest, AConnectionThatDidNotStartMayWaitToo) {
  Start();
  app.Insert();
  App other(path);
  ASSERT_EQ(RegisterSqlFunctions(other.db()), SQLITE_OK);
  EXPECT_EQ(other.Ask("SELECT s3_sync()"), "0000000000000001");
  EXPECT_EQ(other.Ask("SELECT s3_stop()"), "shipping") << "it had nothing to stop";
  EXPECT_FALSE(engines.last().stopped);
}

TEST_F(SqlFunctionsTest, ErrorsSayWhichFunctionWhatAndAWayOut) {
  struct {
    const char* sql;
    const char* message;
  } cases[] = {
      {"SELECT s3_sync()", "s3_sync: this database is not being shipped, hint: s3_start(url)"},
      {"SELECT s3_mark('m')", "s3_mark: this database is not being shipped"},
      {"SELECT s3_start(NULL)", "s3_start: the url is NULL"},
      {"SELECT s3_start('memory:r', 'durabilty=commit')", "durabilty"},
      {"SELECT s3_start('gopher://x')", "gopher"},
      {"SELECT s3_wait('12')", "s3_wait: "},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(app.Try(c.sql), HasSubstr(c.message)) << c.sql;
    EXPECT_EQ(app.code(), SQLITE_ERROR) << c.sql;
  }
  EXPECT_EQ(engines.count(), 0u);
}

TEST_F(SqlFunctionsTest, AnErrorNeverRollsTheApplicationBack) {
  Start();
  const StatusCode codes[] = {StatusCode::kResourceExhausted, StatusCode::kIoError,
                              StatusCode::kCancelled,         StatusCode::kUnavailable,
                              StatusCode::kDeadlineExceeded,  StatusCode::kPermissionDenied,
                              StatusCode::kCorruption,        StatusCode::kInternal};
  for (StatusCode code : codes) {
    engines.last().sync_status = Status(code, "it did not work");
    app.Do("BEGIN; SELECT * FROM t");
    EXPECT_THAT(app.Try("SELECT s3_sync() FROM t UNION SELECT s3_sync()"),
                HasSubstr("it did not work"));
    EXPECT_EQ(sqlite3_get_autocommit(app.db()), 0) << StatusCodeName(code);
    app.Do("COMMIT");
  }
  engines.last().sync_status = Status(StatusCode::kDeadlineExceeded, "late");
  app.Try("SELECT s3_sync()");
  EXPECT_EQ(app.code(), SQLITE_BUSY);
  engines.last().sync_status = Status();
}

TEST_F(SqlFunctionsTest, AStopThatCouldNotFlushSaysSoAndStops) {
  Start();
  engines.last().sync_status = DeadlineExceededError("2 segments are left");
  EXPECT_THAT(app.Try("SELECT s3_stop()"),
              HasSubstr("stopped before the replica had everything: 2 segments are left"));
  EXPECT_TRUE(engines.last().stopped);
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "1000");
}

TEST_F(SqlFunctionsTest, SchemasCannotCallThem) {
  app.Do("CREATE VIEW v AS SELECT s3_status()");
  EXPECT_THAT(app.Try("SELECT * FROM v"), HasSubstr("unsafe use of s3_status()"));
}

TEST_F(SqlFunctionsTest, RegisteringAgainWhileAStatementRunsIsHarmless) {
  Start();
  sqlite3_stmt* running = app.Prepare("SELECT 1 UNION ALL SELECT 2");
  ASSERT_EQ(sqlite3_step(running), SQLITE_ROW);
  EXPECT_EQ(RegisterSqlFunctions(app.db()), SQLITE_OK);
  sqlite3_finalize(running);
  app.Insert();
  EXPECT_EQ(app.Ask("SELECT s3_sync()"), "0000000000000001");
}

}  // namespace
}  // namespace sqlite_s3

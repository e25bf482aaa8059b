#include "agent/hook/attach_all.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/hook/hooked_connection.h"
#include "agent/hook/sql_functions.h"
#include "common/sqlite/connection.h"
#include "tests/agent/hook/app.h"
#include "tests/agent/hook/fake_engine.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

struct AttachAllTest : ::testing::Test {
  void SetUp() override {
    app.Create(path);
    ASSERT_EQ(RegisterSqlFunctions(app.db()), SQLITE_OK);
    EXPECT_EQ(app.Ask("SELECT s3_start('memory:r', 'attach=all')"), "shipping");
  }
  void TearDown() override {
    if (app.db() == nullptr) {
      app.Open(path);
    }
    app.Try("SELECT s3_stop()");
  }

  TempDir dir;
  const std::string path = dir.File("app.db");
  FakeEngines engines;
  App app;
};

TEST_F(AttachAllTest, NewConnectionsAreAttachedAtTheirFirstStatement) {
  App second(path);
  EXPECT_EQ(engines.last().connections, 1);
  second.Insert(2);
  EXPECT_EQ(engines.last().connections, 2);
  EXPECT_THAT(engines.last().commits, SizeIs(2));
}

TEST_F(AttachAllTest, NewConnectionsHaveTheFunctions) {
  App second(path);
  EXPECT_EQ(second.Ask("SELECT s3_sync()"), "0000000000000000");
}

TEST_F(AttachAllTest, OtherDatabasesAndOurOwnConnectionsAreLeftAlone) {
  App other;
  other.Create(dir.File("other.db"));
  other.Insert();
  Result<Connection> ours = Connection::Open(path, SQLITE_OPEN_READWRITE, "", 1000);
  ASSERT_TRUE(ours.ok());
  EXPECT_TRUE(ours->Exec("INSERT INTO t VALUES(1)").ok());
  EXPECT_EQ(engines.last().connections, 1);
  EXPECT_THAT(engines.last().commits, IsEmpty());
}

TEST_F(AttachAllTest, PragmasBeforeTheFirstStatementKeepTheirMeaning) {
  App second(path);
  second.Do("PRAGMA wal_autocheckpoint=70");
  EXPECT_EQ(engines.last().connections, 1) << "a PRAGMA attaches nothing";
  second.Insert();
  EXPECT_EQ(engines.last().checkpoint_pages, 70u);
  EXPECT_EQ(second.Ask("PRAGMA wal_autocheckpoint"), "0");
  App third(path);
  third.Do("PRAGMA wal_autocheckpoint=0");
  third.Insert();
  EXPECT_EQ(engines.last().connections, 3);
  EXPECT_THAT(engines.last().commits, SizeIs(2));
}

TEST_F(AttachAllTest, APragmaThatDisplacesTheHookIsUndoneBeforeTheNextCommit) {
  App second(path);
  second.Insert();
  for (const char* pragma : {"PRAGMA wal_autocheckpoint=20", "PRAGMA wal_autocheckpoint=0",
                             "/* x */ pragma main.wal_autocheckpoint(30)"}) {
    second.Do(pragma);
    size_t before = engines.last().commits.size();
    second.Insert();
    EXPECT_EQ(engines.last().commits.size(), before + 1) << pragma;
  }
  EXPECT_EQ(engines.last().checkpoint_pages, 30u);
  EXPECT_FALSE(engines.last().hook_displaced);
}

TEST_F(AttachAllTest, ReadingThePragmaChangesNothing) {
  App second(path);
  second.Insert();
  second.Ask("PRAGMA wal_autocheckpoint");
  second.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(2));
  EXPECT_EQ(engines.last().checkpoint_pages, 1000u);
}

// A read transaction that we left to the statement would forbid it to wait for the lock.
TEST_F(AttachAllTest, AFirstStatementThatWritesStillWaitsForTheLock) {
  app.Do("BEGIN IMMEDIATE");
  App second(path);
  auto commit_first = [](void* first, int) {
    static_cast<App*>(first)->Do("INSERT INTO t VALUES(1); COMMIT");
    return 1;
  };
  sqlite3_busy_handler(second.db(), commit_first, &app);
  second.Insert();
  EXPECT_EQ(second.Ask("SELECT count(*) FROM t"), "2");
  EXPECT_EQ(engines.last().connections, 2);
}

int OwnHook(void* calls, sqlite3*, const char*, int) {
  ++*static_cast<int*>(calls);
  return SQLITE_OK;
}

TEST_F(AttachAllTest, AConnectionWithAHookOfItsOwnKeepsIt) {
  App second(path);
  int calls = 0;
  sqlite3_wal_hook(second.db(), OwnHook, &calls);
  second.Insert(2);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(engines.last().connections, 1);
}

TEST_F(AttachAllTest, AConnectionThatCannotWriteIsLeftAlone) {
  App reader(path, SQLITE_OPEN_READONLY);
  EXPECT_EQ(reader.Ask("SELECT count(*) FROM t"), "0");
  EXPECT_EQ(engines.last().connections, 1);
}

TEST_F(AttachAllTest, AfterTheLastCloseTheNextConnectionStartsAgain) {
  ASSERT_EQ(app.Close(), SQLITE_OK);
  EXPECT_TRUE(engines[0].stopped);
  App second(path);
  second.Insert();
  ASSERT_EQ(engines.count(), 2u);
  EXPECT_THAT(engines[1].commits, SizeIs(1));
  ASSERT_EQ(second.Close(), SQLITE_OK);
  EXPECT_TRUE(engines[1].stopped);
}

TEST_F(AttachAllTest, ARestartThatFailsHurtsNobodyAndIsNotRepeatedAtOnce) {
  ASSERT_EQ(app.Close(), SQLITE_OK);
  engines.FailNextStart(UnavailableError("the store is away"));
  App second(path);
  second.Insert(2);
  App third(path);
  third.Insert();
  EXPECT_EQ(engines.count(), 1u) << "a second try so soon";
  EXPECT_EQ(third.Ask("PRAGMA wal_autocheckpoint"), "1000");
}

TEST_F(AttachAllTest, StopEndsItForAllConnections) {
  App second(path);
  second.Insert();
  EXPECT_EQ(app.Ask("SELECT s3_stop()"), "stopped");
  EXPECT_TRUE(engines.last().stopped);
  second.Insert();
  EXPECT_EQ(second.Ask("PRAGMA wal_autocheckpoint"), "1000");
  App third(path);
  third.Insert();
  EXPECT_EQ(engines.count(), 1u);
  EXPECT_THAT(engines.last().commits, SizeIs(1));
}

TEST_F(AttachAllTest, AnApplicationsTraceTakesTheConnectionOut) {
  App second(path);
  sqlite3_trace_v2(
      second.db(), SQLITE_TRACE_STMT, [](unsigned, void*, void*, void*) { return 0; }, nullptr);
  second.Insert();
  EXPECT_EQ(engines.last().connections, 1);
}

TEST_F(AttachAllTest, ThreadsMayOpenAndCloseAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this] {
      for (int n = 0; n < 25; ++n) {
        App worker(path);
        worker.Ask("SELECT count(*) FROM t");
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(engines.last().connections, 1);
  EXPECT_EQ(engines.count(), 1u);
}

}  // namespace
}  // namespace sqlite_s3

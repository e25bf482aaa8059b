#include "agent/hook/hooked_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "agent/hook/registry.h"
#include "tests/agent/hook/app.h"
#include "tests/agent/hook/fake_engine.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct HookedConnectionTest : ::testing::Test {
  void SetUp() override { app.Create(path); }

  Status Attach(App& a, const std::string& options = "", const std::string& url = "memory:r") {
    ShipRequest request;
    ASSIGN_OR_RETURN(request.config, ParseReplicaConfig(url, options));
    ASSIGN_OR_RETURN(request.database, InspectConnection(a.db()));
    return HookedConnection::Attach(a.db(), request).status();
  }
  HookedConnection& Hooked(App& a) { return *HookedConnection::Find(a.db()); }

  TempDir dir;
  const std::string path = dir.File("app.db");
  FakeEngines engines;
  App app;
};

TEST_F(HookedConnectionTest, EveryCommitRingsTheEngine) {
  ASSERT_OK(Attach(app));
  app.Insert(3);
  app.Do("BEGIN; INSERT INTO t VALUES(1); INSERT INTO t VALUES(2); COMMIT");
  app.Do("BEGIN; INSERT INTO t VALUES(1); ROLLBACK");
  app.Ask("SELECT count(*) FROM t");
  EXPECT_THAT(engines.last().commits, SizeIs(4));
}

TEST_F(HookedConnectionTest, AttachedDatabasesAreNotShipped) {
  ASSERT_OK(Attach(app));
  app.Do("ATTACH '" + dir.File("other.db") + "' AS other; PRAGMA other.journal_mode=WAL");
  app.Do("CREATE TABLE other.u(x); INSERT INTO other.u VALUES(1)");
  EXPECT_THAT(engines.last().commits, IsEmpty());
}

TEST_F(HookedConnectionTest, TheConnectionsOwnSettingIsTheThreshold) {
  app.Do("PRAGMA wal_autocheckpoint=77");
  ASSERT_OK(Attach(app));
  EXPECT_EQ(engines.last().checkpoint_pages, 77u);
}

TEST_F(HookedConnectionTest, ASettingOfZeroIsRespected) {
  app.Do("PRAGMA wal_autocheckpoint=0");
  ASSERT_OK(Attach(app));
  EXPECT_EQ(engines.last().checkpoint_pages, 0u);
}

TEST_F(HookedConnectionTest, TheCheckpointOptionWins) {
  app.Do("PRAGMA wal_autocheckpoint=0");
  ASSERT_OK(Attach(app, "checkpoint=500"));
  EXPECT_EQ(engines.last().checkpoint_pages, 500u);
  app.Do("PRAGMA wal_autocheckpoint=5");
  Hooked(app).CheckHook();
  EXPECT_EQ(engines.last().checkpoint_pages, 500u);
}

TEST_F(HookedConnectionTest, TheSmallestSettingOfAllConnectionsCounts) {
  app.Do("PRAGMA wal_autocheckpoint=0");
  App second(path), third(path);
  second.Do("PRAGMA wal_autocheckpoint=300");
  third.Do("PRAGMA wal_autocheckpoint=200");
  ASSERT_OK(Attach(app));
  ASSERT_OK(Attach(second));
  EXPECT_EQ(engines.last().checkpoint_pages, 300u);
  ASSERT_OK(Attach(third));
  EXPECT_EQ(engines.last().checkpoint_pages, 200u);
  third.Close();
  EXPECT_EQ(engines.last().checkpoint_pages, 300u);
  second.Close();
  EXPECT_EQ(engines.last().checkpoint_pages, 0u);
}

TEST_F(HookedConnectionTest, DetachingGivesTheAutomaticCheckpointBack) {
  app.Do("PRAGMA wal_autocheckpoint=77");
  ASSERT_OK(Attach(app));
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "0");
  ASSERT_OK(Hooked(app).Detach(milliseconds(0), false));
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "77");
  app.Insert();
  EXPECT_THAT(engines.last().commits, IsEmpty());
}

TEST_F(HookedConnectionTest, ADetachedConnectionCanBeAttachedAgain) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK(Attach(app));
    app.Insert();
    EXPECT_THAT(engines.last().commits, SizeIs(1));
    ASSERT_OK(Hooked(app).Detach(milliseconds(0), false));
    EXPECT_TRUE(engines.last().stopped);
  }
  EXPECT_EQ(engines.count(), 3u);
}

TEST_F(HookedConnectionTest, AThresholdSetByPragmaDisplacesTheHookOnlyUntilTheNextLook) {
  ASSERT_OK(Attach(app));
  app.Do("PRAGMA wal_autocheckpoint=33");
  app.Insert();
  EXPECT_THAT(engines.last().commits, IsEmpty());
  Hooked(app).CheckHook();
  app.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(1));
  EXPECT_EQ(engines.last().checkpoint_pages, 33u);
  EXPECT_FALSE(engines.last().hook_displaced);
  ASSERT_OK(Hooked(app).Detach(milliseconds(0), false));
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "33");
}

TEST_F(HookedConnectionTest, ASlotThatMayBeTheApplicationsIsLeftAloneAndReported) {
  ASSERT_OK(Attach(app));
  app.Do("PRAGMA wal_autocheckpoint=0");
  Hooked(app).CheckHook();
  EXPECT_FALSE(engines.last().hook_displaced) << "nothing was committed yet";
  app.Insert();
  engines.last().unannounced = 1;
  Hooked(app).CheckHook();
  EXPECT_TRUE(engines.last().hook_displaced);
  app.Insert();
  EXPECT_THAT(engines.last().commits, IsEmpty());
}

TEST_F(HookedConnectionTest, CommitsOfOthersAreNoDisplacedHook) {
  ASSERT_OK(Attach(app));
  App other(path);
  other.Insert();
  engines.last().unannounced = 1;
  Hooked(app).CheckHook();
  EXPECT_FALSE(engines.last().hook_displaced);
}

TEST_F(HookedConnectionTest, AttachingAgainTakesTheSlotBack) {
  ASSERT_OK(Attach(app));
  app.Do("PRAGMA wal_autocheckpoint=0");
  app.Insert();
  engines.last().unannounced = 1;
  Hooked(app).CheckHook();
  ASSERT_TRUE(engines.last().hook_displaced);
  ASSERT_OK(Attach(app));
  EXPECT_FALSE(engines.last().hook_displaced);
  app.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(1));
  EXPECT_EQ(engines.last().connections, 1);
  EXPECT_EQ(engines.last().checkpoint_pages, 0u);
}

int OwnHook(void* calls, sqlite3*, const char*, int) {
  ++*static_cast<int*>(calls);
  return SQLITE_OK;
}

TEST_F(HookedConnectionTest, TheApplicationsOwnHookIsNeverThrownOutByALook) {
  ASSERT_OK(Attach(app));
  int calls = 0;
  sqlite3_wal_hook(app.db(), OwnHook, &calls);
  app.Insert();
  engines.last().unannounced = 1;
  Hooked(app).CheckHook();
  EXPECT_TRUE(engines.last().hook_displaced);
  app.Insert();
  EXPECT_EQ(calls, 2);
  ASSERT_OK(Hooked(app).Detach(milliseconds(0), false));
  app.Insert();
  EXPECT_EQ(calls, 3);
}

TEST_F(HookedConnectionTest, AHookThatRingsForUsIsNotDisplaced) {
  ASSERT_OK(Attach(app));
  int calls = 0;
  sqlite3_wal_hook(app.db(), OwnHook, &calls);
  app.Insert();
  Hooked(app).OnCommit(2);  // as sqlite_s3_notify does
  engines.last().unannounced = 1;
  Hooked(app).CheckHook();
  EXPECT_FALSE(engines.last().hook_displaced);
  EXPECT_THAT(engines.last().commits, ElementsAre(2));
}

TEST_F(HookedConnectionTest, AnotherConnectionSharesTheEngine) {
  ASSERT_OK(Attach(app));
  App second(path);
  ASSERT_OK(Attach(second));
  EXPECT_EQ(engines.count(), 1u);
  EXPECT_EQ(engines.last().connections, 2);
  app.Insert();
  second.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(2));
}

TEST_F(HookedConnectionTest, TheLastCloseStopsTheEngine) {
  ASSERT_OK(Attach(app));
  App second(path);
  ASSERT_OK(Attach(second));
  ASSERT_EQ(app.Close(), SQLITE_OK);
  EXPECT_FALSE(engines.last().stopped);
  ASSERT_EQ(second.Close(), SQLITE_OK);
  EXPECT_TRUE(engines.last().stopped);
  EXPECT_EQ(Registry::Get().Find(path), nullptr);
}

TEST_F(HookedConnectionTest, ACloseThatFailsIsNoClose) {
  ASSERT_OK(Attach(app));
  sqlite3_stmt* statement = app.Prepare("INSERT INTO t VALUES(1)");
  EXPECT_EQ(app.Close(), SQLITE_BUSY);
  EXPECT_FALSE(engines.last().stopped);
  EXPECT_EQ(sqlite3_step(statement), SQLITE_DONE);
  EXPECT_THAT(engines.last().commits, SizeIs(1));
  sqlite3_finalize(statement);
  EXPECT_EQ(app.Close(), SQLITE_OK);
  EXPECT_TRUE(engines.last().stopped);
}

TEST_F(HookedConnectionTest, AZombieShipsUntilItsLastStatementIsGone) {
  ASSERT_OK(Attach(app));
  sqlite3_stmt* statement = app.Prepare("INSERT INTO t VALUES(1)");
  app.CloseV2();
  EXPECT_FALSE(engines.last().stopped);
  EXPECT_EQ(sqlite3_step(statement), SQLITE_DONE);
  EXPECT_THAT(engines.last().commits, SizeIs(1));
  sqlite3_finalize(statement);
  EXPECT_TRUE(engines.last().stopped);
}

TEST_F(HookedConnectionTest, AnotherReplicaForTheSameDatabaseIsRefused) {
  ASSERT_OK(Attach(app));
  App second(path);
  Status status = Attach(second, "", "memory:other");
  EXPECT_STATUS(status, StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("to another replica, memory:r"));
  EXPECT_EQ(engines.last().connections, 1);
  second.Insert();
  EXPECT_THAT(engines.last().commits, IsEmpty());
}

TEST_F(HookedConnectionTest, OtherOptionsForTheSameDatabaseAreRefusedByName) {
  ASSERT_OK(Attach(app));
  App second(path);
  Status status = Attach(second, "durability=commit");
  EXPECT_STATUS(status, StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("durability=async, not durability=commit"));
}

TEST_F(HookedConnectionTest, AFileUnderTwoNamesIsRefused) {
  ASSERT_OK(Attach(app));
  // SQLite itself fails for the second name while the process has the first one open.
  ShipRequest request = Hooked(app).shared()->request();
  request.database.path = dir.File("hard_link.db");
  ForkGate::Operation operation(Registry::Get().fork_gate());
  EXPECT_STATUS(Registry::Get().Acquire(request, {ShipUser::Kind::kHandle}),
                StatusCode::kFailedPrecondition);
}

TEST_F(HookedConnectionTest, AReplacedFileIsRefusedWhileTheOldOneIsShipped) {
  ASSERT_OK(Attach(app));
  App second;
  second.Create(dir.File("new.db"));
  ASSERT_EQ(second.Close(), SQLITE_OK);
  ASSERT_EQ(unlink((path + "-wal").c_str()), 0);
  ASSERT_EQ(unlink((path + "-shm").c_str()), 0);
  ASSERT_EQ(rename(dir.File("new.db").c_str(), path.c_str()), 0);
  App third(path);
  EXPECT_STATUS(Attach(third), StatusCode::kFailedPrecondition);
}

TEST_F(HookedConnectionTest, AFailedStartLeavesTheConnectionAsItWas) {
  engines.FailNextStart(UnavailableError("the store is away"));
  EXPECT_STATUS(Attach(app), StatusCode::kUnavailable);
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "1000");
  EXPECT_EQ(Registry::Get().Find(path), nullptr);
  ASSERT_OK(Attach(app));
  app.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(1));
}

TEST_F(HookedConnectionTest, AFencedEngineIsStartedAfreshForEverybody) {
  ASSERT_OK(Attach(app));
  App second(path);
  ASSERT_OK(Attach(second));
  engines[0].state = EngineState::kFenced;
  ASSERT_OK(Attach(second, "on_conflict=take-over"));
  ASSERT_EQ(engines.count(), 2u);
  EXPECT_TRUE(engines[0].stopped);
  EXPECT_EQ(engines[1].connections, 2);
  app.Insert();
  second.Insert();
  EXPECT_THAT(engines[1].commits, SizeIs(2));
  app.Close();
  second.Close();
  EXPECT_TRUE(engines[1].stopped);
}

TEST_F(HookedConnectionTest, AHookLeftBehindByAStopGivesWayToSqlitesOwn) {
  app.Do("PRAGMA wal_autocheckpoint=77");
  ASSERT_OK(Attach(app));
  ASSERT_OK(Hooked(app).shared()->End(milliseconds(0)));
  app.Insert();
  EXPECT_THAT(engines.last().commits, IsEmpty());
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "77");
  ASSERT_OK(Attach(app));
  app.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(1));
}

}  // namespace
}  // namespace sqlite_s3

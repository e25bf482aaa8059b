// The hook layer over the real engine, in one process and across fork(2): what an application sees,
// and that the replica has it. Among others the attacks e2, e23 (fork), e3 (zombie close) and e4
// (shared cache), which broke an earlier design.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "agent/hook/sql_functions.h"
#include "agent/hook/sqlite_s3.h"
#include "common/os/file.h"
#include "common/store/open_store.h"
#include "tests/agent/hook/app.h"
#include "tests/support/in_child.h"
#include "tests/support/replayer.h"
#include "tests/support/run_program.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

#if defined(__SANITIZE_THREAD__)
// Children start engines, hence threads; ThreadSanitizer has to be told that this is meant.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() {
  return "die_after_fork=0";
}
#endif

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

constexpr int kLong = 60'000;  // milliseconds; only ever waited out by a test that fails

struct HookProcessTest : ::testing::Test {
  void SetUp() override {
    app.Create(path);
    ASSERT_EQ(RegisterSqlFunctions(app.db()), SQLITE_OK);
  }
  void TearDown() override { sqlite_s3_close(handle, kLong); }

  void Open(const char* options = "interval=10ms") {
    ASSERT_EQ(sqlite_s3_open(path.c_str(), url.c_str(), options, &handle), SQLITE_S3_OK)
        << sqlite_s3_errmsg();
  }
  void Attach(App& a) {
    ASSERT_EQ(sqlite_s3_attach(handle, a.db()), SQLITE_S3_OK) << sqlite_s3_errmsg();
  }
  void Sync() {
    ASSERT_EQ(sqlite_s3_sync(handle, kLong, nullptr), SQLITE_S3_OK) << sqlite_s3_errmsg();
  }
  void Close() {
    EXPECT_EQ(sqlite_s3_close(handle, kLong), SQLITE_S3_OK) << sqlite_s3_errmsg();
    handle = nullptr;
  }
  Bytes Replayed() {
    auto store = OpenStore({.scheme = "file", .path = dir.File("replica")});
    EXPECT_OK(store);
    Result<Bytes> head = store.ok() ? ReplayHead(**store) : store.status();
    EXPECT_OK(head);
    return head.ok() ? *head : Bytes();
  }
  // REQUIRES: everything is closed.
  void ExpectReplicaIsTheFile() {
    ExpectOneFile();
    Result<Bytes> file = ReadFile(path, 1 << 30);
    ASSERT_OK(file);
    EXPECT_EQ(Replayed() == *file, true) << "the replica's head is not the database";
  }
  void ExpectOneFile() {
    EXPECT_NE(access((path + "-wal").c_str(), F_OK), 0);
    EXPECT_NE(access((path + "-shm").c_str(), F_OK), 0);
  }
  std::string OtherProcess(const std::string& sql) {
    // The engine takes the write lock now and then, as any other writer does.
    ProgramResult result = RunProgram({"/usr/bin/sqlite3", "-cmd", ".timeout 60000", path, sql});
    EXPECT_TRUE(result.Succeeded()) << sql << ": " << result.out;
    return result.out.substr(0, result.out.find('\n'));
  }

  TempDir dir;
  const std::string path = dir.File("app.db");
  const std::string url = "file://" + dir.File("replica");
  App app;
  sqlite_s3_handle* handle = nullptr;
};

TEST_F(HookProcessTest, AClosedDatabaseIsOneFileAndTheReplicaHasIt) {
  Open();
  Attach(app);
  app.Insert(10);
  ASSERT_EQ(app.Close(), SQLITE_OK);
  Close();
  ExpectReplicaIsTheFile();
}

TEST_F(HookProcessTest, TheLastCloseFlushesWhenThereIsNoHandle) {
  app.Ask("SELECT s3_start('" + url + "', 'interval=1h close_timeout=1m')");
  app.Insert(10);
  ASSERT_EQ(app.Close(), SQLITE_OK);
  ExpectReplicaIsTheFile();
}

TEST_F(HookProcessTest, AZombiesLastCommitIsInTheReplica) {
  app.Ask("SELECT s3_start('" + url + "', 'interval=1h close_timeout=1m')");
  sqlite3_stmt* insert = app.Prepare("INSERT INTO t VALUES('from beyond')");
  EXPECT_EQ(app.Close(), SQLITE_BUSY);
  EXPECT_EQ(sqlite3_step(insert), SQLITE_DONE);
  sqlite3_reset(insert);
  app.CloseV2();
  EXPECT_EQ(sqlite3_step(insert), SQLITE_DONE);
  sqlite3_finalize(insert);
  ExpectReplicaIsTheFile();
  EXPECT_EQ(OtherProcess("SELECT count(*) FROM t"), "2");
}

TEST_F(HookProcessTest, StatusShowsTheTxidOfTheCommitJustMade) {
  app.Ask("SELECT s3_start('" + url + "', 'interval=1h close_timeout=1m')");
  app.Ask("SELECT s3_sync()");
  const std::string current = "SELECT json_extract(s3_status(), '$.txid_current')";
  const std::string txid = "SELECT json_extract(s3_status(), '$.txid')";
  std::string last = app.Ask(txid);
  for (int i = 0; i < 20; ++i) {
    app.Insert();
    while (app.Ask(current) != "1") {  // it says so when a busy machine kept it from looking
    }
    std::string now = app.Ask(txid);
    EXPECT_EQ(std::stoull(now, nullptr, 16), std::stoull(last, nullptr, 16) + 1);
    last = now;
  }
  EXPECT_EQ(app.Ask("SELECT s3_sync()"), last);
}

TEST_F(HookProcessTest, ADurableCommitIsInTheReplicaWhenItReturns) {
  app.Ask("SELECT s3_start('" + url + "', 'durability=commit interval=1h')");
  for (int i = 0; i < 5; ++i) {
    app.Insert();
    EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.lag_commits')"), "0");
  }
  EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.commit_timeouts')"), "0");
}

TEST_F(HookProcessTest, TheWalStaysShort) {
  Open();
  app.Do("PRAGMA wal_autocheckpoint=50");
  Attach(app);
  for (int i = 0; i < 2000; ++i) {
    app.Do("INSERT INTO t VALUES(zeroblob(2000))");
  }
  EXPECT_LT(FileSize(OpenFile(path + "-wal", 0).value(), "wal").value(), 50u * 4120 * 8);
  ASSERT_EQ(app.Close(), SQLITE_OK);
  Close();
  ExpectReplicaIsTheFile();
}

TEST_F(HookProcessTest, CommitsBehindADisplacedHookAreShipped) {
  app.Ask("SELECT s3_start('" + url + "', 'interval=10ms')");
  app.Do("PRAGMA wal_autocheckpoint=0");
  app.Insert(3);
  app.Ask("SELECT s3_sync()");
  EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.hook_displaced')"), "1");
  EXPECT_EQ(app.Ask("SELECT s3_start('" + url + "', 'interval=10ms')"), "shipping");
  app.Insert(3);
  EXPECT_EQ(app.Ask("SELECT json_extract(s3_status(), '$.hook_displaced')"), "0");
  app.Do("PRAGMA wal_autocheckpoint=100");
  app.Insert(3);
  app.Ask("SELECT s3_sync()");
  ASSERT_EQ(app.Close(), SQLITE_OK);
  ExpectReplicaIsTheFile();
}

TEST_F(HookProcessTest, AttachAllTakesTheApplicationsConnectionsAndNotOurs) {
  Open("attach=all durability=commit interval=1h");
  ASSERT_EQ(app.Close(), SQLITE_OK);
  {
    App one(path), two(path);
    one.Insert();
    two.Insert();
  }
  Close();
  ExpectReplicaIsTheFile();
}

// Attack e4: with a plain open, the engine's connections made 39 of 50 inserts fail.
TEST_F(HookProcessTest, SharedCacheApplicationsSeeNoLock) {
  ASSERT_EQ(app.Close(), SQLITE_OK);
  sqlite3_enable_shared_cache(1);
  {
    App first(path), second(path);
    Open();
    Attach(first);
    Attach(second);
    for (int i = 0; i < 50; ++i) {
      first.Insert();
      second.Insert();
      if (i == 5) {
        first.Do("CREATE TABLE u(y)");
      }
      if (i == 10) {
        OtherProcess("INSERT INTO t VALUES(99)");
      }
    }
    EXPECT_EQ(first.Ask("SELECT count(*) FROM t"), "101");
  }
  sqlite3_enable_shared_cache(0);
  Close();
  ExpectReplicaIsTheFile();
}

// Attack e2: with the engine's connections open across the fork, the child's second commit was
// lost.
TEST_F(HookProcessTest, AChildsAcknowledgedCommitsSurviveTheParentsEngine) {
  Open();
  ASSERT_EQ(app.Close(), SQLITE_OK);
  int to_child[2], to_parent[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(to_parent), 0);
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    char c;
    App worker(path);
    worker.Do("INSERT INTO t VALUES('child 1')");
    bool ok = write(to_parent[1], "x", 1) == 1 && read(to_child[0], &c, 1) == 1;
    worker.Do("INSERT INTO t VALUES('child 2')");
    ok = ok && write(to_parent[1], "x", 1) == 1 && read(to_child[0], &c, 1) == 1;
    _exit(ok && !HasFailure() ? 0 : 1);
  }
  char c;
  ASSERT_EQ(read(to_parent[0], &c, 1), 1);
  Close();  // the parent's engine goes, with its locks
  EXPECT_EQ(OtherProcess("SELECT count(*) FROM t"), "1");
  ASSERT_EQ(write(to_child[1], "x", 1), 1);
  ASSERT_EQ(read(to_parent[0], &c, 1), 1);
  EXPECT_EQ(OtherProcess("INSERT INTO t VALUES('other'); SELECT count(*) FROM t"), "3");
  ASSERT_EQ(write(to_child[1], "x", 1), 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(OtherProcess("SELECT count(*) FROM t"), "3");
  EXPECT_EQ(OtherProcess("PRAGMA integrity_check"), "ok");
  Open();
  Sync();
  Close();
  ExpectReplicaIsTheFile();
}

// Attack e23: one child in 40 hung on a mutex that the engine's thread had held.
TEST_F(HookProcessTest, NoChildHangsHoweverBusyTheEngineIs) {
  Open("interval=0");
  ASSERT_EQ(app.Close(), SQLITE_OK);
  for (int i = 0; i < 200; ++i) {
    {
      App writer(path);
      Attach(writer);
      writer.Insert();
    }
    EXPECT_EQ(InChild([&] {
                App own(path);
                return own.Ask("SELECT count(*) FROM t") == std::to_string(i + 1);
              }),
              0)
        << "fork " << i;
  }
  Close();
  ExpectReplicaIsTheFile();
}

TEST_F(HookProcessTest, ConnectionsMayBeOpenAtAFork) {
  Open();
  Attach(app);
  for (int i = 0; i < 50; ++i) {
    app.Do("INSERT INTO t VALUES('parent')");
    EXPECT_EQ(InChild([&] {
                App own(path);
                own.Do("INSERT INTO t VALUES('child')");
                return !HasFailure();
              }),
              0)
        << "fork " << i;
  }
  EXPECT_EQ(app.Ask("SELECT count(*) FROM t"), "100");
  EXPECT_EQ(app.Ask("PRAGMA integrity_check"), "ok");
  ASSERT_EQ(app.Close(), SQLITE_OK);
  Close();
  ExpectReplicaIsTheFile();
}

TEST_F(HookProcessTest, AForkedWorkerSharesTheParentsShipper) {
  Open();
  ASSERT_EQ(app.Close(), SQLITE_OK);
  EXPECT_EQ(InChild([&] {
              App own(path);
              sqlite_s3_handle* mine = nullptr;
              if (sqlite_s3_open_connection(own.db(), url.c_str(), "interval=10ms", &mine) != 0) {
                std::fprintf(stderr, "%s\n", sqlite_s3_errmsg());
                return false;
              }
              own.Do("INSERT INTO t VALUES('worker')");
              if (sqlite_s3_sync(mine, kLong, nullptr) != 0) {
                std::fprintf(stderr, "%s\n", sqlite_s3_errmsg());
                return false;
              }
              return own.Close() == SQLITE_OK && sqlite_s3_close(mine, kLong) == 0;
            }),
            0);
  Sync();
  Close();
  ExpectReplicaIsTheFile();
  EXPECT_EQ(OtherProcess("SELECT count(*) FROM t"), "1");
}

TEST_F(HookProcessTest, AProcessThatExitsWithoutClosingHasFlushed) {
  ASSERT_EQ(app.Close(), SQLITE_OK);
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    static App* own = new App(path);  // exit() does not destroy it
    sqlite_s3_handle* mine = nullptr;
    int rc =
        sqlite_s3_open_connection(own->db(), url.c_str(), "interval=1h,close_timeout=1m", &mine);
    own->Do("INSERT INTO t VALUES('never closed')");
    std::exit(rc);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(OtherProcess("SELECT count(*) FROM t"), "1");
  ExpectReplicaIsTheFile();
}

TEST_F(HookProcessTest, WhatCannotBeShippedIsRefusedAndUnharmed) {
  struct {
    const char* what;
    std::string url;
    const char* options;
    const char* message;
  } cases[] = {
      {"a file in the way", "file://" + path + "/replica", "", "not a directory"},
      {"no such scheme", "gopher://x", "", "gopher"},
      {"unknown option", url, "colour=red", "colour"},
      {"bad value", url, "interval=soon", "interval"},
  };
  for (const auto& c : cases) {
    std::string answer = app.Try("SELECT s3_start('" + c.url + "', '" + c.options + "')");
    EXPECT_EQ(app.code(), SQLITE_ERROR) << c.what;
    EXPECT_THAT(answer, HasSubstr(c.message)) << c.what;
    app.Insert();
    EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "1000") << c.what;
  }
  ASSERT_EQ(app.Close(), SQLITE_OK);
  ExpectOneFile();
  EXPECT_NE(access((path + "-s3").c_str(), F_OK), 0) << "nothing is left behind";
}

TEST_F(HookProcessTest, AVfsWithoutSharedMemoryIsRefused) {
  ASSERT_EQ(app.Close(), SQLITE_OK);
  App lonely(path, 0, "unix-none");
  sqlite_s3_handle* none = nullptr;
  EXPECT_NE(sqlite_s3_open_connection(lonely.db(), url.c_str(), nullptr, &none), SQLITE_S3_OK);
  EXPECT_EQ(none, nullptr);
}

TEST_F(HookProcessTest, ASingleThreadedHostIsRefused) {
  ASSERT_EQ(app.Close(), SQLITE_OK);
  ASSERT_EQ(sqlite3_shutdown(), SQLITE_OK);
  ASSERT_EQ(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD), SQLITE_OK);
  {
    App lonely(path);
    sqlite_s3_handle* none = nullptr;
    EXPECT_EQ(sqlite_s3_open_connection(lonely.db(), url.c_str(), nullptr, &none),
              SQLITE_S3_PRECONDITION);
    EXPECT_THAT(sqlite_s3_errmsg(), HasSubstr("single-threaded"));
    lonely.Insert();
  }
  ASSERT_EQ(sqlite3_shutdown(), SQLITE_OK);
  ASSERT_EQ(sqlite3_config(SQLITE_CONFIG_SERIALIZED), SQLITE_OK);
  ASSERT_EQ(sqlite3_initialize(), SQLITE_OK);
}

}  // namespace
}  // namespace sqlite_s3

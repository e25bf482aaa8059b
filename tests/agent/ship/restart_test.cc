// What happens to the database while no engine looks, and what the next start makes of it. Each
// test is named after a mechanism that gave another product a wrong or a frozen backup.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "common/base/clock.h"
#include "tests/support/replayer.h"
#include "tests/support/run_program.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

void Update(ShippedDatabase& db, int commits) {
  for (int i = 0; i < commits; ++i) {
    db.Exec("update t set b=randomblob(90) where id=" + std::to_string(i % 50));
  }
}

void Begin(ShippedDatabase& db) {
  db.Exec("create table t(id integer primary key, b); create index i on t(b)");
  db.Exec(
      "with recursive n(i) as (select 1 union all select i+1 from n where i<400) "
      "insert into t select i, randomblob(90) from n");
  db.Start();
  db.Note();
  Update(db, 20);
  db.Note();
  db.Sync();
}

void Check(ShippedDatabase& db) {
  db.Note();
  Update(db, 2);
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

// Returns once a segment was shipped; images are refused until the hook goes.
void StartWithoutImages(ShippedDatabase& db) {
  db.faults().SetHook([](StoreOp op, std::string_view key, int) {
    return op == StoreOp::kPutIfAbsent && key.find("/image/") != key.npos
               ? UnavailableError("no images today")
               : Status::Ok();
  });
  db.Start();
  while (db.engine().GetStatus(false).segments == 0) {
    std::this_thread::yield();
  }
}

// All segments are there, and no image: nothing can be restored.
TEST(RestartTest, AStopBeforeTheFirstImageIsCompleteSaysSo) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, b)");
  StartWithoutImages(db);
  EXPECT_STATUS(db.engine().Stop(std::chrono::milliseconds(20)), StatusCode::kDeadlineExceeded);
  db.faults().SetHook({});
  db.Start();
  Check(db);
  db.Stop();
}

// Until then it would be an image of a TXID that the log may never have.
TEST(RestartTest, AnImageIsCompleteOnlyWhenTheLogReachesIt) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, b)");
  std::atomic<bool> copied{false}, logged{false}, early{false};
  db.faults().SetHook([&](StoreOp op, std::string_view key, int) {
    if (op != StoreOp::kPutIfAbsent) {
      return Status::Ok();
    }
    const bool is_log = key.find("/log/") != key.npos;
    if (is_log && !copied) {
      return UnavailableError("not yet");
    }
    // Set and never written back: the uploader and the image are here at once.
    if (key.ends_with(".hashes")) {
      copied = true;
    }
    if (key.ends_with("manifest.json") && !logged) {
      early = true;
    }
    if (is_log) {
      logged = true;
    }
    return Status::Ok();
  });
  db.Start();
  db.Sync();
  EXPECT_TRUE(copied);
  EXPECT_FALSE(early);
  db.faults().SetHook({});
  Check(db);
}

// The fork ended the threads before there was an image; those that began after it made one.
TEST(RestartTest, AForkDuringTheFirstImageIsNoEndWithoutOne) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, b)");
  StartWithoutImages(db);
  db.engine().PrepareFork();
  db.engine().ParentAfterFork();
  db.faults().SetHook({});
  EXPECT_OK(db.engine().Stop(std::chrono::milliseconds(60'000)));
  db.Start();
  Check(db);
}

// The WAL is restarted once while the engine is away, and stays shorter than the saved position:
// the frame there is untouched, with the saved salts.
TEST(RestartTest, OneWrapDuringDowntime) {
  for (int before : {1, 7, 30}) {
    for (int after : {1, 5, 60}) {
      ShippedDatabase db;
      Begin(db);
      db.Stop();
      Update(db, before);
      db.Exec("pragma wal_checkpoint(passive)");
      Update(db, after);
      db.Start();
      Check(db);
    }
  }
}

TEST(RestartTest, CheckpointWhileTheEngineIsDown) {
  for (const char* mode : {"passive", "full", "restart", "truncate"}) {
    for (bool killed : {false, true}) {
      ShippedDatabase db;
      Begin(db);
      killed ? db.Abandon() : db.Stop();
      Update(db, 5);
      db.Exec(std::string("pragma wal_checkpoint(") + mode + ")");
      db.Start();
      Check(db);
    }
  }
}

// Bases read from the file after a downtime may be newer than the commit before (prototype e1).
TEST(RestartTest, BasesAfterDowntimeAreNotTrusted) {
  for (int round = 0; round < 12; ++round) {
    ShippedDatabase db;
    Begin(db);
    db.Stop();
    Update(db, 10 + round * 5);
    if (round % 2 == 0) {
      db.Exec("pragma wal_checkpoint(passive)");
    }
    if (round % 3 == 0) {
      Update(db, 3);
    }
    db.Start();
    Update(db, 10);
    Check(db);
  }
}

// Pages that go back to what the image has, after commits that the image does not have (prototype
// e11).
TEST(RestartTest, ResyncWithoutATableSeesPagesThatWentBack) {
  for (bool spooled : {false, true}) {
    ShippedDatabase db;
    db.Exec("create table t(id integer primary key, a)");
    db.Exec(
        "with recursive n(i) as (select 1 union all select i+1 from n where i<3000) "
        "insert into t select i, 1 from n");
    db.Start();
    db.Sync();
    if (spooled) {
      db.faults().FailAll(StoreOp::kPutIfAbsent, StatusCode::kUnavailable);
    }
    db.Exec("update t set a=2 where id between 500 and 900");
    db.Note();
    if (!spooled) {
      db.Sync();
    }
    db.Abandon();
    db.faults().Heal();
    db.Exec("update t set a=1 where id between 500 and 900; update t set a=3 where id=2000");
    db.CloseApp();
    ASSERT_TRUE(RunProgram({"/bin/sh", "-c", "rm " + db.state_dir() + "/hashes*"}).Succeeded());
    db.Start();
    db.Note();
    db.Sync();
    db.CheckNoted();
    db.CheckHead();
    EXPECT_EQ(db.engine().GetStatus(true).resyncs, 1u);
  }
}

TEST(RestartTest, WalSpaceIsReusedAtTheSameSize) {
  ShippedDatabase::Options options;
  options.checkpoint_pages = 6;
  ShippedDatabase db(options);
  db.Exec("create table t(id integer primary key, a)");
  db.Exec("insert into t values(1, 0)");
  db.Start();
  for (int i = 0; i < 100; ++i) {
    db.Exec("update t set a=a+1");  // one frame each
    db.Note();
  }
  db.Sync();
  EXPECT_GT(db.engine().GetStatus(true).wal_resets, 5u);
  EXPECT_GE(db.noted(), 100u);
  db.CheckNoted();
  db.CheckHead();
}

// Salts come from SQLite's generator: reseeded, two WALs have the same ones.
TEST(RestartTest, SaltsRepeat) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, b)");
  db.CloseApp();
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 42, nullptr);
  db.Exec("insert into t values(1, zeroblob(500)), (2, zeroblob(500))");
  db.Start();
  for (int i = 0; i < 5; ++i) {
    db.Exec("update t set b=zeroblob(" + std::to_string(i) + ") where id=1");
    db.Note();
  }
  db.Sync();
  db.Stop();
  db.CloseApp();
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 42, nullptr);
  for (int i = 0; i < 12; ++i) {
    db.Exec("update t set b=zeroblob(" + std::to_string(900 + i) + ") where id=2");
  }
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 0, nullptr);
  db.Start();
  db.Note();
  db.Exec("update t set b='on'");
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(RestartTest, JournalModeFlipsWhileAway) {
  ShippedDatabase db;
  Begin(db);
  db.Stop();
  db.Exec("pragma journal_mode=delete");
  Update(db, 5);
  db.CloseApp();
  {
    Connection plain = db.OpenAnother();
    EngineConfig config;
    config.database_path = db.path();
    config.store = db.store();
    EXPECT_STATUS(Engine::Start(config), StatusCode::kFailedPrecondition);
  }
  db.Exec("pragma journal_mode=wal");
  db.Start();
  Check(db);
}

TEST(RestartTest, AChangedPageSizeIsAClearErrorAndHarmless) {
  ShippedDatabase db;
  Begin(db);
  db.Stop();
  db.Exec("pragma journal_mode=delete; pragma page_size=1024; vacuum; pragma journal_mode=wal");
  const Status status = db.TryStart();
  EXPECT_STATUS(status, StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("page size"), std::string::npos) << status.message();
  Update(db, 2);
  db.CheckNoted();
}

TEST(RestartTest, JournalModeCannotFlipWhileAttachedAndNothingBreaks) {
  ShippedDatabase db;
  Begin(db);
  sqlite3_busy_timeout(db.app().get(), 1);
  EXPECT_STATUS(db.TryExec("pragma journal_mode=delete"), StatusCode::kUnavailable);
  Check(db);
}

TEST(RestartTest, AReplacedDatabaseFileIsNoticedBeforeItsCommitsAreAcknowledged) {
  ShippedDatabase db;
  Begin(db);
  db.CopyTo(db.dir().File("other"));
  Update(db, 5);
  db.Sync();
  db.CloseApp();
  ASSERT_TRUE(RunProgram({"/bin/sh", "-c",
                          "cd " + db.dir().path() +
                              " && rm -f app.db-wal app.db-shm && mv other app.db && if [ -e "
                              "other-wal ]; then mv other-wal app.db-wal; fi"})
                  .Succeeded());
  db.ForgetNotes();
  db.Exec("update t set b='in the new file' where id=3");
  sqlite3_wal_hook(db.app().get(), &ShippedDatabase::Hook, &db);
  db.Sync();
  db.CheckHead();
  Check(db);
}

// Somebody removes the -wal by hand. What was in it is the application's loss, but it and we go on.
// Unless it used the old -wal while somebody had made a new one, with the same -shm: that can spoil
// a database ("How To Corrupt An SQLite Database File", 2.4), and then there is nothing to go on.
TEST(RestartTest, ARemovedWalHurtsNobodyFurther) {
  ShippedDatabase db;
  Begin(db);
  db.Exec("pragma wal_checkpoint(passive)");
  ASSERT_TRUE(RunProgram({"/bin/rm", db.path() + "-wal"}).Succeeded());
  Update(db, 5);  // goes to the file that nobody else can find
  (void)db.engine().Sync(std::chrono::milliseconds(100), nullptr);
  (void)db.TryExec("update t set b=randomblob(90) where id=1");
  db.CloseApp();
  (void)db.engine().Stop(std::chrono::milliseconds(100));
  {
    ASSERT_OK_AND_ASSIGN(Connection fresh,
                         Connection::Open(db.path(), SQLITE_OPEN_READWRITE, "", 60'000));
    const auto sound = fresh.QueryText("pragma integrity_check");
    if (!sound.ok() || *sound != "ok" || !fresh.QueryInt("select count(*) from t").ok()) {
      return;
    }
  }
  db.ForgetNotes();
  db.Start();
  Check(db);
}

// A clock that is set back must not make commits look like another process's, nor change their
// order.
class ShiftedClock : public Clock {
 public:
  int64_t WallMicros() const override { return Clock::Real().WallMicros() + shift_us; }
  int64_t MonotonicMicros() const override { return Clock::Real().MonotonicMicros(); }
  std::atomic<int64_t> shift_us{0};
};

TEST(RestartTest, ClockSetBack) {
  ShiftedClock clock;
  ShippedDatabase::Options options;
  options.clock = &clock;
  ShippedDatabase db(options);
  Begin(db);
  clock.shift_us = -int64_t{3600} * 1'000'000;
  for (int i = 0; i < 10; ++i) {
    Update(db, 1);
    db.Note();
  }
  EXPECT_LE(db.engine().UnannouncedCommits(),
            1u);  // the last one's hook may come after its capture
  Check(db);
}

// Every answer of the store is lost once: the object is there, and nobody knows.
TEST(RestartTest, LostPutAnswers) {
  for (int n = 1; n <= 8; ++n) {
    ShippedDatabase db;
    db.faults().FailCall(StoreOp::kPutIfAbsent, n, StatusCode::kUnavailable,
                         FaultWhen::kAfterEffect);
    Begin(db);
    Check(db);
    EXPECT_EQ(db.engine().GetStatus(false).state, EngineState::kShipping);
  }
}

// A start is cut off at its n-th call to the store, before or after the effect; the next one goes
// on.
TEST(RestartTest, AStartInterruptedAnywhereGoesOn) {
  for (const FaultWhen when : {FaultWhen::kBeforeEffect, FaultWhen::kAfterEffect}) {
    for (int n = 1;; ++n) {
      ShippedDatabase db;
      db.Exec("create table t(id integer primary key, b); create index i on t(b)");
      db.Exec("insert into t(b) values(1),(2),(3)");
      std::atomic<int> calls{0};
      std::atomic<bool> last{false};
      db.faults().SetHook([&](StoreOp, std::string_view, int) -> Status {
        const int call = ++calls;
        if (call > n || (call == n && when == FaultWhen::kBeforeEffect)) {
          return PermissionDeniedError("cut off");  // not retried
        }
        last = call == n;
        return Status::Ok();
      });
      if (db.TryStart().ok()) {
        db.Exec("insert into t(b) values(4)");
        (void)db.engine().Sync(std::chrono::milliseconds(30), nullptr);
        db.Abandon();
      }
      const bool cut = calls >= n;
      db.faults().SetHook(nullptr);
      db.Exec("insert into t(b) values(5)");
      db.Start();
      db.Sync();
      Check(db);
      EXPECT_EQ(db.engine().GetStatus(false).timeline, 1u);
      if (!cut || HasFailure() || n > 60) {
        EXPECT_LE(n, 60);
        break;
      }
    }
  }
}

}  // namespace
}  // namespace sqlite_s3

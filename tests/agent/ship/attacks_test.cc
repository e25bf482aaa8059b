// Programs that made earlier designs fail, made harmless. Each names its mechanism.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include "agent/ship/wal_capture.h"
#include "tests/support/capture_sinks.h"
#include "tests/support/file_intercept.h"
#include "tests/support/replayer.h"
#include "tests/support/run_program.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

void Rows(ShippedDatabase& db, int rows, int bytes) {
  db.Exec("with recursive n(i) as (select 1 union all select i+1 from n where i<" +
          std::to_string(rows) +
          ") insert into t(id, a, b) select i, (i * 7919) % 100003, randomblob(" +
          std::to_string(bytes) + ") from n");
}

void Check(ShippedDatabase& db) {
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

// SQLite before 3.47 or so commits frames with zero salts and checksums after a cache spill, an
// overwrite in place, and ROLLBACK TO (or a statement that fails half way). Not every time: these
// go on until it happened.
void AttackUntilSalvaged(const std::function<void(ShippedDatabase&, int)>& transaction) {
  ShippedDatabase::Options options;
  options.checkpoint_pages = 0;  // it takes a WAL of more than a thousand frames
  ShippedDatabase db(options);
  db.Exec("create table t(id integer primary key, a int, b blob); create index i on t(a)");
  Rows(db, 3000, 200);
  db.Exec("pragma wal_checkpoint(truncate)");
  db.Start();
  db.Sync();
  db.Exec("pragma cache_size=8");
  // Or until the engine stumbled over one: from then on it answers seconds late.
  EngineStatus status = db.engine().GetStatus(true);
  const auto stumbled = [&] { return status.resyncs != 0 || !status.last_error.empty(); };
  for (int i = 0; i < 400 && status.salvaged_commits == 0 && !stumbled(); ++i) {
    transaction(db, i);
    status = db.engine().GetStatus(true);
  }
  ASSERT_FALSE(stumbled()) << status.resyncs << " resyncs, last error: " << status.last_error;
  for (int i = 0; i < 5; ++i) {
    db.Note();
    db.Exec("insert into t(a) values(9)");
  }
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
  if (sqlite3_libversion_number() < 3047000) {
    EXPECT_GT(db.engine().GetStatus(true).salvaged_commits, 0u);  // else this attacked nothing
  }
}

// Index entries in an order that looks random and is the same in every run.
std::string Scattered(int i) {
  return "(id * " + std::to_string(7919 + i * 104'729) + ") % 1000003";
}

TEST(AttacksTest, ZeroSaltFramesAfterRollbackTo) {
  AttackUntilSalvaged([](ShippedDatabase& db, int i) {
    db.Exec("begin; savepoint s; insert into t(a,b) select " + Scattered(i) +
            ", b from t limit 1000; rollback to s; release s; insert into t(a) values(3); commit");
  });
}

// Without us the application's last close checkpoints such frames and removes the WAL. With us
// connected the WAL stayed as it was, and when we were killed, the recovery read it up to the first
// of them: commits of hours before were gone, or their pages mixed with older ones.
TEST(AttacksTest, AWalWithZeroSaltFramesIsEmptiedAndNotOnlyCheckpointed) {
  ShippedDatabase db;  // its engine is not started: the capture is ours
  db.Exec("create table t(id integer primary key, a int, b blob); create index i on t(a)");
  Rows(db, 3000, 200);
  db.Exec("pragma wal_autocheckpoint=0; pragma wal_checkpoint(truncate); pragma cache_size=8");
  MemoryAccount account;
  WalCapture::Config config;
  config.database_path = db.path();
  config.account = &account;
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  ForgetfulSink sink;
  for (int i = 0; i < 400 && !capture->wants_room(); ++i) {
    db.Exec("begin; savepoint s; insert into t(a,b) select " + Scattered(i) +
            ", b from t limit 1000; rollback to s; release s; insert into t(a) values(3); commit");
    ASSERT_OK(capture->Capture(sink, UINT32_MAX).status());
  }
  if (!capture->wants_room()) {
    GTEST_SKIP() << "this SQLite does not write such frames";
  }
  Connection reader = db.OpenAnother();
  ASSERT_OK(reader.Exec("begin; select count(*) from t"));
  ASSERT_OK_AND_ASSIGN(CheckpointOutcome room, capture->MakeRoom(sink));
  EXPECT_TRUE(room.complete);
  ASSERT_OK(capture->Capture(sink, UINT32_MAX).status());
  EXPECT_TRUE(capture->wants_room()) << "somebody reads the WAL: once more, later";
  ASSERT_OK(reader.Exec("commit"));
  ASSERT_OK(capture->MakeRoom(sink).status());
  ASSERT_OK(capture->Capture(sink, UINT32_MAX).status());
  EXPECT_FALSE(capture->wants_room());

  const int64_t rows = db.QueryInt("select count(*) from t");
  const std::string crashed = db.dir().path() + "/crashed.db";
  db.CopyTo(crashed);  // no -shm
  ASSERT_OK_AND_ASSIGN(Connection after, Connection::Open(crashed, SQLITE_OPEN_READWRITE, "", 0));
  ASSERT_OK_AND_ASSIGN(int64_t rows_after, after.QueryInt("select count(*) from t"));
  EXPECT_EQ(rows_after, rows);
  ASSERT_OK_AND_ASSIGN(std::string sound, after.QueryText("pragma integrity_check"));
  EXPECT_EQ(sound, "ok");

  // What is written now is captured as ever.
  db.Exec("insert into t(a) values(4)");
  ASSERT_OK_AND_ASSIGN(CaptureOutcome outcome, capture->Capture(sink, UINT32_MAX));
  EXPECT_EQ(outcome, CaptureOutcome::kCaughtUp);
  EXPECT_EQ(capture->captured_frames(), capture->index().PeekMaxFrame());
}

TEST(AttacksTest, ZeroSaltFramesAfterAFailedStatement) {
  AttackUntilSalvaged([](ShippedDatabase& db, int i) {
    db.Exec("begin; insert into t(a) values(3)");
    EXPECT_FALSE(db.TryExec("insert into t(id,a,b) select case when id=1000 then 1 else "
                            "id+10000000 end, " +
                            Scattered(i) + ", b from t order by id limit 1500")
                     .ok());
    db.Exec("insert into t(a) values(4); commit");
  });
}

// A pin that the committing thread cannot move keeps the WAL from ever being reset: it then has all
// of the ten thousand frames and more. How small it stays is bench/wal_bound's to say; here a
// starved machine must not matter.
constexpr uint64_t kSomeResets = 2000;

TEST(AttacksTest, OneWriterAtFullSpeedKeepsTheWalSmall) {
  ShippedDatabase::Options options;
  options.checkpoint_pages = 100;
  ShippedDatabase db(options);
  db.Exec("create table t(id integer primary key, a int, b blob)");
  db.Start();
  uint64_t most = 0;
  for (int i = 0; i < 10'000; ++i) {
    db.Exec("insert into t(a,b) values(random(), randomblob(80))");
    if (i % 32 == 0) {
      most = std::max(most, db.engine().GetStatus(false).wal_frames);
    }
  }
  EXPECT_LT(most, kSomeResets);
  EXPECT_GT(db.engine().GetStatus(true).wal_resets, 20u);
  Check(db);
}

TEST(AttacksTest, ManyWritersAtFullSpeedKeepTheWalSmall) {
  ShippedDatabase::Options options;
  options.checkpoint_pages = 100;
  ShippedDatabase db(options);
  db.Exec("create table t(id integer primary key, a int, b blob)");
  db.Start();
  std::atomic<int> failed{0};
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&] {
      Connection c = db.OpenAnother();
      for (int i = 0; i < 1500; ++i) {
        const Status inserted = c.Exec("insert into t(a,b) values(random(), randomblob(80))");
        EXPECT_OK(inserted);
        failed += inserted.ok() ? 0 : 1;
      }
    });
  }
  uint64_t most = 0;
  for (int i = 0; i < 300; ++i) {
    most = std::max(most, db.engine().GetStatus(true).wal_frames);
  }
  for (std::thread& writer : writers) {
    writer.join();
  }
  EXPECT_EQ(failed, 0);
  EXPECT_LT(most, kSomeResets);
  Check(db);
}

// A host with shared cache on: our connections must not lock its tables.
TEST(AttacksTest, SharedCache) {
  sqlite3_enable_shared_cache(1);
  {
    ShippedDatabase db;
    db.Exec("create table t(id integer primary key, a int, b blob)");
    db.Start();
    for (int i = 0; i < 200; ++i) {
      db.Exec("insert into t(a) values(1)");  // throws when locked
    }
    sqlite3_enable_shared_cache(0);
    Check(db);
  }
}

// The stress that could not break the pin, with the engine in its place: processes that write,
// checkpoint, vacuum, open and close, and exit without closing.
TEST(AttacksTest, WritersInOtherProcesses) {
  for (uint32_t page_size : {512U, 4096U, 65536U}) {
    ShippedDatabase::Options options;
    options.page_size = page_size;
    options.auto_vacuum = 2;
    options.checkpoint_pages = 50;
    ShippedDatabase db(options);
    db.Exec("create table t(id integer primary key, a int, b blob); create index i on t(a)");
    db.Start();
    std::atomic<int> failed{0};
    std::vector<std::thread> processes;
    for (int p = 0; p < 3; ++p) {
      processes.emplace_back([&, p] {
        failed +=
            RunProgram({SQLITE_S3_WRITER, db.path(), std::to_string(p), "250"}).Succeeded() ? 0 : 1;
      });
    }
    for (int i = 0; i < 40; ++i) {
      EXPECT_OK(db.TryExec("insert into t(a,b) values(1, randomblob(100))"));
      if (i % 10 == 5) {
        (void)db.engine().MakeImage(std::chrono::milliseconds(20'000));
      }
    }
    for (std::thread& process : processes) {
      process.join();
    }
    EXPECT_EQ(failed, 0);
    db.Sync();
    // With a mark on every slot nothing keeps the WAL while the pin lets a FULL checkpoint through:
    // then a writer may be quicker than the pin's return, and it is noticed.
    const std::vector<std::string> log = db.log();
    const auto let_through = std::count_if(log.begin(), log.end(), [](const std::string& line) {
      return line.starts_with("starting again") &&
             (line.find("while a checkpoint was let through") != line.npos ||
              line.find("the WAL was reset before all of it was read") != line.npos);
    });
    EXPECT_LE(db.engine().GetStatus(true).resyncs, static_cast<uint64_t>(let_through))
        << testing::PrintToString(log);
    db.CheckHead();  // and on the way every commit's checksum, and every image
  }
}

TEST(AttacksTest, OtherProcessesLastClose) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, a int, b blob)");
  db.Start();
  for (int i = 0; i < 5; ++i) {
    db.Exec("insert into t(a) values(1)");
    db.CloseApp();  // only the engine's connections are left here
    ASSERT_TRUE(RunProgram({SQLITE_S3_WRITER, db.path(), std::to_string(i), "30"}).Succeeded());
    db.Note();
  }
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
}

// With FULL, a commit whose fsync fails leaves a whole commit frame beyond mxFrame that SQLite
// rejected.
TEST(AttacksTest, ACommitWhoseSyncFailedIsNotShipped) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, a int, b blob)");
  db.Exec("pragma synchronous=full; insert into t(a) values(1)");
  db.Start();
  db.Note();
  bool sync_fails = false;
  FileIntercept wal(db.app().get(), SQLITE_FCNTL_JOURNAL_POINTER);
  wal.BeforeSync([&] { return std::exchange(sync_fails, false) ? SQLITE_IOERR_FSYNC : SQLITE_OK; });
  for (int i = 0; i < 5; ++i) {
    sync_fails = true;
    EXPECT_FALSE(db.TryExec("insert into t(a) values('rejected')").ok());
    db.Note();
    db.Exec("insert into t(a) values('accepted')");
    db.Note();
  }
  EXPECT_EQ(db.QueryInt("select count(*) from t where a='rejected'"), 0);
  Check(db);
}

// The database shrinks while an image of it waits for the store: what was cut off is still part of
// the image, and the WAL is still reset.
TEST(AttacksTest, ShrinkDuringAnImage) {
  ShippedDatabase::Options options;
  options.checkpoint_pages = 50;
  ShippedDatabase db(options);
  db.Exec("create table t(id integer primary key, a int, b blob)");
  Rows(db, 24'000,
       900);  // more than one part, so that the first one is put before the copy is done
  std::mutex mutex;
  std::condition_variable changed;
  bool waiting = false;
  bool go_on = false;
  db.faults().SetHook([&](StoreOp op, std::string_view key, int) -> Status {
    if (op == StoreOp::kPutIfAbsent && key.ends_with(".part")) {
      std::unique_lock lock(mutex);
      waiting = true;
      changed.notify_all();
      changed.wait(lock, [&] { return go_on; });
    }
    return Status::Ok();
  });
  db.Start();
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return waiting; });
  }
  db.Note();
  db.Exec("delete from t where id>100; vacuum");
  db.Note();
  uint64_t most = 0;
  for (int i = 0; i < 600; ++i) {
    db.Exec("update t set b=randomblob(900) where id=" + std::to_string(i % 100 + 1));
    if (i > 300) {
      most = std::max(most, db.engine().GetStatus(true).wal_frames);
    }
  }
  EXPECT_LT(most, 4 * 50u);
  {
    std::lock_guard lock(mutex);
    go_on = true;
    changed.notify_all();
  }
  db.WaitForImage();
  EXPECT_EQ(db.engine().GetStatus(true).image_txid.value, 1u);
  db.ForgetNotes();  // of 25 MB each
  Check(db);
}

}  // namespace
}  // namespace sqlite_s3

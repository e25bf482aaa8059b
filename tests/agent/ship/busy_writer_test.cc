// Keeping ahead of a writer that never rests: checkpoints in the background, of which nobody takes
// the beginning away.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "agent/ship/background_checkpoint.h"
#include "agent/ship/wal_capture.h"
#include "common/sqlite/checkpoint.h"
#include "tests/support/capture_sinks.h"
#include "tests/support/file_intercept.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

class BusyWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    app = Open();
    ASSERT_OK(app.Exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; create table t(a)"));
    config.database_path = path;
    config.account = &account;
  }
  Connection Open() {
    auto opened = Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 60'000);
    EXPECT_OK(opened.status());
    EXPECT_OK(opened->QueryInt("PRAGMA user_version").status());
    return std::move(opened).value();
  }
  void Insert() { ASSERT_OK(app.Exec("insert into t values(1)")); }
  static PassiveCheckpoint Checkpoint(Connection& by, bool* begun = nullptr) {
    return RunPassiveCheckpoint(by.get(), [&] {
      if (begun != nullptr) {
        *begun = true;
      }
    });
  }

  TempDir dir;
  const std::string path = dir.path() + "/app.db";
  Connection app;
  MemoryAccount account;
  WalCapture::Config config;
};

TEST_F(BusyWriterTest, ACheckpointTellsWhenNobodyElseCanBeginOne) {
  Connection one = Open();
  Connection two = Open();
  Insert();
  int told = 0;
  PassiveCheckpoint other;
  bool other_begun = false;
  const PassiveCheckpoint done = RunPassiveCheckpoint(one.get(), [&] {
    ++told;
    other = Checkpoint(two, &other_begun);
  });
  EXPECT_EQ(told, 1);
  EXPECT_EQ(other.rc, SQLITE_BUSY);
  EXPECT_FALSE(other_begun);
  EXPECT_EQ(done.rc, SQLITE_OK);
  EXPECT_GT(done.wal_frames, 0);
  EXPECT_EQ(done.backfilled, done.wal_frames);
  // Nothing of it is left on the connection.
  Insert();
  EXPECT_EQ(
      sqlite3_wal_checkpoint_v2(one.get(), "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr),
      SQLITE_OK);
  EXPECT_EQ(told, 1);
}

// What ends while the checkpoint begins is not in its way.
TEST_F(BusyWriterTest, AReaderThatGoesWhenTheCheckpointBeginsDoesNotHoldItUp) {
  Connection reader = Open();
  Connection one = Open();
  Insert();
  ASSERT_OK(reader.Exec("begin; select count(*) from t"));
  Insert();
  const PassiveCheckpoint held = Checkpoint(one);
  EXPECT_LT(held.backfilled, held.wal_frames);
  const PassiveCheckpoint done =
      RunPassiveCheckpoint(one.get(), [&] { EXPECT_OK(reader.Exec("rollback")); });
  EXPECT_EQ(done.backfilled, done.wal_frames);
}

// A header that is read while it is written makes it fail after it has begun. It tried again, and
// told somebody who was gone.
TEST_F(BusyWriterTest, ACheckpointTellsOnceHoweverOftenItTries) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    Connection mine = Open();
    EXPECT_OK(mine.Exec("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=1000"));
    while (!stop) {
      EXPECT_OK(mine.Exec("insert into t values(1)"));
    }
  });
  Connection one = Open();
  BackgroundCheckpoint checkpoint;
  for (int i = 0; i < 300; ++i) {
    auto told = std::make_unique<int>(0);
    checkpoint.Start(one, [&told] { ++*told; });
    EXPECT_LE(*told, 1);
    told.reset();
    const std::optional<PassiveCheckpoint> done = checkpoint.Await();
    ASSERT_TRUE(done.has_value());
    EXPECT_TRUE(done->rc == SQLITE_OK || done->rc == SQLITE_BUSY) << done->rc;
    EXPECT_FALSE(checkpoint.running());
    EXPECT_FALSE(checkpoint.Await().has_value());
  }
  stop = true;
  writer.join();
}

TEST_F(BusyWriterTest, ThePinStaysWhereItIsWhileSomebodyElseIsInACheckpoint) {
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  ForgetfulSink sink;
  Insert();
  ASSERT_OK(capture->MovePin(sink).status());
  Insert();
  Connection other = Open();
  CheckpointOutcome outcome;
  (void)RunPassiveCheckpoint(other.get(), [&] {
    ASSERT_OK_AND_ASSIGN(outcome, capture->BeginCheckpoint(sink));
    EXPECT_TRUE(capture->PinIsBehind());
  });
  EXPECT_TRUE(outcome.captured);
  EXPECT_FALSE(outcome.ran);
  // Its mark is before the second insert still.
  const PassiveCheckpoint done = Checkpoint(other);
  EXPECT_LT(done.backfilled, done.wal_frames);
  ASSERT_OK_AND_ASSIGN(outcome, capture->BeginCheckpoint(sink));
  EXPECT_TRUE(outcome.ran);
  EXPECT_OK(capture->EndCheckpoint());
  EXPECT_EQ(capture->index().BackfilledFrames(), capture->captured_frames());
}

// A checkpoint changes the file, and with it goes what told of somebody else's change.
TEST_F(BusyWriterTest, NoCheckpointHidesWhatSomebodyElseWroteToTheFile) {
  for (const bool background : {true, false}) {
    ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
    ForgetfulSink sink;
    Insert();
    const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, background ? 1 : 2}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);  // as a write does
    const auto made = background ? capture->BeginCheckpoint(sink) : capture->MakeRoom(sink);
    EXPECT_EQ(made.code(), StatusCode::kCorruption);
    // Whoever asked may not have told anybody.
    EXPECT_EQ(capture->Capture(sink, UINT32_MAX).code(), StatusCode::kCorruption);
    EXPECT_EQ(capture->CheckFilesInPlace().code(), StatusCode::kCorruption);
  }
}

// While it runs, a reset of the WAL must be impossible (docs/adr/0003), whatever is asked of the
// capture: each waits for its end before it touches the pin.
TEST_F(BusyWriterTest, ThePinDoesNotMoveWhileACheckpointRuns) {
  for (int how = 0; how < 4; ++how) {
    ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
    ForgetfulSink sink;
    FakeClock clock;
    Insert();
    ASSERT_OK_AND_ASSIGN(const CheckpointOutcome outcome, capture->BeginCheckpoint(sink));
    ASSERT_TRUE(outcome.ran);
    int64_t held_us = 0;
    switch (how) {
      case 0:
        EXPECT_OK(capture->MovePin(sink).status());
        break;
      case 1:
        EXPECT_OK(
            capture->MakeRoomUnderWriteLock(sink, 1000, clock, std::chrono::seconds(1), &held_us)
                .status());
        break;
      case 2:
        capture->ReleasePin();
        break;
      default:
        capture->Rest();
    }
    EXPECT_FALSE(capture->CheckpointRuns());
  }
}

std::function<void(sqlite3*)> when_opened;

int TellOfOpening(sqlite3* db, char**, const sqlite3_api_routines*) {
  when_opened(db);
  return SQLITE_OK;
}

// With a full spool, an fsync of ours over a second was taken for an application that waits for the
// pin: it was given up, and commits shared a restore point for nothing.
TEST_F(BusyWriterTest, OurOwnCheckpointIsNotAnApplicationsThatWaits) {
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  ForgetfulSink sink;
  Insert();
  std::atomic<bool> syncs{false};
  std::atomic<bool> may_end{false};
  std::optional<FileIntercept> file;
  when_opened = [&](sqlite3* db) {
    file.emplace(db, SQLITE_FCNTL_FILE_POINTER);
    file->BeforeSync([&] {
      syncs = true;
      syncs.notify_all();
      may_end.wait(false);
      return SQLITE_OK;
    });
  };
  auto tell = reinterpret_cast<void (*)()>(TellOfOpening);
  ASSERT_EQ(sqlite3_auto_extension(tell), SQLITE_OK);
  const auto begun = capture->BeginCheckpoint(sink);
  sqlite3_cancel_auto_extension(tell);
  ASSERT_OK(begun.status());
  ASSERT_TRUE(begun->ran);
  syncs.wait(false);
  EXPECT_TRUE(capture->CheckpointRuns());
  EXPECT_FALSE(capture->AnotherConnectionCheckpoints());
  may_end = true;
  may_end.notify_all();
  EXPECT_OK(capture->EndCheckpoint());
  capture.reset();  // closes the file
}

// Every commit that was told of restores to its bytes, whoever makes the checkpoints.
TEST(BusyEngineTest, CommitsOfWritersThatNeverRestAreAllShipped) {
  ShippedDatabase::Options options;
  options.announces = false;
  options.busy_frames_per_second = 0;
  options.checkpoint_pages = 10;
  ShippedDatabase db(options);
  db.Exec("create table t(id integer primary key, a)");
  db.Start();
  db.WaitForImage();
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; ++i) {
    writers.emplace_back([&] {
      Connection mine = db.OpenAnother();
      EXPECT_OK(mine.Exec("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=10"));
      for (int commit = 0; commit < 500; ++commit) {
        EXPECT_OK(mine.Exec("insert into t(a) values(randomblob(300))"));
      }
    });
  }
  for (std::thread& writer : writers) {
    writer.join();
  }
  for (int i = 0; i < 20; ++i) {
    db.Exec("update t set a=randomblob(200) where id % 7 = " + std::to_string(i % 7));
    db.Note();
  }
  db.Sync();
  const EngineStatus status = db.engine().GetStatus(true);
  EXPECT_GT(status.checkpoints, 0u);
  EXPECT_EQ(status.resyncs, 0u);
  db.CheckNoted();
  db.CheckHead();
}

}  // namespace
}  // namespace sqlite_s3

// What an engine does for databases whose application is another process.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "agent/ship/bounded_write_lock.h"
#include "agent/ship/file_times.h"
#include "agent/ship/wal_capture.h"
#include "common/format/keys.h"
#include "common/os/file.h"
#include "common/sqlite/wal_file.h"
#include "tests/support/capture_sinks.h"
#include "tests/support/file_intercept.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kSomebodyElse = 65534;

EngineConfig ConfigFor(ShippedDatabase& db) {
  EngineConfig config;
  config.database_path = db.path();
  config.options = db.options().ship;
  config.store = db.store();
  config.pool = db.pool();
  return config;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

TEST(SidecarTest, NotifyMakesTheWorkerLookAtOnce) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  EngineConfig config = ConfigFor(db);
  config.idle_look = std::chrono::hours(1);
  auto engine = Engine::Start(config);
  ASSERT_OK(engine.status());
  Txid txid;
  ASSERT_OK((*engine)->Sync(std::chrono::seconds(60), &txid));
  for (int i = 0; i < 3; ++i) {
    db.Exec("insert into t values(1)");  // no hook of the engine's is installed
    (*engine)->Notify(false);
    txid = txid.Next();
    while ((*engine)->GetStatus(false).txid < txid) {
      std::this_thread::yield();
    }
    ASSERT_OK((*engine)->Wait(txid, std::chrono::seconds(60)));
  }
  EXPECT_OK((*engine)->Stop(std::chrono::seconds(60)));
}

TEST(SidecarTest, JoinOnlyMakesNoFilesBesideAnotherUsersDatabase) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give a file away";
  }
  ShippedDatabase db;
  db.Exec("create table t(a)");
  db.CloseApp();  // the last close takes -wal and -shm away
  ASSERT_EQ(chown(db.path().c_str(), kSomebodyElse, kSomebodyElse), 0);
  EngineConfig config = ConfigFor(db);
  config.join_only = true;
  auto engine = Engine::Start(config);
  EXPECT_EQ(engine.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(engine.status().message(), HasSubstr("belongs to another user"));
  EXPECT_FALSE(Exists(db.path() + "-wal"));
  EXPECT_FALSE(Exists(db.path() + "-shm"));
  EXPECT_FALSE(Exists(db.state_dir()));

  db.Exec("insert into t values(1)");  // its application makes them
  engine = Engine::Start(config);
  ASSERT_OK(engine.status());
  EXPECT_OK((*engine)->Stop(std::chrono::seconds(60)));
}

TEST(SidecarTest, JoinOnlyMakesFilesForItsOwnUser) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  db.CloseApp();
  EngineConfig config = ConfigFor(db);
  config.join_only = true;
  auto engine = Engine::Start(config);
  ASSERT_OK(engine.status());
  EXPECT_OK((*engine)->Stop(std::chrono::seconds(60)));
}

TEST(SidecarTest, WriteLockNeverLeavesWritersAlone) {
  for (const bool allowed : {true, false}) {
    ShippedDatabase db;
    db.Exec("create table t(a); pragma wal_autocheckpoint=0");
    EngineConfig config = ConfigFor(db);
    config.options.write_lock = allowed;
    config.checkpoint_pages = 10;
    auto engine = Engine::Start(config);
    ASSERT_OK(engine.status());
    // Between two looks of the worker there are always new frames, so that no checkpoint without
    // the lock is ever complete.
    uint64_t locks = 0;
    for (int i = 0; i < 4000 && locks == 0; ++i) {
      db.Exec("insert into t values(zeroblob(9000))");
      locks = i % 50 == 0 ? (*engine)->GetStatus(false).write_locks : 0;
    }
    const EngineStatus status = (*engine)->GetStatus(true);
    if (!allowed) {
      EXPECT_EQ(status.write_locks, 0u);
    } else if (status.write_locks > 0) {
      EXPECT_GT(status.write_lock_max_us, 0u);
    }
    EXPECT_OK((*engine)->Stop(std::chrono::seconds(60)));
  }
}

// Takes a millisecond for each commit.
class SlowSink : public ForgetfulSink {
 public:
  explicit SlowSink(FakeClock& clock) : clock_(clock) {}
  void OnCapturedCommit(CapturedCommit) override { clock_.Advance(std::chrono::milliseconds(1)); }

 private:
  FakeClock& clock_;
};

TEST(SidecarTest, WriteLockIsLetGoBetweenStepsWhenItsBoundIsReached) {
  ShippedDatabase db;
  db.Exec("create table t(a); pragma wal_autocheckpoint=0");
  MemoryAccount account;
  WalCapture::Config config;
  config.database_path = db.path();
  config.account = &account;
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, WalCapture::Open(config, std::nullopt));
  constexpr int kCommits = 400;
  for (int i = 0; i < kCommits; ++i) {
    db.Exec("insert into t values(1)");
  }
  FakeClock clock;
  SlowSink sink(clock);
  const auto bound = std::chrono::milliseconds(10);
  int64_t held_us = 0;
  int tries = 0;
  CheckpointOutcome room;
  for (; !room.complete && tries < kCommits; ++tries) {
    const int64_t before = clock.MonotonicMicros();
    ASSERT_OK_AND_ASSIGN(room, capture->MakeRoomUnderWriteLock(sink, 1000, clock, bound, &held_us));
    const int64_t took = clock.MonotonicMicros() - before;
    EXPECT_LT(took, kCommits * 1000 / 3) << "one step of the work, not all of it";
    EXPECT_GT(held_us, 0);
    EXPECT_EQ(room.ran, room.complete) << "a checkpoint only when there was time for it";
    db.Exec("insert into t values(2)");  // nobody is held off any more
  }
  EXPECT_TRUE(room.complete);
  EXPECT_GT(tries, 3);
}

std::vector<std::unique_ptr<FileIntercept>>* intercepted = nullptr;

int InterceptOpened(sqlite3* db, char**, const sqlite3_api_routines*) {
  intercepted->push_back(std::make_unique<FileIntercept>(db, SQLITE_FCNTL_FILE_POINTER));
  return SQLITE_OK;
}

// It was taken for complete, so that no write lock was asked for: the WAL of a writer that never
// rests was never begun anew, and grew without end.
TEST(SidecarTest, ACheckpointThatTheWriterOvertookIsNotComplete) {
  ShippedDatabase db;
  db.Exec("create table t(a); pragma wal_autocheckpoint=0");
  MemoryAccount account;
  WalCapture::Config config;
  config.database_path = db.path();
  config.account = &account;
  std::vector<std::unique_ptr<FileIntercept>> files;  // of the capture's connections
  intercepted = &files;
  auto intercept = reinterpret_cast<void (*)()>(InterceptOpened);
  ASSERT_EQ(sqlite3_auto_extension(intercept), SQLITE_OK);
  auto opened = WalCapture::Open(config, std::nullopt);
  sqlite3_cancel_auto_extension(intercept);
  ASSERT_OK(opened.status());
  WalCapture& capture = **opened;
  FakeClock clock;
  SlowSink sink(clock);
  db.Exec("insert into t values(1)");
  bool committed = false;  // while the checkpoint syncs the database file
  for (const auto& file : files) {
    file->BeforeSync([&] {
      if (!std::exchange(committed, true)) {
        db.Exec("insert into t values(1)");
      }
      return SQLITE_OK;
    });
  }
  ASSERT_OK_AND_ASSIGN(CheckpointOutcome room, capture.MakeRoom(sink));
  ASSERT_TRUE(committed);
  EXPECT_TRUE(room.ran);
  EXPECT_FALSE(room.complete);
  ASSERT_OK_AND_ASSIGN(room, capture.MakeRoom(sink));
  EXPECT_TRUE(room.complete);
}

TEST(SidecarTest, WriteLockIsLetGoInTheMiddleOfAStepThatCannotBeDivided) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  ASSERT_OK_AND_ASSIGN(Connection holder,
                       Connection::Open(db.path(), SQLITE_OPEN_READWRITE, "", 0));
  BoundedWriteLock lock(holder, Clock::Real(), std::chrono::milliseconds(1));
  ASSERT_OK(lock.Take());
  ASSERT_OK_AND_ASSIGN(Connection other,
                       Connection::Open(db.path(), SQLITE_OPEN_READWRITE, "", 60'000));
  lock.LetGoInTime();
  EXPECT_OK(other.Exec("insert into t values(1)"));  // while nobody touches `lock`
  EXPECT_FALSE(lock.StillHeld());
  EXPECT_GE(lock.LetGo(), 1000);
}

// The pin stood still while a start asked the store what to do with a database that it did not
// know: each TRUNCATE of the application's waited for all of its busy timeout, with the write lock,
// and all writers with it.
TEST(SidecarTest, AStartThatAsksTheStoreHoldsUpNoCheckpoint) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  ASSERT_OK_AND_ASSIGN(Connection app,
                       Connection::Open(db.path(), SQLITE_OPEN_READWRITE, "", 30'000));
  std::mutex mutex;
  int done = 0;
  int busy = 0;
  auto truncate = [&](StoreOp op, std::string_view key, int) {
    if (op != StoreOp::kList && op != StoreOp::kGet && key != keys::Replica()) {
      return Status::Ok();  // not of a start
    }
    std::lock_guard lock(mutex);
    EXPECT_OK(app.Exec("insert into t values(1)"));
    const int rc = CheckpointAfterOthers(app, SQLITE_CHECKPOINT_TRUNCATE);
    EXPECT_TRUE(rc == SQLITE_OK || rc == SQLITE_BUSY) << rc;
    ++done;
    busy += rc == SQLITE_BUSY ? 1 : 0;
    return Status::Ok();
  };
  for (const bool is_new : {true, false}) {
    SCOPED_TRACE(is_new);
    EngineConfig config = ConfigFor(db);
    config.busy_frames_per_second = 0;  // as after a session with a busy writer
    if (!is_new) {
      // Nothing of what the head was is left, in the WAL or in the table of hashes.
      db.Exec("insert into t values(zeroblob(50000)); pragma wal_checkpoint(truncate)");
      ASSERT_OK(RemoveFile(db.state_dir() + "/hashes"));
    }
    done = busy = 0;
    db.faults().SetHook(truncate);
    auto engine = Engine::Start(config);
    ASSERT_OK(engine.status());
    ASSERT_OK((*engine)->Sync(std::chrono::seconds(60), nullptr));
    db.faults().SetHook({});
    EXPECT_EQ((*engine)->GetStatus(false).resyncs, is_new ? 0U : 1U);
    EXPECT_OK((*engine)->Stop(std::chrono::seconds(60)));
    EXPECT_GT(done, is_new ? 2 : 6);
    EXPECT_EQ(busy, 0);
  }
}

// Descriptors of this process that lead to the file.
int DescriptorsOf(const std::string& path) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    count += std::filesystem::read_symlink(entry.path(), gone) == path ? 1 : 0;
  }
  return count;
}

void MakeOld(const std::string& path) {
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0) << path;
}

TEST(SidecarTest, ADatabaseAtRestGivesBackDescriptorsAndSeesACommitThatNobodyTellsOf) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  EngineConfig config = ConfigFor(db);
  config.idle_look = std::chrono::milliseconds(5);
  config.pool = std::make_shared<WorkPool>();
  auto engine = Engine::Start(config);
  ASSERT_OK(engine.status());
  Txid txid;
  ASSERT_OK((*engine)->Sync(std::chrono::seconds(60), &txid));
  const int of_the_application = 1;
  while (DescriptorsOf(db.path() + "-wal") > of_the_application + 1) {
    std::this_thread::yield();  // until the pinned connection's alone is left
  }
  for (const std::string& path : {db.path(), db.path() + "-wal", db.state_dir()}) {
    MakeOld(path);
  }
  const auto looks = [&] { return (*engine)->GetPulse().looks; };
  for (const uint64_t before = looks(); looks() < before + 50;) {
    std::this_thread::yield();  // and so it no longer looks further than at the files
  }
  db.Exec("insert into t values(1)");
  const uint64_t before = looks();
  while ((*engine)->GetPulse().txid == txid) {
    std::this_thread::yield();
  }
  // At the next look, and not by the sweep, 6,000 looks later.
  EXPECT_LT(looks() - before, 3000U);
  ASSERT_OK((*engine)->Sync(std::chrono::seconds(60), nullptr));
  EXPECT_OK((*engine)->Stop(std::chrono::seconds(60)));
  db.CheckHead();
}

TEST(SidecarTest, AWalThatIsReplacedWhileItsDescriptorIsClosedIsNoticed) {
  TempDir dir;
  const std::string path = dir.File("x.db");
  auto app = Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000);
  ASSERT_OK(app.status());
  ASSERT_OK(app->Exec("pragma journal_mode=wal; create table t(a)"));
  ASSERT_OK_AND_ASSIGN(WalFile wal, WalFile::Open(path + "-wal"));
  ASSERT_OK_AND_ASSIGN(const WalHeader header, wal.ReadHeader());
  wal.Rest();
  EXPECT_TRUE(wal.StillLinked());
  ASSERT_OK_AND_ASSIGN(const WalHeader again, wal.ReadHeader());
  EXPECT_EQ(again.salt1, header.salt1);
  wal.Rest();
  ASSERT_OK(RenameFile(path + "-wal", path + "-old", Durability::kVisible));
  EXPECT_FALSE(wal.StillLinked());
  EXPECT_STATUS(wal.ReadHeader(), StatusCode::kCorruption);
  ASSERT_OK(WriteFileAtomically(path + "-wal", AsBytes(std::string(100, 'x')), 0600,
                                Durability::kVisible));
  EXPECT_FALSE(wal.StillLinked());
  EXPECT_STATUS(wal.ReadHeader(), StatusCode::kCorruption);
}

TEST(FileTimesTest, TellsAnyWriteAndTrustsNoYoungTimes) {
  TempDir dir;
  const std::array<std::string, 3> paths = {dir.File("a"), dir.File("b"), dir.File("c")};
  FileTimes times(paths);
  const auto write = [&](const std::string& path, const std::string& text) {
    ASSERT_OK(WriteFileAtomically(path, AsBytes(text), 0600, Durability::kVisible));
  };
  for (const std::string& path : paths) {
    write(path, "x");
  }
  times.Note();
  EXPECT_FALSE(times.IsAsItWas());  // just written: the next write could have the same time
  for (const std::string& path : paths) {
    for (const std::string& old : paths) {
      MakeOld(old);
    }
    times.Note();
    EXPECT_TRUE(times.IsAsItWas());
    write(path, "y");
    EXPECT_FALSE(times.IsAsItWas());
    MakeOld(path);
    EXPECT_FALSE(times.IsAsItWas());  // it is another file
  }
  ASSERT_OK(RemoveFile(paths[1]));
  EXPECT_FALSE(times.IsAsItWas());
  times.Note();
  EXPECT_TRUE(times.IsAsItWas());
}

}  // namespace
}  // namespace sqlite_s3

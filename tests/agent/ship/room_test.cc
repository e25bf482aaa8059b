// Room in the WAL that cannot be made: what the application and the operator see of it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <string_view>
#include <thread>

#include "common/sqlite/wal_index.h"
#include "tests/support/file_intercept.h"
#include "tests/support/full_disk.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

bool LogHas(ShippedDatabase& db, std::string_view text) {
  const auto log = db.log();
  return std::ranges::any_of(log,
                             [&](const std::string& line) { return line.find(text) != line.npos; });
}

// Shipping needs no checkpoint: a session that ended of one that failed compared every page again,
// and said that it was the store.
TEST(RoomTest, ACheckpointThatFailsOfItsDiskEndsNoSession) {
  for (const uint32_t busy_frames_per_second : {20'000u, 0u}) {  // 0: in the background
    ShippedDatabase::Options options;
    options.page_size = 16384;  // a page for each row
    options.checkpoint_pages = 10;
    options.announces = false;
    options.ship.interval = std::chrono::milliseconds(0);
    options.busy_frames_per_second = busy_frames_per_second;
    ShippedDatabase db(options);
    db.Exec(
        "pragma synchronous=off; pragma wal_autocheckpoint=0; create table t(id integer primary "
        "key, b)");
    db.Exec(
        "with recursive n(i) as (select 1 union all select i+1 from n where i<200) "
        "insert into t select i, zeroblob(15000) from n; pragma wal_checkpoint(truncate)");
    db.Start();
    db.WaitForImage();  // else it would be in the way of checkpoints
    while (db.engine().GetStatus(true).image_running) {
      std::this_thread::yield();
    }
    const uint64_t before = db.engine().GetStatus(false).checkpoints;
    {
      const FullDisk disk(2'000'000);
      for (int id = 130; id < 190; ++id) {  // more than any checkpoint waits for
        db.Exec("update t set b = randomblob(15000) where id = " + std::to_string(id));
      }
      while (db.engine().GetStatus(true).checkpoint_error.empty()) {
        std::this_thread::yield();
      }
      db.Sync();
      EXPECT_EQ(db.engine().GetStatus(false).state, EngineState::kShipping);
    }
    while (!db.engine().GetStatus(true).checkpoint_error.empty()) {
      std::this_thread::yield();  // until it tries again
    }
    EXPECT_GT(db.engine().GetStatus(false).checkpoints, before);
    EXPECT_FALSE(LogHas(db, "store-away"));
    EXPECT_FALSE(LogHas(db, "starting again"));
    db.CheckHead();
  }
}

// Both are called store-away: a full disk here was looked for at the store.
TEST(RoomTest, AFullDiskOfTheSpoolIsNotCalledTheStores) {
  ShippedDatabase::Options options;
  options.ship.interval = std::chrono::hours(1);
  options.first_retry = std::chrono::milliseconds(1);
  ShippedDatabase db(options);
  db.Exec("create table t(b)");
  db.Start();
  db.Sync();
  db.Exec("insert into t values(randomblob(300000))");
  db.Now();
  {
    const FullDisk disk(150'000);
    EXPECT_FALSE(db.engine().Sync(std::chrono::milliseconds(0), nullptr).ok());
    while (db.engine().GetStatus(false).away_of != "machine") {
      std::this_thread::yield();
    }
    EXPECT_TRUE(LogHas(db, "store-away because of this machine: resource exhausted"));
  }
  db.Sync();
  EXPECT_EQ(db.engine().GetStatus(false).away_of, "");
  db.faults().FailAll(StoreOp::kPutIfAbsent, StatusCode::kResourceExhausted);
  db.Exec("insert into t values(1)");
  EXPECT_FALSE(db.engine().Sync(std::chrono::milliseconds(0), nullptr).ok());
  while (db.engine().GetStatus(false).away_of.empty()) {
    std::this_thread::yield();
  }
  EXPECT_EQ(db.engine().GetStatus(false).away_of, "store");
  db.faults().Heal();
  db.Sync();
  db.CheckHead();
}

std::function<void(sqlite3*)> when_opened;

int TellOfOpening(sqlite3* db, char**, const sqlite3_api_routines*) {
  when_opened(db);
  return SQLITE_OK;
}

void ShipFromASlowDisk(uint32_t busy_frames_per_second) {
  ShippedDatabase::Options options;
  options.checkpoint_pages = 10;
  options.announces = false;
  options.busy_frames_per_second = busy_frames_per_second;
  options.ship.interval = std::chrono::milliseconds(0);
  options.ship.write_lock_hold = std::chrono::milliseconds(200);
  ShippedDatabase db(options);
  db.Exec("pragma synchronous=off; pragma wal_autocheckpoint=0; create table t(a, b)");
  Connection writer = db.OpenAnother();
  ASSERT_OK(writer.Exec("pragma synchronous=off; pragma wal_autocheckpoint=0"));
  std::atomic<bool> slow{true};
  std::mutex mutex;
  std::list<FileIntercept> files;  // of the engine; it closes them before they go
  when_opened = [&](sqlite3* opened) {
    std::lock_guard lock(mutex);
    files.emplace_back(opened, SQLITE_FCNTL_FILE_POINTER).BeforeSync([&] {
      // As long as writers are held off, if they are; and then one of them commits.
      if (slow) {
        EXPECT_OK(writer.Exec("insert into t values(1, randomblob(300))"));
      }
      return SQLITE_OK;
    });
  };
  auto tell = reinterpret_cast<void (*)()>(TellOfOpening);
  ASSERT_EQ(sqlite3_auto_extension(tell), SQLITE_OK);
  db.Start();
  const auto is_told = [&] { return !db.engine().GetStatus(true).checkpoint_error.empty(); };
  while (!is_told()) {
    db.Exec("insert into t values(0, randomblob(300))");
  }
  EXPECT_NE(db.engine().GetStatus(false).checkpoint_error.find("write_lock_hold (200 ms)"),
            std::string::npos);
  slow = false;
  while (is_told()) {
    db.Exec("insert into t values(0, randomblob(300))");
  }
  slow = true;
  while (!is_told()) {
    db.Exec("insert into t values(0, randomblob(300))");
  }
  slow = false;
  const auto log = db.log();
  EXPECT_EQ(std::ranges::count_if(
                log, [](const auto& line) { return line.find("write_lock_hold") != line.npos; }),
            1);
  db.Sync();
  db.CheckHead();
  db.Stop();
  sqlite3_cancel_auto_extension(tell);
}

// Where two fsyncs take longer than writers may be held off, the WAL of a writer that never rests
// grew, and nothing said why.
TEST(RoomTest, ADiskThatIsTooSlowForTheWriteLockIsToldOfOnce) { ShipFromASlowDisk(0); }

// For its checkpoints the write lock is not needed any more, and only one with it ended the alarm.
TEST(RoomTest, ASlowDiskIsNoTroubleAnyMoreOnceTheWriterOfItRests) { ShipFromASlowDisk(20'000); }

// Another process with SQLite's locks of a writer and of a checkpoint (walformat section 2.3.1), as
// one has them that waits for a reader. Made before there are threads; takes them when told.
class WaitingCheckpoint {
 public:
  explicit WaitingCheckpoint(const std::string& shm) {
    EXPECT_EQ(pipe(told_), 0);
    EXPECT_EQ(pipe(has_), 0);
    child_ = fork();
    if (child_ == 0) {
      close(told_[1]);
      char byte = 0;
      bool ok = read(told_[0], &byte, 1) == 1;
      const int fd = open(shm.c_str(), O_RDWR | O_CLOEXEC);
      for (const off_t at : {120, 121}) {
        struct flock lock {};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_start = at;
        lock.l_len = 1;
        ok = ok && fcntl(fd, F_SETLK, &lock) == 0;
      }
      ok = write(has_[1], ok ? "y" : "n", 1) == 1 && ok;
      (void)!read(told_[0], &byte, 1);  // until the other end is closed
      _exit(ok ? 0 : 1);
    }
  }
  ~WaitingCheckpoint() {
    close(told_[1]);
    int status = -1;
    EXPECT_EQ(waitpid(child_, &status, 0), child_);
    EXPECT_EQ(status, 0);
    for (const int fd : {told_[0], has_[0], has_[1]}) {
      close(fd);
    }
  }
  WaitingCheckpoint(const WaitingCheckpoint&) = delete;
  WaitingCheckpoint& operator=(const WaitingCheckpoint&) = delete;

  bool Begin() {
    char answer = 'n';
    return write(told_[1], "x", 1) == 1 && read(has_[0], &answer, 1) == 1 && answer == 'y';
  }

 private:
  int told_[2] = {-1, -1}, has_[2] = {-1, -1};
  pid_t child_ = -1;
};

// Whether a checkpoint may wait for the pin was found out by taking the lock that this option is
// about, for a moment in which an application without a busy timeout is refused.
TEST(RoomTest, WithWriteLockNeverTheWriteLockIsNotTakenToLookAtItEither) {
  ShippedDatabase::Options options;
  options.announces = false;
  options.checkpoint_pages = 0;
  options.ship.write_lock = false;
  ShippedDatabase db(options);
  db.Exec("pragma wal_autocheckpoint=0; create table t(a)");
  WaitingCheckpoint other(db.path() + "-shm");
  std::atomic<int> write_locks{0};
  std::atomic<int> looks{0};
  std::mutex mutex;
  std::list<FileIntercept> files;
  when_opened = [&](sqlite3* opened) {
    std::lock_guard lock(mutex);
    files.emplace_back(opened, SQLITE_FCNTL_FILE_POINTER)
        .BeforeShmLock([&](int offset, int, int flags) {
          if (flags == (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE)) {
            write_locks += offset == 0 ? 1 : 0;
            looks += offset == 1 ? 1 : 0;
          }
        });
  };
  auto tell = reinterpret_cast<void (*)()>(TellOfOpening);
  ASSERT_EQ(sqlite3_auto_extension(tell), SQLITE_OK);
  db.Start();
  db.Sync();
  sqlite3_cancel_auto_extension(tell);
  db.Exec("insert into t values(1)");
  EXPECT_FALSE(WalIndexView::AnotherProcessWrites(db.path() + "-shm"));
  ASSERT_TRUE(other.Begin());
  EXPECT_TRUE(WalIndexView::AnotherProcessWrites(db.path() + "-shm"));
  write_locks = looks = 0;
  // Two for each try to move the pin, at most: enough tries that the later ones look.
  while (looks < 20) {
    (void)db.engine().GetStatus(true);
  }
  EXPECT_EQ(write_locks, 0);
  db.Stop();
}

}  // namespace
}  // namespace sqlite_s3

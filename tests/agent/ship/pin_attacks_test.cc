// Where the pin stood in the way of the application's own checkpoints, made harmless.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>

#include "common/sqlite/wal_index.h"
#include "tests/support/file_intercept.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

void Check(ShippedDatabase& db) {
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

// A FULL, RESTART or TRUNCATE checkpoint holds the write lock while it waits for our pin: it must
// not wait for as long as its busy timeout, and every writer with it.
TEST(PinAttacksTest, TheApplicationsOwnCheckpointsComeToAnEnd) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, a int, b blob)");
  db.Start();
  for (const int mode : {SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_FULL,
                         SQLITE_CHECKPOINT_RESTART, SQLITE_CHECKPOINT_TRUNCATE}) {
    db.Exec("insert into t(a) values(1)");
    EXPECT_EQ(CheckpointAfterOthers(db.app(), mode), SQLITE_OK) << mode;
    db.Note();
  }
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
}

// The pin moves at the second look without a commit.
void AwaitLooks(Engine& engine, uint64_t more = 5) {
  for (const uint64_t looks = engine.GetStatus(false).looks;
       engine.GetStatus(false).looks < looks + more;) {
    std::this_thread::yield();
  }
}

// A reader that finds no free slot takes one whose mark is older than its snapshot: it sees all,
// but a checkpoint stops at the mark, and one that is FULL waits for it.
TEST(PinAttacksTest, PinOnASlotWithAnOlderMarkIsBehind) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, a int, b blob)");
  std::vector<Connection> readers;  // one for each slot, each with a mark of its own
  for (int i = 0; i < 4; ++i) {
    db.Exec("insert into t(a) values(1)");
    auto reader = Connection::Open(db.path(), SQLITE_OPEN_READWRITE, "", 10'000);
    ASSERT_OK(reader);
    ASSERT_OK(reader->Exec("begin; select count(*) from t"));
    readers.push_back(std::move(*reader));
  }
  db.Start();
  db.Exec("insert into t(a) values(2)");
  db.Sync();
  AwaitLooks(db.engine());
  readers.clear();
  EXPECT_EQ(CheckpointAfterOthers(db.app(), SQLITE_CHECKPOINT_FULL), SQLITE_OK);
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
}

// A FULL checkpoint looks at a slot's mark once, and then waits for the slot. When its reader goes
// and the pin takes the slot for the last frame, it still waits: the pin must let it through.
TEST(PinAttacksTest, PinOnTheSlotThatACheckpointWaitsForStepsAside) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, a int, b blob)");
  struct Waiting {
    std::vector<Connection> readers;  // one for each slot, each with a mark of its own
    Engine* engine = nullptr;
    std::chrono::steady_clock::time_point until;
    int asked = 0;
  } waiting;
  for (int i = 0; i < 4; ++i) {
    db.Exec("insert into t(a) values(1)");
    auto reader = Connection::Open(db.path(), SQLITE_OPEN_READWRITE, "", 10'000);
    ASSERT_OK(reader);
    ASSERT_OK(reader->Exec("begin; select count(*) from t"));
    waiting.readers.push_back(std::move(*reader));
  }
  db.Start();
  db.Exec("insert into t(a) values(2)");
  db.Sync();
  waiting.engine = &db.engine();
  AwaitLooks(db.engine());
  waiting.until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  sqlite3_busy_handler(
      db.app().get(),
      [](void* context, int) {
        auto& w = *static_cast<Waiting*>(context);
        if (++w.asked == 1) {
          w.readers.erase(w.readers.begin());  // the pin, behind until now, takes its slot
          AwaitLooks(*w.engine);
          w.readers.clear();
        }
        std::this_thread::yield();
        return std::chrono::steady_clock::now() < w.until ? 1 : 0;
      },
      &waiting);
  EXPECT_EQ(CheckpointAfterOthers(db.app(), SQLITE_CHECKPOINT_FULL), SQLITE_OK);
  EXPECT_GT(waiting.asked, 0);
  AwaitLooks(db.engine(), 2);  // the pin is back: a writer quicker than that may reset the WAL
  db.Exec("insert into t(a) values(3)");
  db.Note();
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
}

std::atomic<int> open_reads{0};
std::atomic<bool> was_without_pin{false};

int CountReads(sqlite3* db, char**, const sqlite3_api_routines*) {
  return sqlite3_trace_v2(
      db, SQLITE_TRACE_PROFILE,
      [](unsigned, void*, void* statement, void*) {
        const char* sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
        const std::string_view text = sql != nullptr ? sql : "";
        if (text == "BEGIN") {
          ++open_reads;
        } else if (text == "ROLLBACK" && --open_reads == 0) {
          was_without_pin = true;
        }
        return 0;
      },
      nullptr);
}

// To step aside for a checkpoint that waits for nobody, and has no write lock, gave a busy writer
// the moment in which it commits and resets the WAL.
TEST(PinAttacksTest, PinStaysWhileACheckpointThatIsSlowGoesOn) {
  ShippedDatabase db;
  db.Exec("pragma wal_autocheckpoint=0; create table t(id integer primary key, a int, b blob)");
  auto count = reinterpret_cast<void (*)()>(CountReads);
  ASSERT_EQ(sqlite3_auto_extension(count), SQLITE_OK);
  db.Start();
  sqlite3_cancel_auto_extension(count);
  Connection other = db.OpenAnother();
  ASSERT_OK(other.Exec("pragma wal_autocheckpoint=0; insert into t(a) values(1)"));
  db.Sync();
  ASSERT_OK(other.Exec("insert into t(a) values(2)"));
  was_without_pin = false;
  int syncs = 0;
  {
    FileIntercept wal(other.get(), SQLITE_FCNTL_JOURNAL_POINTER);
    wal.BeforeSync([&] {
      ++syncs;
      AwaitLooks(db.engine(), 10);  // as long as its naps grow
      return SQLITE_OK;
    });
    ASSERT_EQ(CheckpointAfterOthers(other, SQLITE_CHECKPOINT_PASSIVE), SQLITE_OK);
  }
  EXPECT_EQ(syncs, 1);
  EXPECT_FALSE(was_without_pin);
  db.Exec("insert into t(a) values(3)");
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
}

class ClockThatStops : public Clock {
 public:
  int64_t WallMicros() const override { return Clock::Real().WallMicros(); }
  int64_t MonotonicMicros() const override {
    const int64_t stopped = stopped_us;
    return stopped > 0 ? stopped : Clock::Real().MonotonicMicros();
  }
  std::atomic<int64_t> stopped_us{0};
};

// Where an fsync takes long, its quiet moved the pin, and the writer made a checkpoint, with
// fsyncs, after its next commit, and so after each one beyond its threshold.
TEST(PinAttacksTest, PinDoesNotFollowAWriterWhoseCheckpointCopies) {
  ClockThatStops clock;
  ShippedDatabase::Options options;
  options.clock = &clock;
  ShippedDatabase db(options);
  db.Exec("pragma wal_autocheckpoint=0; create table t(id integer primary key, a int, b blob)");
  db.Start();
  Connection other = db.OpenAnother();
  ASSERT_OK(other.Exec("pragma wal_autocheckpoint=0; insert into t(a) values(1)"));
  db.Sync();
  AwaitLooks(db.engine());
  ASSERT_OK_AND_ASSIGN(const WalIndexView index, WalIndexView::Attach(db.app().get()));
  int syncs = 0;
  {
    FileIntercept wal(other.get(), SQLITE_FCNTL_JOURNAL_POINTER);
    wal.BeforeSync([&] {
      ++syncs;
      clock.stopped_us = Clock::Real().MonotonicMicros();
      db.Exec("insert into t(a) values(2)");
      const uint32_t frames = index.PeekMaxFrame();
      AwaitLooks(db.engine());
      EXPECT_FALSE(index.HasReadMark(frames));
      clock.stopped_us += 2'000'000;  // it may be that of one that failed
      while (!index.HasReadMark(frames)) {
        std::this_thread::yield();
      }
      return SQLITE_OK;
    });
    ASSERT_EQ(CheckpointAfterOthers(other, SQLITE_CHECKPOINT_PASSIVE), SQLITE_OK);
  }
  EXPECT_EQ(syncs, 1);
  clock.stopped_us = 0;
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
}

// A checkpoint says that all is backfilled a moment before it lets go of slot 0. A reader that
// begins in between gets another slot, and a TRUNCATE would wait for it for as long as it may.
TEST(PinAttacksTest, PinTakenWhileACheckpointLetsGoOfSlot0MovesOnceMore) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, a int, b blob)");
  db.Start();
  bool engine_looks = false;  // before the checkpoint lets go
  {
    FileIntercept file(db.app().get(), SQLITE_FCNTL_FILE_POINTER);
    file.BeforeShmLock([&](int offset, int, int flags) {
      constexpr int kReaderSlot0 = 3;
      if (offset != kReaderSlot0 || flags != (SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE) ||
          !std::exchange(engine_looks, false)) {
        return;
      }
      for (const uint64_t looks = db.engine().GetStatus(false).looks;
           db.engine().GetStatus(false).looks < looks + 5;) {
        std::this_thread::yield();  // the pin moves when it sees that all is backfilled
      }
    });
    for (int i = 0; i < 3; ++i) {
      engine_looks = true;
      db.Exec("insert into t(a) values(1)");
      EXPECT_EQ(CheckpointAfterOthers(db.app(), SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
      EXPECT_FALSE(engine_looks);
    }
  }
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
}

// Commits right after an engine's reader got its snapshot, before what is new is captured.
std::atomic<Connection*> commits_in_between{nullptr};
std::atomic<bool> committed_in_between{false};

int CommitAfterSnapshot(unsigned, void*, void* statement, void*) {
  const char* sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
  if (sql != nullptr && std::string_view(sql) == "PRAGMA user_version") {
    if (Connection* c = commits_in_between.exchange(nullptr)) {
      EXPECT_OK(c->Exec("insert into t(a) values(2)"));
      committed_in_between = true;
      committed_in_between.notify_all();
    }
  }
  return 0;
}

int WatchStatements(sqlite3* db, char**, const sqlite3_api_routines*) {
  return sqlite3_trace_v2(db, SQLITE_TRACE_PROFILE, CommitAfterSnapshot, nullptr);
}

// Such a commit is captured, but the pin does not see it: it is still behind, and a FULL checkpoint
// waits for it.
TEST(PinAttacksTest, CommitBetweenSnapshotAndCaptureLeavesThePinBehind) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, a int, b blob)");
  auto watch = reinterpret_cast<void (*)()>(WatchStatements);
  ASSERT_EQ(sqlite3_auto_extension(watch), SQLITE_OK);
  db.Start();
  sqlite3_cancel_auto_extension(watch);
  auto other = Connection::Open(db.path(), SQLITE_OPEN_READWRITE, "", 10'000);
  ASSERT_OK(other);
  for (int i = 0; i < 3; ++i) {
    committed_in_between = false;
    commits_in_between = &*other;
    db.Exec("insert into t(a) values(1)");
    committed_in_between.wait(false);
    EXPECT_EQ(CheckpointAfterOthers(db.app(), SQLITE_CHECKPOINT_FULL), SQLITE_OK);
  }
  Check(db);
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
}

}  // namespace
}  // namespace sqlite_s3

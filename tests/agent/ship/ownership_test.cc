// One writer per timeline: copies of a database, two agents, take-over, fork, and a disk that fell
// behind the bucket.

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "common/base/clock.h"
#include "common/format/keys.h"
#include "tests/support/replayer.h"
#include "tests/support/run_program.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

constexpr auto kLong = std::chrono::milliseconds(30'000);

void Fill(ShippedDatabase& db, int commits) {
  for (int i = 0; i < commits; ++i) {
    db.Exec("insert into t(b) values(randomblob(700))");
    db.Note();
  }
}

// A database on its way: commits noted, shipped, with its first image.
void Begin(ShippedDatabase& db) {
  db.Exec("create table t(id integer primary key, b)");
  db.Start();
  Fill(db, 5);
  db.Sync();
}

// `copy` is the database of `db` at this moment, on the same replica.
void MakeCopy(ShippedDatabase& db, ShippedDatabase& copy, bool with_state) {
  db.CopyTo(copy.path(), with_state);
  copy.UseStore(db.store());
}

// The disk as it was when CopyTo("before") was made.
void PutBack(ShippedDatabase& db) {
  db.CloseApp();
  const std::string command = "cd " + db.dir().path() +
                              " && rm -f app.db-wal app.db-shm && mv before app.db && if [ -e "
                              "before-wal ]; then mv before-wal app.db-wal; fi";
  ASSERT_TRUE(RunProgram({"/bin/sh", "-c", command}).Succeeded());
}

// Notes of a line that is not the latest any more.
void CheckLine(ShippedDatabase& db, uint32_t timeline, const std::map<Txid, Bytes>& notes) {
  std::map<Txid, Bytes> left = notes;
  ASSERT_OK(ReplayAll(db.faults(), TimelineId{timeline},
                      [&](Txid txid, const CommitRecord&, const Bytes& image) {
                        if (auto it = left.find(txid); it != left.end()) {
                          EXPECT_TRUE(it->second == image) << "TXID " << txid.value;
                          left.erase(it);
                        }
                      }));
  EXPECT_TRUE(left.empty());
}

TEST(OwnershipTest, ACopyBehindTheHeadIsRefusedAndUnharmed) {
  for (bool with_state : {false, true}) {
    ShippedDatabase db;
    Begin(db);
    ShippedDatabase copy;
    MakeCopy(db, copy, with_state);
    Fill(db, 3);
    db.Sync();
    const Status refused = copy.TryStart();
    EXPECT_STATUS(refused, StatusCode::kFailedPrecondition);
    EXPECT_NE(refused.message().find("on_conflict"), std::string::npos) << refused.message();
    copy.Exec("insert into t(b) values('still writable')");
    Fill(db, 3);  // and the original's history goes on
    db.Sync();
    db.CheckNoted();
    db.CheckHead();
  }
}

TEST(OwnershipTest, OfTwoWritersTheLoserStopsAndStaysStoppedUntilTold) {
  ShippedDatabase db;
  Begin(db);
  ShippedDatabase copy;
  MakeCopy(db, copy, false);
  copy.Start();  // exactly at the head: it may
  Fill(copy, 2);
  copy.Sync();
  db.Exec("insert into t(b) values('of the loser')");
  EXPECT_STATUS(db.engine().Sync(kLong, nullptr), StatusCode::kAborted);
  EXPECT_EQ(db.engine().GetStatus(false).state, EngineState::kFenced);
  db.Exec("insert into t(b) values('the application goes on')");
  EXPECT_STATUS(db.engine().Stop(kLong), StatusCode::kAborted);
  for (int i = 0; i < 2; ++i) {
    const Status fenced = db.TryStart();
    EXPECT_STATUS(fenced, StatusCode::kAborted);
    EXPECT_NE(fenced.message().find("fenced"), std::string::npos) << fenced.message();
  }
  Fill(copy, 2);
  copy.Sync();
  copy.CheckNoted();
  copy.CheckHead();
}

TEST(OwnershipTest, AFencedWriterToldToTakeOverFencesTheOther) {
  ShippedDatabase db;
  Begin(db);
  ShippedDatabase copy;
  MakeCopy(db, copy, false);
  copy.Start();
  Fill(copy, 2);
  copy.Sync();
  db.Exec("insert into t(b) values('of the loser')");
  EXPECT_STATUS(db.engine().Sync(kLong, nullptr), StatusCode::kAborted);
  (void)db.engine().Stop(kLong);
  db.ForgetNotes();
  db.options().ship.on_conflict = OnConflict::kTakeOver;
  db.Start();
  Fill(db, 2);
  db.Sync();
  copy.Exec("insert into t(b) values('now fenced')");
  EXPECT_STATUS(copy.engine().Sync(kLong, nullptr), StatusCode::kAborted);
  db.CheckNoted();
  db.CheckHead();
  copy.CheckNoted();  // what it shipped before stays restorable, on the same line
}

TEST(OwnershipTest, AForkKeepsBothLines) {
  ShippedDatabase db;
  Begin(db);
  ShippedDatabase copy;
  MakeCopy(db, copy, false);
  Fill(db, 3);
  db.Sync();
  copy.options().ship.on_conflict = OnConflict::kFork;
  copy.Exec("insert into t(b) values('of the copy alone')");
  copy.Start();
  Fill(copy, 3);
  copy.Sync();
  Fill(db, 3);
  db.Sync();
  EXPECT_EQ(copy.engine().GetStatus(true).timeline, 2u);
  CheckLine(db, 1, db.notes());
  CheckLine(copy, 2, copy.notes());
  // "Latest" is not decided by chance.
  EXPECT_STATUS(ReplayHead(db.faults()), StatusCode::kFailedPrecondition);
  // After a restart each is on its own line still.
  copy.options().ship.on_conflict = OnConflict::kRefuse;
  copy.Stop();
  copy.Start();
  Fill(copy, 1);
  copy.Sync();
  CheckLine(copy, 2, copy.notes());
}

TEST(OwnershipTest, AForkInterruptedAtItsTimelineIsNotBegunTwice) {
  ShippedDatabase db;
  Begin(db);
  ShippedDatabase copy;
  MakeCopy(db, copy, false);
  Fill(db, 1);
  db.Sync();
  copy.options().ship.on_conflict = OnConflict::kFork;
  // The line is made and the answer lost; nothing after it works.
  bool made = false;
  copy.faults().SetHook([&made](StoreOp op, std::string_view key, int) -> Status {
    if (made) {
      return PermissionDeniedError("cut off");
    }
    made = op == StoreOp::kPutIfAbsent && keys::ParseTimelineFile(key).has_value();
    return Status::Ok();
  });
  const Status interrupted = copy.TryStart();
  copy.faults().SetHook(nullptr);
  EXPECT_FALSE(interrupted.ok());
  copy.options().ship.on_conflict = OnConflict::kRefuse;
  copy.Start();
  Fill(copy, 2);
  copy.Sync();
  EXPECT_EQ(copy.engine().GetStatus(true).timeline, 2u);
  CheckLine(copy, 2, copy.notes());
}

// Power loss at synchronous=NORMAL: the disk keeps an older state, the bucket has more.
TEST(OwnershipTest, ABucketAheadOfTheDiskStartsATimelineThatSupersedes) {
  for (bool spooled : {false, true}) {
    ShippedDatabase db;
    Begin(db);
    db.CopyTo(db.dir().File("before"));
    const std::map<Txid, Bytes> before = db.notes();
    Fill(db, 4);
    db.Sync();
    const std::map<Txid, Bytes> lost = db.notes();
    if (spooled) {  // and more that never left the machine
      db.faults().FailAll(StoreOp::kPutIfAbsent, StatusCode::kUnavailable);
      Fill(db, 3);
    }
    db.Abandon();
    PutBack(db);
    db.ForgetNotes();
    db.faults().Heal();
    db.Start();
    db.Now();  // compared; a commit made before that ends in a resync on the same line instead
    Fill(db, 4);
    db.Sync();
    EXPECT_EQ(db.engine().GetStatus(true).timeline, 2u);
    db.CheckNoted();
    db.CheckHead();
    CheckLine(db, 1, lost);  // what the bucket had is not thrown away
    CheckLine(db, 2, before);
    db.Stop();
    db.Start();
    Fill(db, 1);
    db.Sync();
    EXPECT_EQ(db.engine().GetStatus(true).timeline, 2u);
    db.CheckNoted();
  }
}

// A line that ends with another's segment is not ours any more, though our state says so: else we
// would take our database for a disk that fell back, and begin a line in place of the other's.
TEST(OwnershipTest, AWriterAfterWhomAnotherWentOnIsRefused) {
  ShippedDatabase db;
  Begin(db);
  db.Stop();
  ShippedDatabase copy;
  MakeCopy(db, copy, false);
  copy.Start();
  Fill(copy, 2);
  copy.Sync();
  EXPECT_STATUS(db.TryStart(), StatusCode::kFailedPrecondition);
  Fill(copy, 1);
  copy.Sync();
  EXPECT_EQ(copy.engine().GetStatus(true).timeline, 1u);
  copy.CheckNoted();
  copy.CheckHead();
}

// Of what the other shipped here before its disk fell back nothing is left: the line ends with our
// own segment and with our database, as if nobody had gone on. But restores read the other line.
TEST(OwnershipTest, AWriterWhoseLineWasLeftByAnotherDoesNotGoOnThere) {
  ShippedDatabase db;
  Begin(db);
  const Txid head = db.Sync();
  db.Stop();
  ShippedDatabase copy;
  MakeCopy(db, copy, false);
  copy.CopyTo(copy.dir().File("before"));
  copy.Start();
  Fill(copy, 2);
  copy.Sync();
  copy.Abandon();
  PutBack(copy);
  copy.ForgetNotes();
  copy.Start();
  copy.Now();
  Fill(copy, 2);
  copy.Sync();
  ASSERT_EQ(copy.engine().GetStatus(true).timeline, 2u);
  ASSERT_OK_AND_ASSIGN(auto segments, ListAll(db.faults(), keys::LogPrefix({1})));
  for (const ObjectInfo& segment : segments) {
    if (segment.key > keys::LogSegment({1}, head)) {
      ASSERT_OK(db.faults().Delete(segment.key));
    }
  }
  const Status refused = db.TryStart();
  EXPECT_STATUS(refused, StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("on_conflict"), std::string::npos) << refused.message();
  copy.CheckNoted();
  copy.CheckHead();
}

// An upload of the old line may still be on its way when the new one begins: its answer is not
// about the new line's first object.
TEST(OwnershipTest, AnAnswerForTheOldLineDoesNotTakeTheNewLinesSegment) {
  ShippedDatabase db;
  Begin(db);
  db.CopyTo(db.dir().File("before"));
  Fill(db, 4);
  db.Sync();
  db.faults().FailAll(StoreOp::kPutIfAbsent, StatusCode::kUnavailable);
  Fill(db, 3);
  db.Abandon();
  PutBack(db);
  db.ForgetNotes();
  db.faults().Heal();
  // The answer about the old line's segment comes when the new line is being looked for: the
  // worker's first LIST waits for the upload, and the upload for the worker's second.
  const std::string old_prefix = keys::LogPrefix({1});
  const std::thread::id starter = std::this_thread::get_id();
  std::mutex mutex;
  std::condition_variable changed;
  bool uploading = false;
  int lists = 0;
  db.faults().SetHook([&](StoreOp op, std::string_view key, int) -> Status {
    std::unique_lock lock(mutex);
    if (op == StoreOp::kPutIfAbsent && key.starts_with(old_prefix)) {
      uploading = true;
      changed.notify_all();
      changed.wait(lock, [&] { return lists >= 2; });
    } else if (op == StoreOp::kList && std::this_thread::get_id() != starter) {
      ++lists;
      changed.notify_all();
      changed.wait(lock, [&] { return uploading; });
    }
    return Status::Ok();
  });
  db.Start();
  db.Now();
  db.faults().SetHook(nullptr);
  Fill(db, 2);
  db.Sync();
  EXPECT_EQ(db.engine().GetStatus(true).timeline, 2u);
  db.CheckNoted();
  db.CheckHead();
}

TEST(OwnershipTest, ARestoredDatabaseGoesOnAfterItsTxid) {
  ShippedDatabase db;
  Begin(db);
  Fill(db, 3);
  db.Sync();
  db.Stop();
  ShippedDatabase restored;
  restored.UseStore(db.store());
  db.CloseApp();
  db.CopyTo(restored.path());
  restored.Start();
  const Txid first = [&] {
    restored.Exec("insert into t(b) values('after the restore')");
    return restored.Note();
  }();
  EXPECT_EQ(first.value, db.notes().rbegin()->first.value + 1);
  restored.Sync();
  restored.CheckNoted();
  restored.CheckHead();
  db.CheckNoted();
}

TEST(OwnershipTest, TxidsOnceToldAreNotGivenToOtherCommits) {
  ShippedDatabase db;
  Begin(db);
  db.faults().FailAll(StoreOp::kPutIfAbsent, StatusCode::kUnavailable);
  Fill(db, 4);
  const Txid told = db.notes().rbegin()->first;
  db.Abandon();
  // As a kill leaves it when the segment was not cut yet and the WAL was reset meanwhile.
  db.Exec("pragma wal_checkpoint(truncate)");
  ASSERT_TRUE(RunProgram({"/bin/sh", "-c", "rm " + db.state_dir() + "/spool/*"}).Succeeded());
  db.ForgetNotes();
  db.faults().Heal();
  db.Start();
  db.Note();
  db.Exec("insert into t(b) values('a later commit')");
  EXPECT_EQ(db.Note(), told.Next());
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(OwnershipTest, AMachinePausedPastAnotherWritersExpiryIsFenced) {
  FakeClock store_clock;
  for (bool other_writer : {false, true}) {
    auto memory = std::make_shared<MemoryStore>("paused", store_clock);
    ShippedDatabase db;
    db.UseStore(std::make_shared<FaultStore>(memory));
    Begin(db);
    const Txid head = db.Sync();
    if (other_writer) {
      ShippedDatabase copy;
      MakeCopy(db, copy, false);
      copy.UseStore(std::make_shared<FaultStore>(memory));
      copy.Start();
      Fill(copy, 1);
      copy.Sync();
      Fill(copy, 1);
      copy.Sync();
      copy.Stop();
      // Its first segment has expired meanwhile: the paused writer's key is free again.
      ASSERT_OK(memory->Delete(keys::LogSegment({1}, head.Next())));
    }
    store_clock.Advance(std::chrono::minutes(20));
    db.Exec("insert into t(b) values('after the pause')");
    const Status synced = db.engine().Sync(kLong, nullptr);
    EXPECT_EQ(synced.code(), other_writer ? StatusCode::kAborted : StatusCode::kOk)
        << synced.ToString();
  }
}

}  // namespace
}  // namespace sqlite_s3

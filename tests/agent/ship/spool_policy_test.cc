// The store is away, full or read-only: the application goes on, within the bounds it was promised.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "agent/ship/shared_block.h"
#include "common/base/cancellation.h"
#include "tests/support/replayer.h"
#include "tests/support/run_program.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kSpool = 300'000;

ShippedDatabase::Options SmallSpool(WhenFull when_full) {
  ShippedDatabase::Options options;
  options.checkpoint_pages = 20;
  options.ship.when_full = when_full;
  options.ship.spool_bytes = kSpool;
  options.ship.segment_bytes = 20'000;
  options.ship.memory_bytes = 400'000;
  return options;
}

void StoreAway(ShippedDatabase& db) {
  db.Exec("create table t(id integer primary key, b)");
  db.Start();
  db.Sync();
  db.faults().FailAll(StoreOp::kPutIfAbsent, StatusCode::kUnavailable);
}

void Insert(ShippedDatabase& db, int bytes) {
  db.Exec("insert into t(b) values(randomblob(" + std::to_string(bytes) + "))");
}

TEST(SpoolPolicyTest, GrowWalKeepsEveryCommitAndTheSpoolsBound) {
  ShippedDatabase db(SmallSpool(WhenFull::kGrowWal));
  StoreAway(db);
  uint64_t most_spooled = 0;
  uint64_t commits = 1;
  // Until the WAL is what grows: the spool is full when the worker has filled it.
  while (db.engine().GetStatus(false).wal_frames <= 5 * 20u || commits < 200) {
    Insert(db, 8000);
    ++commits;
    most_spooled = std::max(most_spooled, db.engine().GetStatus(false).spool_bytes);
  }
  EXPECT_LE(most_spooled, kSpool);
  db.faults().Heal();
  const Txid last = db.Note();
  db.Sync();
  // None was left out. On a machine without a free core some are merged, and counted, before the
  // spool is full.
  EXPECT_EQ(last.value + db.engine().GetStatus(true).merged_commits, commits);
  db.CheckNoted();
  db.CheckHead();
  // And the WAL is the usual size again.
  for (int i = 0; i < 100; ++i) {
    Insert(db, 3000);
  }
  EXPECT_LT(db.engine().GetStatus(true).wal_frames, 4 * 20u);
}

// The store is back, what the spool had no room for comes with one resync, and then commit by
// commit.
void GoOnAfterOneResync(ShippedDatabase& db) {
  db.faults().Heal();
  db.Sync();
  Insert(db, 100);
  db.Note();
  db.Sync();
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 1u);
  db.CheckNoted();
  db.CheckHead();
}

TEST(SpoolPolicyTest, ResyncLetsTheWalGoAndShipsTheDifference) {
  ShippedDatabase db(SmallSpool(WhenFull::kResync));
  StoreAway(db);
  const auto lets_go = [&db] {
    const auto log = db.log();
    return std::ranges::any_of(
        log, [](const std::string& line) { return line.find("when_full=resync") != line.npos; });
  };
  while (!lets_go()) {  // the worker has to fill the spool first
    Insert(db, 8000);
  }
  for (int i = 0; i < 300; ++i) {
    Insert(db, 8000);
  }
  const EngineStatus away = db.engine().GetStatus(false);
  // What was in memory went there, too; commits that were merged are not held to its bound.
  EXPECT_LE(away.spool_bytes,
            kSpool + 2 * db.options().ship.memory_bytes + 2 * away.merged_commits * 8192);
  EXPECT_LT(away.wal_frames, 300u);  // not one of 900 pages: it was reset meanwhile
  GoOnAfterOneResync(db);
}

// A TRUNCATE checkpoint holds the write lock while it waits for our pin, which cannot move as long
// as nothing more can be captured: all writers would wait for as long as its busy timeout.
TEST(SpoolPolicyTest, GrowWalGivesWayToACheckpointThatWaitsForThePin) {
  ShippedDatabase db(SmallSpool(WhenFull::kGrowWal));
  StoreAway(db);
  ASSERT_OK_AND_ASSIGN(const auto shared, SharedBlock::Open(db.state_dir() + "/shared"));
  // Before the spool is full, what memory has no room for would be merged, and nothing left behind
  // that keeps the pin.
  while ((*shared)->full == 0) {
    Insert(db, 8000);
  }
  for (int i = 0; i < 100; ++i) {
    Insert(db, 8000);  // more than memory takes
  }
  EXPECT_EQ(CheckpointAfterOthers(db.app(), SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
  GoOnAfterOneResync(db);
}

// The same in the middle of a transaction that is larger than the spool: it waited for the store
// with the pin where it was.
TEST(SpoolPolicyTest, ACommitLargerThanTheSpoolGivesWayToACheckpointThatWaitsForThePin) {
  ShippedDatabase db(SmallSpool(WhenFull::kGrowWal));
  StoreAway(db);
  db.faults().ResetCounts();
  Insert(db, 9'000'000);
  while (db.faults().Count(StoreOp::kPutIfAbsent) == 0) {
    std::this_thread::yield();  // until it is under way
  }
  EXPECT_EQ(CheckpointAfterOthers(db.app(), SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
  db.faults().Heal();
  Insert(db, 100);
  db.Sync();
  Insert(db, 100);
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(SpoolPolicyTest, BlockHoldsCommitsAndNoneFails) {
  ShippedDatabase::Options options = SmallSpool(WhenFull::kBlock);
  options.ship.commit_timeout = std::chrono::milliseconds(30'000);
  ShippedDatabase db(options);
  StoreAway(db);
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) {
      Insert(db, 8000);
    }
  });
  // Held: the writer is far from its end, and stays there until the store is back.
  while (db.engine().GetStatus(false).spool_bytes < kSpool / 2) {
    std::this_thread::yield();
  }
  db.faults().Heal();
  writer.join();
  const EngineStatus healed = db.engine().GetStatus(false);
  // Commits that were merged are not held to the bound.
  EXPECT_LE(healed.spool_bytes, kSpool + 2 * healed.merged_commits * 8192);
  db.Note();
  db.Sync();
  const EngineStatus status = db.engine().GetStatus(true);
  EXPECT_EQ(status.txid.value + status.merged_commits, 201u);
  db.CheckNoted();
  db.CheckHead();
}

TEST(SpoolPolicyTest, BlockHoldsACommitAtMostItsTimeout) {
  ShippedDatabase::Options options = SmallSpool(WhenFull::kBlock);
  options.ship.commit_timeout = std::chrono::milliseconds(5);
  ShippedDatabase db(options);
  StoreAway(db);
  for (int i = 0; i < 200; ++i) {
    Insert(db, 8000);  // comes to an end, though the store never comes back
  }
  db.faults().Heal();
  db.Sync();
  db.CheckHead();
}

// Nobody was told that the spool was full when it was a big commit that had no room in it.
TEST(SpoolPolicyTest, BlockHoldsTheCommitsAfterABigOneThatHasNoRoom) {
  ShippedDatabase::Options options = SmallSpool(WhenFull::kBlock);
  options.ship.commit_timeout = std::chrono::milliseconds(5);
  options.ship.spool_bytes = 200'000;
  ShippedDatabase db(options);
  StoreAway(db);
  ASSERT_OK_AND_ASSIGN(const auto shared, SharedBlock::Open(db.state_dir() + "/shared"));
  Insert(db, 100);
  while (db.engine().GetStatus(false).spool_bytes == 0) {
    std::this_thread::yield();
  }
  EXPECT_EQ((*shared)->full, 0u);
  Insert(db, 200'000);
  for (const uint64_t looks = db.engine().GetStatus(false).looks;
       db.engine().GetStatus(false).looks < looks + 6;) {
    std::this_thread::yield();
  }
  EXPECT_EQ((*shared)->full, 1u);
  db.faults().Heal();
  db.Note();
  db.Sync();
  EXPECT_EQ((*shared)->full, 0u);
  db.CheckNoted();
  db.CheckHead();
}

TEST(SpoolPolicyTest, BigCommitsDoNotPassTheSpoolsBound) {
  ShippedDatabase db(SmallSpool(WhenFull::kGrowWal));
  StoreAway(db);
  for (int i = 0; i < 10; ++i) {
    Insert(db, 200'000);  // more than a third of the memory: streamed
    EXPECT_LE(db.engine().GetStatus(false).spool_bytes, kSpool);
  }
  db.faults().Heal();
  db.Note();
  db.Sync();
  const EngineStatus status = db.engine().GetStatus(true);
  EXPECT_EQ(status.txid.value + status.merged_commits, 11u);
  db.CheckNoted();
  db.CheckHead();
}

TEST(SpoolPolicyTest, ACommitLargerThanTheSpoolGoesOutPieceByPiece) {
  ShippedDatabase::Options options = SmallSpool(WhenFull::kGrowWal);
  options.ship.spool_bytes = 10'000;
  ShippedDatabase db(options);
  db.Exec("create table t(id integer primary key, b)");
  db.Start();
  Insert(db, 9'000'000);  // three parts of 4 MiB
  db.Note();
  Insert(db, 60'000);
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.Stop();
  Insert(db, 9'000'000);
  db.Exec("pragma wal_checkpoint(truncate)");
  db.Start();
  db.Note();
  db.Sync();
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 1u);
  db.CheckNoted();
  db.CheckHead();
}

// What waits in the spool is not synced: a power loss leaves the part of a big commit torn, or
// without content, or gone, and the segment that names it whole. Shipped like that, no commit since
// could be restored.
TEST(SpoolPolicyTest, APartThatAPowerLossToreIsNotShippedWithItsSegment) {
  for (const char* damage : {"truncate -s 100", "truncate -s 0", "rm"}) {
    ShippedDatabase::Options options = SmallSpool(WhenFull::kGrowWal);
    options.ship.spool_bytes = 100 << 20;
    ShippedDatabase db(options);
    StoreAway(db);
    Insert(db, 5'000'000);
    Insert(db, 60'000);  // a segment's worth: cut though the store is away
    db.Now();
    while (db.engine().GetStatus(true).spool_bytes < 5'060'000) {
      std::this_thread::yield();
    }
    db.Abandon();
    ASSERT_TRUE(
        RunProgram({"/bin/sh", "-c",
                    "cd " + db.state_dir() + "/spool && f=$(ls | grep part | head -n 1) && " +
                        damage + " \"$f\""})
            .Succeeded());
    db.faults().Heal();
    db.Start();
    db.Note();
    db.Sync();
    db.CheckNoted();
    db.CheckHead();
  }
}

TEST(SpoolPolicyTest, AStoreThatIsFullOrReadOnlyIsWaitedFor) {
  for (StatusCode code : {StatusCode::kResourceExhausted, StatusCode::kPermissionDenied}) {
    ShippedDatabase db;
    db.Exec("create table t(id integer primary key, b)");
    db.Start();
    db.Sync();
    db.faults().FailAll(StoreOp::kPutIfAbsent, code);
    Insert(db, 100);
    const Txid txid = db.Note();
    EXPECT_STATUS(db.engine().Sync(std::chrono::milliseconds(20), nullptr),
                  StatusCode::kDeadlineExceeded);
    while (db.engine().GetStatus(false).state != EngineState::kStoreAway) {
      std::this_thread::yield();  // until the first try has failed
    }
    EXPECT_FALSE(db.engine().GetStatus(false).last_error.empty());
    db.faults().Heal();
    EXPECT_EQ(db.Sync(), txid);
    EXPECT_EQ(db.engine().GetStatus(false).state, EngineState::kShipping);
    db.CheckNoted();
  }
}

// Whoever waits for an answer that does not come is let go: else a close, or a fork of the
// application, would take as long as the store's own timeouts.
TEST(SpoolPolicyTest, AStoreThatHangsHoldsUpNeitherACloseNorAFork) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  db.Start();
  db.Sync();
  std::atomic<bool> hangs{false};
  db.faults().SetHook([&](StoreOp op, std::string_view, int) -> Status {
    if (op != StoreOp::kPutIfAbsent) {
      return Status::Ok();
    }
    hangs = true;
    hangs.notify_all();
    while (!CancelScope::Cancelled()) {
      std::this_thread::yield();
    }
    return CancelledError("no longer waited for");
  });
  db.Exec("insert into t values(1)");
  hangs.wait(false);
  db.engine().PrepareFork();  // returns
  hangs = false;  // while nobody uploads: the next try may hang before this thread goes on
  db.engine().ParentAfterFork();
  hangs.wait(false);
  EXPECT_STATUS(db.engine().Stop(std::chrono::milliseconds(1)), StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace sqlite_s3

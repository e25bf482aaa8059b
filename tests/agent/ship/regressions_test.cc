// Mechanisms that once gave, or in other products gave, a wrong restore, a lost commit or a hurt
// application; one test each, named after the mechanism.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <thread>

#include "agent/ship/spool.h"
#include "agent/ship/wal_capture.h"
#include "common/format/keys.h"
#include "common/os/file.h"
#include "common/sqlite/connection.h"
#include "tests/support/replayer.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

// A checkpoint with SQLITE_FCNTL_CHUNK_SIZE leaves a file of whole chunks. An emptied WAL's index
// still knows how large the database is: nothing differs, and nothing is to be shipped.
TEST(RegressionTest, PagesAChunkSizeAddedToTheFileAreNoneOfTheDatabase) {
  ShippedDatabase db;
  int chunk = 1 << 20;
  ASSERT_EQ(sqlite3_file_control(db.app().get(), "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk),
            SQLITE_OK);
  db.Exec("create table t(a)");
  db.Start();
  db.Exec("insert into t values(1)");
  const Txid shipped = db.Sync();
  db.Exec("pragma wal_checkpoint(truncate)");
  db.Stop();
  db.Start();
  EXPECT_EQ(db.Sync(), shipped);
  db.Exec("insert into t values(randomblob(9000))");
  db.Note();
  db.Sync();
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
  db.CheckNoted();
  db.CheckHead();
}

// A store that denies once what it has (a node that comes back, a proxy): its writer is no stranger
// to the replica for that, and what waits in the spool keeps its restore points.
TEST(RegressionTest, AStoreThatDeniesTheReplicaForAMomentMakesNoStrangerOfItsWriter) {
  for (bool lists : {true, false}) {
    ShippedDatabase db;
    db.Exec("create table t(a, b)");
    db.Start();
    db.Sync();
    if (lists) {
      db.faults().FailAll(StoreOp::kPutIfAbsent, StatusCode::kUnavailable);
      for (int i = 0; i < 3; ++i) {
        db.Exec("insert into t values(1, randomblob(700))");
        db.Note();
      }
    }
    db.Abandon();
    db.Exec("update t set b=randomblob(700); insert into t values(2, 3)");
    db.CloseApp();  // the WAL goes: only who we are says that we may append
    db.faults().Heal();
    db.faults().ResetCounts();
    db.faults().SetHook([lists](StoreOp op, std::string_view key, int n) {
      const bool denies = key == keys::Replica() && n == 1 &&
                          (op == StoreOp::kGet || (op == StoreOp::kList && !lists));
      return denies ? NotFoundError("no such key") : Status::Ok();
    });
    const Status started = db.TryStart();
    if (!started.ok()) {
      ASSERT_FALSE(lists);
      EXPECT_EQ(started.code(), StatusCode::kUnavailable) << started.ToString();
      db.Start();
    }
    db.Exec("insert into t values(4, 5)");
    db.Note();
    db.Sync();
    EXPECT_EQ(db.engine().GetStatus(true).timeline, 1u);
    db.CheckNoted();
    db.CheckHead();
  }
}

// A hook that captures after the session is opened and before its scan begins: the commit is in the
// scanned state already, and must not be applied to it a second time, with older pages.
TEST(RegressionTest, CommitsBetweenOpeningAndScanBelongToTheScan) {
  for (int round = 0; round < 10; ++round) {
    ShippedDatabase::Options options;
    options.checkpoint_pages = 1;  // every commit captures
    ShippedDatabase db(options);
    db.Exec("create table t(a, b); create table u(a, b)");
    db.Exec("insert into t values(1, 1); insert into u values(1, 1)");
    db.Start();
    for (int i = 0; i < 5; ++i) {
      db.Exec("update t set a=a+1");
      db.Exec("update u set a=a+1");
      db.Exec("update t set b=b+1");
    }
    db.Sync();
    db.CheckHead();
  }
}

// The cache of page versions counts as memory: when it alone filled the bound, nothing could be
// captured ever again, and the worker span.
TEST(RegressionTest, CacheOfPagesCannotStarveCapture) {
  ShippedDatabase::Options options;
  options.ship.memory_bytes = 48 << 10;
  ShippedDatabase db(options);
  db.Exec("create table t(a)");
  db.Start();
  for (int i = 0; i < 10; ++i) {
    db.Exec("insert into t values(randomblob(9000))");
    db.Note();
  }
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(RegressionTest, StopRightAfterStartStillFlushes) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  db.Start();
  db.Sync();
  db.faults().FailAll(StoreOp::kPutIfAbsent, StatusCode::kUnavailable);
  db.Exec("insert into t values(1)");
  db.Note();
  db.Abandon();
  db.faults().Heal();
  for (int i = 0; i < 5; ++i) {
    db.Start();
    db.Stop();  // fails the test when it says that something was left
    db.Exec("insert into t values(2)");
  }
  db.Start();
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

// A stop that came before the worker had seen the last commit said that all was shipped.
TEST(RegressionTest, AStopThatLeavesCommitsInTheWalSaysSo) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  for (int i = 0; i < 20; ++i) {
    db.Start();
    db.WaitForImage();
    db.Sync();
    Connection other = db.OpenAnother();
    sqlite3_wal_hook(other.get(), nullptr, nullptr);
    EXPECT_OK(other.Exec("insert into t values(1)"));
    const Status stopped = db.engine().Stop(std::chrono::milliseconds(0));
    if (stopped.ok()) {
      db.CheckHead();
    } else {
      EXPECT_STATUS(stopped, StatusCode::kDeadlineExceeded);
    }
  }
}

// A commit that adds pages between the end of the scan and the decision: they must get into the
// sum, or every later checksum is wrong and no image ever right. The window is small, so many
// starts.
TEST(RegressionTest, PagesAddedAfterTheScansEndAreScanned) {
#if defined(__SANITIZE_THREAD__)
  constexpr int kCommits = 100;
#else
  constexpr int kCommits = 500;
#endif
  for (int round = 0; round < 40; ++round) {
    ShippedDatabase db;
    db.Exec("create table t(a)");
    std::atomic<bool> enough{false};
    Connection other = db.OpenAnother();
    std::thread writer([&] {
      // Not without end: nothing holds this connection back, and an engine under a race detector is
      // slower than it.
      for (int i = 0; i < kCommits && !enough; ++i) {
        (void)other.Exec("insert into t values(zeroblob(20000))");
      }
    });
    const Status started = db.TryStart();
    const Status synced =
        started.ok() ? db.engine().Sync(std::chrono::milliseconds(60'000), nullptr) : started;
    enough = true;
    writer.join();
    ASSERT_OK(synced);
    db.Sync();
    db.CheckHead();
  }
}

// "It exists" was taken for an earlier try of ours: the image lacked a part and nothing could be
// restored.
TEST(RegressionTest, AnImagePartThatTheStoreOnlySaysItHasIsSentAgain) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  std::atomic<bool> lied{false};
  db.faults().SetHook([&](StoreOp op, std::string_view key, int) -> Status {
    const bool part = key.find("/image/") != key.npos && key.ends_with(".part");
    return op == StoreOp::kPutIfAbsent && part && !lied.exchange(true) ? AlreadyExistsError("a lie")
                                                                       : Status::Ok();
  });
  db.Start();
  db.Note();
  db.Sync();
  EXPECT_TRUE(lied);
  db.CheckNoted();
}

// An item whose file could not be removed was forgotten, and who waited for it waited for ever.
TEST(RegressionTest, ASpooledItemWhoseFileCannotBeRemovedIsNotForgotten) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(auto spool, Spool::Open(dir.File("spool")));
  SpoolItem item;
  item.key = "00000001/log/0000000000000001.seg";
  ASSERT_OK(spool->Push(item, Bytes(10)));
  ASSERT_OK_AND_ASSIGN(auto names, ListDirectory(dir.File("spool")));
  ASSERT_EQ(names.size(), 1u);
  const std::string file = dir.File("spool/") + names[0];
  ASSERT_OK(RemoveFile(file));
  ASSERT_OK(MakeDirectories(file, 0700, Durability::kVisible));  // which unlink() refuses
  EXPECT_FALSE(spool->Pop().ok());
  EXPECT_EQ(spool->size(), 1u);
  EXPECT_EQ(spool->bytes(), 10u);
  ASSERT_EQ(rmdir(file.c_str()), 0);
  EXPECT_OK(spool->Pop());
  EXPECT_EQ(spool->size(), 0u);
}

TEST(RegressionTest, TemporaryFilesOfKilledProcessesDoNotPileUpInTheStateDirectory) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  db.Start();
  db.Sync();
  db.Stop();
  const std::string left = db.state_dir() + "/.identity.tmp-0123456789abcdef";
  ASSERT_OK(WriteFileAtomically(left, AsBytes("{"), 0600, Durability::kVisible));
  db.Start();
  db.Sync();
  ASSERT_OK_AND_ASSIGN(bool there, FileExists(left));
  EXPECT_FALSE(there);
}

// Memory that ran out in a thread of ours ended the application: nothing caught it.
TEST(RegressionTest, MemoryThatRunsOutInAThreadOfOursIsNotTheApplicationsEnd) {
  ShippedDatabase db;
  const auto application = std::this_thread::get_id();
  std::atomic<int> left{0};
  const auto throw_once = [&](StoreOp op, std::string_view folder) {
    left = 1;
    db.faults().SetHook([&, op, folder](StoreOp called, std::string_view key, int) -> Status {
      if (called == op && key.find(folder) != key.npos &&
          std::this_thread::get_id() != application && left > 0) {
        --left;
        throw std::bad_alloc();
      }
      return Status::Ok();
    });
  };
  db.Exec("create table t(a)");
  throw_once(StoreOp::kPutIfAbsent, "/log/");
  db.Start();  // the uploader
  db.WaitForImage();
  db.Note();
  EXPECT_EQ(left, 0);
  throw_once(StoreOp::kPutIfAbsent, "/image/");
  db.Exec("insert into t values(1)");
  while (left > 0) {
    (void)db.engine().MakeImage(std::chrono::milliseconds(10));
  }
  db.Note();
  db.Stop();
  db.Exec("insert into t values(2)");
  db.CloseApp();  // the WAL goes with it, so that the worker has to look into the log
  throw_once(StoreOp::kList, "/log");
  db.Start();
  db.Note();
  EXPECT_EQ(left, 0);
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

}  // namespace
}  // namespace sqlite_s3

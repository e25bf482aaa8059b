// Mechanisms that once gave, or in other products gave, a wrong restore, a lost commit or a hurt
// application; one test each, named after the mechanism.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/support/replayer.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

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

// A commit that adds pages between the end of the scan and the decision: they must get into the
// sum, or every later checksum is wrong and no image ever right. The window is small, so many
// starts.
TEST(RegressionTest, PagesAddedAfterTheScansEndAreScanned) {
  for (int round = 0; round < 40; ++round) {
    ShippedDatabase db;
    db.Exec("create table t(a)");
    std::atomic<bool> enough{false};
    Connection other = db.OpenAnother();
    std::thread writer([&] {
      while (!enough) {
        (void)other.Exec("insert into t values(zeroblob(20000))");
      }
    });
    const Status started = db.TryStart();
    const Status synced =
        started.ok() ? db.engine().Sync(std::chrono::milliseconds(20'000), nullptr) : started;
    enough = true;
    writer.join();
    ASSERT_OK(synced);
    db.Sync();
    db.CheckHead();
  }
}

}  // namespace
}  // namespace sqlite_s3

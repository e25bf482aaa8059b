// The engine's main job: every commit is a restore point with exactly its bytes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/replayer.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

TEST(EngineTest, EveryCommitIsARestorePoint) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, a text, b blob); create index i on t(a)");
  db.Start();
  db.Note();
  for (int i = 0; i < 50; ++i) {
    db.Exec("insert into t(a, b) values('row " + std::to_string(i) + "', randomblob(300))");
    db.Note();
  }
  db.Exec("delete from t where id % 3 = 0");
  db.Note();
  EXPECT_GE(db.noted(), 52u);
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(EngineTest, RestartAfterCleanStopShipsNothingAndGoesOn) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  db.Start();
  db.Exec("insert into t values(1)");
  db.Note();
  db.Stop();
  db.Start();
  Txid before = db.Sync();
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
  db.Exec("insert into t values(2)");
  EXPECT_EQ(db.Note(), before.Next());
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(EngineTest, CommitsOfAKilledProcessKeepTheirRestorePoints) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  db.Start();
  db.Exec("insert into t values(1)");
  Txid shipped = db.Sync();
  db.WaitForImage();
  db.faults().FailEverything(StatusCode::kUnavailable, FaultWhen::kBeforeEffect);
  db.Exec("insert into t values(2)");
  db.Note();
  db.Exec("insert into t values(3)");
  Txid last = db.Note();
  EXPECT_EQ(last.value, shipped.value + 2);
  db.Abandon();
  db.faults().Heal();
  db.Start();
  db.Sync();
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 0u);
  db.CheckNoted();
  db.CheckHead();
}

TEST(EngineTest, CommitsMadeWhileAwayBecomeOneResync) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, b blob)");
  db.Exec(
      "with recursive n(i) as (select 1 union all select i+1 from n where i<2000) "
      "insert into t select i, randomblob(100) from n");
  db.Start();
  db.Note();
  db.Stop();
  db.Exec("update t set b=randomblob(100) where id=7");
  db.Exec("delete from t where id>1500");
  db.Exec("pragma wal_checkpoint(truncate)");
  db.Exec("insert into t(b) values('back')");
  db.Start();
  db.Note();
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 1u);
  db.Exec("insert into t(b) values('on')");
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(EngineTest, AMovedDatabaseIsKnownByACommitInItsWal) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, b blob)");
  db.Exec("insert into t values(1, randomblob(9000))");
  db.Start();
  db.Exec("insert into t values(2, randomblob(9000))");
  db.Sync();
  db.WaitForImage();
  db.Abandon();
  // The state directory is lost, and the application went on a little.
  ASSERT_EQ(std::system(("rm -r " + db.state_dir()).c_str()), 0);
  db.Exec("insert into t values(3, randomblob(5000))");
  db.Exec("delete from t where id=1");
  db.Start();
  db.Note();
  EXPECT_EQ(db.engine().GetStatus(true).resyncs, 1u);
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(EngineTest, AnUnknownDatabaseIsRefusedAndUnharmed) {
  ShippedDatabase db;
  db.Exec("create table t(a)");
  db.Start();
  db.Sync();
  db.Stop();
  ShippedDatabase other;
  other.Exec("create table u(a)");
  other.UseStore(db.store());
  Status status = other.TryStart();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), testing::HasSubstr("on_conflict=fork"));
  other.Exec("insert into u values(1)");
  db.CheckHead();
}

}  // namespace
}  // namespace sqlite_s3

// Mechanisms that once gave, or in other products gave, a wrong restore, a lost commit or a hurt
// application; one test each, named after the mechanism.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "agent/ship/wal_capture.h"
#include "common/sqlite/connection.h"
#include "tests/support/replayer.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

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

// Hands nothing over and keeps nothing.
class ForgetfulSink : public CaptureSink {
 public:
  void OnCapturedCommit(CapturedCommit) override {}
  int64_t CommitTime(uint32_t, bool* upper_bound) override {
    *upper_bound = true;
    return 0;
  }
  bool WantsBases() override { return false; }
  bool WantsPrevious(PageNumber) override { return false; }
  void SetAside(PageNumber, PagePtr) override {}
  bool MustHoldPin() override { return false; }
  void OnShrink(uint32_t, uint32_t) override {}
  bool HasRoom() override { return true; }
};

// After a complete checkpoint the pin does not keep the next writer from starting the WAL anew. An
// image that then read a page where it was in the WAL got another page, or half of one.
TEST(RegressionTest, PagesAsCapturedWhileTheNextWriterOverwritesTheWal) {
  TempDir dir;
  const std::string path = dir.path() + "/app.db";
  auto opened = Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000);
  ASSERT_OK(opened.status());
  Connection app = std::move(opened).value();
  ASSERT_OK(app.Exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0"));
  ASSERT_OK(app.Exec("create table t(id integer primary key, b)"));
  MemoryAccount account;
  WalCapture::Config config;
  config.database_path = path;
  config.account = &account;
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, WalCapture::Open(config, std::nullopt));
  ForgetfulSink sink;
  ASSERT_OK(app.Exec("insert into t values(1, zeroblob(30000)), (2, randomblob(30000))"));
  ASSERT_OK(capture->Capture(sink, UINT32_MAX).status());
  std::vector<Bytes> as_captured;
  for (PageNumber page = 1; page <= capture->page_count(); ++page) {
    Bytes& bytes = as_captured.emplace_back(capture->page_size());
    ASSERT_OK(capture->ReadPage(page, bytes));
  }
  ASSERT_OK_AND_ASSIGN(CheckpointOutcome room, capture->MakeRoom(sink));
  ASSERT_TRUE(room.complete);
  for (const char* next :
       {"update t set b=randomblob(20000) where id=1", "PRAGMA user_version=5", "delete from t"}) {
    ASSERT_OK(app.Exec(next));
    ASSERT_TRUE(capture->HasPending());
    for (PageNumber page = 1; page <= capture->page_count(); ++page) {
      Bytes bytes(capture->page_size());
      ASSERT_OK(capture->ReadPage(page, bytes));
      ASSERT_TRUE(bytes == as_captured[page - 1]) << "page " << page << " after " << next;
    }
  }
}

}  // namespace
}  // namespace sqlite_s3

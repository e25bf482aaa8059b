// While the pin is aside, for a checkpoint that waits for its slot: nothing is missed, or it is
// said.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "agent/ship/wal_capture.h"
#include "common/sqlite/connection.h"
#include "tests/agent/ship/capture_fixture.h"
#include "tests/support/capture_sinks.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using PinAsideTest = CaptureFixture;

// Once, when StepAside of a capture that is watched has let go of the pin.
void WhenPinIsGivenUp(std::function<void()> run) { WhenStatementEnds("ROLLBACK", std::move(run)); }

// Until the WAL is reset no slot is without a mark: then nothing keeps the WAL while the pin is
// aside. Commits four times to `t`.
void MarkEverySlot(Connection& app, const std::string& path) {
  std::vector<Connection> readers;
  for (int i = 0; i < 4; ++i) {
    EXPECT_OK(app.Exec("insert into t values(0)"));
    auto reader = Connection::Open(path, SQLITE_OPEN_READWRITE, "", 0);
    ASSERT_OK(reader);
    EXPECT_OK(reader->Exec("begin; select * from t"));
    readers.push_back(std::move(*reader));
  }
}

// Whoever steps aside for a checkpoint has no pin for a moment. Commits that come and go with the
// WAL in that moment would be missing from what is shipped.
TEST_F(PinAsideTest, CommitsThatAResetTookWhileThePinWasAsideAreMissed) {
  struct Case {
    const char* meanwhile;
    bool lost;
  };
  for (const Case& c :
       {Case{"insert into t values(2); PRAGMA wal_checkpoint(TRUNCATE); insert into t values(3)",
             true},
        Case{"insert into t values(2); PRAGMA wal_checkpoint(RESTART); insert into t values(3)",
             true},
        Case{"insert into t values(2); PRAGMA wal_checkpoint(TRUNCATE)", true},
        Case{"PRAGMA wal_checkpoint(TRUNCATE)", false}, Case{"insert into t values(2)", false},
        Case{"insert into t values(2); PRAGMA wal_checkpoint(FULL)", false}}) {
    SCOPED_TRACE(c.meanwhile);
    ASSERT_OK(app.Exec("drop table if exists t; create table t(a)"));
    ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, OpenWatched(config));
    KeepingSink sink;
    MarkEverySlot(app, path);
    WhenPinIsGivenUp([&] { EXPECT_OK(app.Exec(c.meanwhile)); });
    const auto stepped = capture->StepAside(sink, std::chrono::milliseconds(1));
    EXPECT_FALSE(StatementIsAwaited());
    if (c.lost) {
      EXPECT_STATUS(stepped, StatusCode::kCorruption);
      EXPECT_STATUS(capture->Capture(sink, UINT32_MAX), StatusCode::kCorruption);
      EXPECT_STATUS(capture->MovePin(sink), StatusCode::kCorruption);
      EXPECT_EQ(sink.commits.size(), 4u);
      continue;
    }
    EXPECT_OK(stepped);
    ASSERT_OK(app.Exec("insert into t values(4)"));
    EXPECT_OK(capture->Capture(sink, UINT32_MAX));
    ASSERT_OK_AND_ASSIGN(int64_t rows, app.QueryInt("select count(*) from t"));
    EXPECT_EQ(sink.commits.size(), static_cast<size_t>(rows));
  }
}

// A checkpoint that was let through has put everything into the file, and the writer that comes
// next resets the WAL, before a thread of ours without a core looks again.
TEST_F(PinAsideTest, TheWalIsNotResetWhileThePinIsAside) {
  ASSERT_OK(app.Exec("create table t(a); PRAGMA wal_checkpoint(TRUNCATE)"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, OpenWatched(config));
  KeepingSink sink;
  ASSERT_OK(app.Exec("insert into t values(1)"));
  ASSERT_OK(capture->MovePin(sink));
  WhenPinIsGivenUp([&] {
    EXPECT_OK(
        app.Exec("insert into t values(2); PRAGMA wal_checkpoint(FULL); "
                 "insert into t values(3); PRAGMA wal_checkpoint(FULL)"));
    EXPECT_EQ(capture->index().BackfilledFrames(), capture->index().PeekMaxFrame());
    EXPECT_OK(app.Exec("insert into t values(4)"));
  });
  ASSERT_OK(capture->StepAside(sink, std::chrono::milliseconds(1)));
  EXPECT_FALSE(StatementIsAwaited());
  EXPECT_EQ(sink.commits.size(), 4u);
  // Afterwards nothing of it is left.
  ASSERT_OK(capture->MovePin(sink));
  ASSERT_OK_AND_ASSIGN(int64_t busy, app.QueryInt("PRAGMA wal_checkpoint(FULL)"));
  EXPECT_EQ(busy, 0);
  const uint32_t salt = capture->index().PeekSalt1();
  ASSERT_OK(capture->MovePin(sink));
  ASSERT_OK(app.Exec("insert into t values(5)"));
  EXPECT_NE(capture->index().PeekSalt1(), salt);
  ASSERT_OK(capture->Capture(sink, UINT32_MAX));
  EXPECT_EQ(sink.commits.size(), 5u);
}

// While the pin is aside, a checkpoint may put a commit into the file that is not captured yet: its
// pages there are no bases of its own.
TEST_F(PinAsideTest, CommitBackfilledWhileThePinWasAsideHasNoBasesFromTheFile) {
  ASSERT_OK(
      app.Exec("create table t(a); create table u(a); insert into u values(1);"
               "PRAGMA wal_checkpoint(TRUNCATE)"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, OpenWatched(config));
  std::vector<Bytes> before;
  for (PageNumber page = 1; page <= capture->page_count(); ++page) {
    ASSERT_OK(capture->ReadPage(page, before.emplace_back(capture->page_size())));
  }
  KeepingSink sink;
  ASSERT_OK(app.Exec("insert into t values(1)"));
  WhenPinIsGivenUp([&] { EXPECT_OK(app.Exec("update u set a = 2; PRAGMA wal_checkpoint(FULL)")); });
  ASSERT_OK(capture->StepAside(sink, std::chrono::milliseconds(1)));
  ASSERT_EQ(sink.commits.size(), 2u);
  for (const CapturedPage& page : sink.commits[1].pages) {
    if (page.base) {
      const ByteSpan base = page.base.bytes();
      EXPECT_TRUE(std::equal(base.begin(), base.end(), before.at(page.number - 1).begin()));
    }
  }
  // The pin is unbroken again.
  ASSERT_OK(app.Exec("update u set a = 3"));
  ASSERT_OK(capture->Capture(sink, UINT32_MAX));
  ASSERT_EQ(sink.commits.size(), 3u);
  EXPECT_FALSE(sink.commits[2].whole_pages);
}

class FullSink : public KeepingSink {
 public:
  bool HasRoom() override { return has_room; }
  bool has_room = true;
};

// All that came while the pin was aside is in the file, so the new pin is on slot 0, where it does
// not keep the next writer from the WAL; and there was no memory to capture it.
TEST_F(PinAsideTest, CommitNotCapturedBeforeTheWalIsResetUnderAPinThatWasAsideIsMissed) {
  ASSERT_OK(app.Exec("create table t(a); PRAGMA wal_checkpoint(TRUNCATE)"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, OpenWatched(config));
  FullSink sink;
  ASSERT_OK(app.Exec("insert into t values(1)"));
  WhenPinIsGivenUp([&] {
    EXPECT_OK(app.Exec("insert into t values(2); PRAGMA wal_checkpoint(FULL)"));
    sink.has_room = false;
  });
  ASSERT_OK_AND_ASSIGN(CaptureOutcome outcome,
                       capture->StepAside(sink, std::chrono::milliseconds(1)));
  ASSERT_EQ(outcome, CaptureOutcome::kNoRoom);
  const uint32_t salt = capture->index().PeekSalt1();
  ASSERT_OK(app.Exec("insert into t values(3)"));
  ASSERT_NE(capture->index().PeekSalt1(), salt);
  sink.has_room = true;
  EXPECT_STATUS(capture->Capture(sink, UINT32_MAX), StatusCode::kCorruption);
}

// A recovery counts commits from zero, so that after as many as before it the count says nothing.
TEST_F(PinAsideTest, ResetAfterARecoveryWhileThePinWasAsideIsNoticed) {
  ASSERT_OK(app.Exec("create table t(a); insert into t values(0)"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, OpenWatched(config));
  KeepingSink sink;
  MarkEverySlot(app, path);
  const auto before = capture->index().ReadHeader();
  ASSERT_TRUE(before);
  ASSERT_GE(before->change, 2u);
  WhenPinIsGivenUp([&] {
    const pid_t child = fork();  // to close the file here would drop SQLite's locks
    if (child == 0) {
      const int shm = open((path + "-shm").c_str(), O_RDWR | O_CLOEXEC);
      const char torn[16] = {1};
      _exit(shm >= 0 && pwrite(shm, torn, sizeof(torn), 0) == sizeof(torn) ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    EXPECT_OK(app.Exec("insert into t values(1); PRAGMA wal_checkpoint(TRUNCATE)"));
    while (capture->index().ReadHeader()->change < before->change) {
      ASSERT_OK(app.Exec("insert into t values(2)"));
    }
    ASSERT_EQ(capture->index().ReadHeader()->change, before->change);
  });
  EXPECT_STATUS(capture->StepAside(sink, std::chrono::milliseconds(1)), StatusCode::kCorruption);
  EXPECT_FALSE(StatementIsAwaited());
}

}  // namespace
}  // namespace sqlite_s3

// Mechanisms of reading the WAL that once gave wrong pages or an end of the shipping; one test
// each, named after the mechanism.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/ship/wal_capture.h"
#include "common/os/file.h"
#include "common/sqlite/connection.h"
#include "tests/support/capture_sinks.h"
#include "tests/support/run_program.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

class CaptureRegressionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(
        app, Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000));
    ASSERT_OK(app.Exec("PRAGMA journal_mode=WAL"));
    config.database_path = path;
    config.account = &account;
  }

  TempDir dir;
  const std::string path = dir.path() + "/app.db";
  Connection app;
  MemoryAccount account;
  WalCapture::Config config;
};

// After a complete checkpoint the pin does not keep the next writer from starting the WAL anew. An
// image that then read a page where it was in the WAL got another page, or half of one.
TEST_F(CaptureRegressionTest, PagesAsCapturedWhileTheNextWriterOverwritesTheWal) {
  ASSERT_OK(app.Exec("PRAGMA wal_autocheckpoint=0; create table t(id integer primary key, b)"));
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

// A tail that a checkpoint had put into the file while nobody captured is no reason for SQLite to
// keep it in the WAL. The version of a page that a big commit there had left was read from its
// frame, which by then belonged to another page, and became the base of the page's next version.
TEST_F(CaptureRegressionTest, AWalStartedAnewUnderABigCommitOfTheTailSpoilsNoBase) {
  ASSERT_OK(app.Exec("PRAGMA wal_autocheckpoint=0; create table t(id integer primary key, b)"));
  ASSERT_OK(app.Exec("insert into t values(1, randomblob(3000)), (2, randomblob(30000))"));
  ASSERT_OK(app.Exec("create table u(b); insert into u values(randomblob(200000))"));
  KeepingSink sink;
  config.big_commit_bytes = 16 << 10;
  ASSERT_OK(app.Exec("PRAGMA wal_checkpoint(PASSIVE)"));
  ASSERT_OK(app.Exec("update t set b=randomblob(3000) where id=1"));  // starts the WAL anew: short
  WalPosition place;
  {
    ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
    place = capture->position();
  }
  ASSERT_OK(app.Exec("update t set b=randomblob(3000) where id=1"));
  ASSERT_OK(app.Exec("update t set b=randomblob(length(b))"));
  ASSERT_OK(app.Exec("PRAGMA wal_checkpoint(PASSIVE)"));
  std::vector<Bytes> as_committed;
  {
    ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
    for (PageNumber page = 1; page <= capture->page_count(); ++page) {
      ASSERT_OK(capture->ReadPage(page, as_committed.emplace_back(capture->page_size())));
    }
  }
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, place));
  ASSERT_TRUE(capture->resumed());
  ASSERT_OK_AND_ASSIGN(CaptureOutcome outcome, capture->Capture(sink, UINT32_MAX));
  ASSERT_EQ(outcome, CaptureOutcome::kBigCommit);
  ASSERT_OK(app.Exec("update u set b=randomblob(length(b))"));  // over the frames from the first
  capture->FinishBigCommit(sink);
  sink.commits.clear();
  ASSERT_OK(app.Exec("update t set b=randomblob(3000) where id=1"));
  for (;;) {
    ASSERT_OK_AND_ASSIGN(outcome, capture->Capture(sink, UINT32_MAX));
    if (outcome == CaptureOutcome::kCaughtUp) {
      break;
    }
    ASSERT_EQ(outcome, CaptureOutcome::kBigCommit);
    capture->FinishBigCommit(sink);
  }
  ASSERT_EQ(sink.commits.size(), 1u);
  for (const CapturedPage& page : sink.commits[0].pages) {
    ASSERT_TRUE(page.base);
    EXPECT_TRUE(std::ranges::equal(page.base.bytes(), as_committed[page.number - 1]))
        << "base of page " << page.number;
  }
}

// A capture that an error ends within a commit has taken some of its frames into the running
// checksum, and perhaps some of its pages into what is "as captured": going on would take the new
// version of a page for its base.
TEST_F(CaptureRegressionTest, ACaptureThatEndedWithinACommitIsNotGoneOnWith) {
  struct ThrowingSink : KeepingSink {
    void OnCapturedCommit(CapturedCommit) override { throw std::bad_alloc(); }
  };
  ASSERT_OK(app.Exec("create table t(a)"));
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  ASSERT_OK(app.Exec("insert into t values(1)"));
  ThrowingSink throwing;
  EXPECT_THROW((void)capture->Capture(throwing, UINT32_MAX), std::bad_alloc);
  ASSERT_OK(app.Exec("insert into t values(2)"));
  KeepingSink sink;
  EXPECT_STATUS(capture->Capture(sink, UINT32_MAX), StatusCode::kCorruption);
  EXPECT_TRUE(sink.commits.empty());
}

// Another process that recovers the wal-index keeps readers out for as long as the WAL is long.
// That ended the shipping for good, as if the database had been locked EXCLUSIVE.
TEST_F(CaptureRegressionTest, ARecoveryByAnotherProcessIsWaitedFor) {
  ASSERT_OK(app.Exec("create table t(a)"));
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  KeepingSink sink;
  ASSERT_OK(app.Exec("insert into t values(1)"));
  int ready[2], done[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // The locks of a writer and of a recovery (wal.c and os_unix.c: bytes 120 and 122), and a
    // header whose copies differ, as a process killed between them leaves it.
    const int shm = open((path + "-shm").c_str(), O_RDWR);
    char byte = 0;
    bool ok = pread(shm, &byte, 1, 20) == 1;
    for (off_t at : {120, 122}) {
      struct flock lock {};
      lock.l_type = F_WRLCK;
      lock.l_whence = SEEK_SET;
      lock.l_start = at;
      lock.l_len = 1;
      ok = ok && fcntl(shm, F_SETLK, &lock) == 0;
    }
    const char other = static_cast<char>(byte + 1);
    ok = ok && pwrite(shm, &other, 1, 20) == 1;
    ok = write(ready[1], ok ? "y" : "n", 1) == 1 && ok;
    char answer = 0;
    ok = ok && read(done[0], &answer, 1) == 1 && pwrite(shm, &byte, 1, 20) == 1;
    _exit(ok ? 0 : 1);
  }
  char answer = 'n';
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  EXPECT_STATUS(capture->MovePin(sink), StatusCode::kUnavailable);
  ASSERT_EQ(write(done[1], "x", 1), 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_OK(capture->MovePin(sink));
  EXPECT_EQ(sink.commits.size(), 1u);
  for (int fd : {ready[0], ready[1], done[0], done[1]}) {
    close(fd);
  }
}

std::function<void()> when_pin_is_given_up;

int WatchRollbacks(sqlite3* db, char**, const sqlite3_api_routines*) {
  return sqlite3_trace_v2(
      db, SQLITE_TRACE_PROFILE,
      [](unsigned, void*, void* statement, void*) {
        const char* sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
        if (sql != nullptr && std::string_view(sql) == "ROLLBACK" && when_pin_is_given_up) {
          std::exchange(when_pin_is_given_up, nullptr)();
        }
        return 0;
      },
      nullptr);
}

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
TEST_F(CaptureRegressionTest, CommitsThatAResetTookWhileThePinWasAsideAreMissed) {
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
    auto watch = reinterpret_cast<void (*)()>(WatchRollbacks);
    ASSERT_EQ(sqlite3_auto_extension(watch), SQLITE_OK);
    auto capture = WalCapture::Open(config, std::nullopt);
    sqlite3_cancel_auto_extension(watch);
    ASSERT_OK(capture.status());
    KeepingSink sink;
    MarkEverySlot(app, path);
    when_pin_is_given_up = [&] { EXPECT_OK(app.Exec(c.meanwhile)); };
    const auto stepped = (*capture)->StepAside(sink, std::chrono::milliseconds(1));
    EXPECT_FALSE(when_pin_is_given_up);
    if (c.lost) {
      EXPECT_STATUS(stepped, StatusCode::kCorruption);
      EXPECT_STATUS((*capture)->Capture(sink, UINT32_MAX), StatusCode::kCorruption);
      EXPECT_STATUS((*capture)->MovePin(sink), StatusCode::kCorruption);
      EXPECT_EQ(sink.commits.size(), 4u);
      continue;
    }
    EXPECT_OK(stepped);
    ASSERT_OK(app.Exec("insert into t values(4)"));
    EXPECT_OK((*capture)->Capture(sink, UINT32_MAX));
    ASSERT_OK_AND_ASSIGN(int64_t rows, app.QueryInt("select count(*) from t"));
    EXPECT_EQ(sink.commits.size(), static_cast<size_t>(rows));
  }
}

// A capture whose StepAside calls `when_pin_is_given_up`.
Result<std::unique_ptr<WalCapture>> OpenWatched(const WalCapture::Config& config) {
  auto watch = reinterpret_cast<void (*)()>(WatchRollbacks);
  (void)sqlite3_auto_extension(watch);
  auto capture = WalCapture::Open(config, std::nullopt);
  sqlite3_cancel_auto_extension(watch);
  return capture;
}

// A checkpoint that was let through has put everything into the file, and the writer that comes
// next resets the WAL, before a thread of ours without a core looks again.
TEST_F(CaptureRegressionTest, TheWalIsNotResetWhileThePinIsAside) {
  ASSERT_OK(app.Exec("create table t(a); PRAGMA wal_checkpoint(TRUNCATE)"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, OpenWatched(config));
  KeepingSink sink;
  ASSERT_OK(app.Exec("insert into t values(1)"));
  ASSERT_OK(capture->MovePin(sink));
  when_pin_is_given_up = [&] {
    EXPECT_OK(
        app.Exec("insert into t values(2); PRAGMA wal_checkpoint(FULL); "
                 "insert into t values(3); PRAGMA wal_checkpoint(FULL)"));
    EXPECT_EQ(capture->index().BackfilledFrames(), capture->index().PeekMaxFrame());
    EXPECT_OK(app.Exec("insert into t values(4)"));
  };
  ASSERT_OK(capture->StepAside(sink, std::chrono::milliseconds(1)));
  EXPECT_FALSE(when_pin_is_given_up);
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
TEST_F(CaptureRegressionTest, CommitBackfilledWhileThePinWasAsideHasNoBasesFromTheFile) {
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
  when_pin_is_given_up = [&] {
    EXPECT_OK(app.Exec("update u set a = 2; PRAGMA wal_checkpoint(FULL)"));
  };
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
TEST_F(CaptureRegressionTest, CommitNotCapturedBeforeTheWalIsResetUnderAPinThatWasAsideIsMissed) {
  ASSERT_OK(app.Exec("create table t(a); PRAGMA wal_checkpoint(TRUNCATE)"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, OpenWatched(config));
  FullSink sink;
  ASSERT_OK(app.Exec("insert into t values(1)"));
  when_pin_is_given_up = [&] {
    EXPECT_OK(app.Exec("insert into t values(2); PRAGMA wal_checkpoint(FULL)"));
    sink.has_room = false;
  };
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
TEST_F(CaptureRegressionTest, ResetAfterARecoveryWhileThePinWasAsideIsNoticed) {
  ASSERT_OK(app.Exec("create table t(a); insert into t values(0)"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<WalCapture> capture, OpenWatched(config));
  KeepingSink sink;
  MarkEverySlot(app, path);
  const auto before = capture->index().ReadHeader();
  ASSERT_TRUE(before);
  ASSERT_GE(before->change, 2u);
  when_pin_is_given_up = [&] {
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
  };
  EXPECT_STATUS(capture->StepAside(sink, std::chrono::milliseconds(1)), StatusCode::kCorruption);
  EXPECT_FALSE(when_pin_is_given_up);
}

// cp puts another file's content under the name, inode and locks of one that is shipped. Nothing in
// the WAL tells, and whatever was shipped then was of a database that nobody had.
TEST_F(CaptureRegressionTest, AFileThatIsWrittenBehindSqlitesBackIsNoticedOnce) {
  ASSERT_OK(app.Exec("create table t(b); insert into t values(zeroblob(9000))"));
  // By another process: closing the file here would drop SQLite's locks.
  const auto in_shell = [this](const std::string& command) {
    return RunProgram({"/bin/sh", "-c", command, path}).Succeeded();
  };
  ASSERT_TRUE(in_shell("touch -d 2001-01-01 \"$0\""));
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  EXPECT_OK(capture->CheckFilesInPlace());
  ASSERT_TRUE(in_shell("printf x | dd conv=notrunc bs=1 seek=9000 status=none of=\"$0\""));
  EXPECT_STATUS(capture->CheckFilesInPlace(), StatusCode::kCorruption);
  EXPECT_OK(capture->CheckFilesInPlace());
}

// The application's first commit onto such a file begins the WAL anew: its checkpoints seemed to be
// why the file was not what it had been.
TEST_F(CaptureRegressionTest, AWalThatIsBegunAnewDoesNotHideAWriteBehindSqlitesBack) {
  ASSERT_OK(app.Exec("create table t(b); insert into t values(zeroblob(9000))"));
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  ForgetfulSink sink;
  ASSERT_OK_AND_ASSIGN(const CheckpointOutcome room, capture->MakeRoom(sink));
  ASSERT_TRUE(room.complete);
  EXPECT_OK(capture->CheckFilesInPlace());
  ASSERT_TRUE(RunProgram({"/bin/sh", "-c", "touch -d 2001-01-01 \"$0\"", path}).Succeeded());
  ASSERT_OK(app.Exec("insert into t values(1)"));
  EXPECT_STATUS(capture->Capture(sink, UINT32_MAX), StatusCode::kCorruption);
  EXPECT_EQ(capture->wal_resets(), 1U);
}

TEST_F(CaptureRegressionTest, WhatCheckpointsWriteToTheFileIsNotTakenForSomebodyElses) {
  ASSERT_OK(app.Exec("PRAGMA wal_autocheckpoint=0; create table t(b)"));
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  ASSERT_OK_AND_ASSIGN(Connection reader, Connection::Open(path, SQLITE_OPEN_READWRITE, "", 0));
  ForgetfulSink sink;
  for (int round = 0; round < 20; ++round) {
    ASSERT_OK(app.Exec("insert into t values(randomblob(9000))"));
    if (round % 3 == 0) {  // one that must stop half-way
      ASSERT_OK(reader.Exec("BEGIN; SELECT count(*) FROM t"));
    }
    ASSERT_OK(app.Exec("update t set b=randomblob(9000)"));
    ASSERT_OK(capture->MovePin(sink).status());
    ASSERT_OK(app.Exec("PRAGMA wal_checkpoint(PASSIVE)"));
    EXPECT_OK(capture->CheckFilesInPlace());
    if (round % 3 == 0) {
      ASSERT_OK(reader.Exec("END"));
    }
    ASSERT_OK(capture->MakeRoom(sink).status());
    EXPECT_OK(capture->CheckFilesInPlace());
  }
}

}  // namespace
}  // namespace sqlite_s3

// Mechanisms of reading the WAL that once gave wrong pages or an end of the shipping; one test
// each, named after the mechanism.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "agent/ship/wal_capture.h"
#include "common/os/file.h"
#include "common/sqlite/connection.h"
#include "tests/agent/ship/capture_fixture.h"
#include "tests/support/capture_sinks.h"
#include "tests/support/file_intercept.h"
#include "tests/support/run_program.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using CaptureRegressionTest = CaptureFixture;

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

// Where an opening capture has its pin, and has yet to read the WAL.
constexpr const char* kPinned = "PRAGMA page_size";
// Before its pin.
constexpr const char* kConnected = "PRAGMA mmap_size=0";

// A writer that loses its core between the two copies of the wal-index's header was taken for a
// recovery that has no end: the start of an application failed.
TEST_F(CaptureRegressionTest, AWriterThatStandsBetweenTheCopiesOfTheHeaderIsWaitedFor) {
  ASSERT_OK(app.Exec("create table t(a)"));
  const auto change_one_copy = [this](char by) {
    const pid_t child = fork();  // to close the file here would drop SQLite's locks
    if (child == 0) {
      const int shm = open((path + "-shm").c_str(), O_RDWR | O_CLOEXEC);
      char byte = 0;
      bool ok = pread(shm, &byte, 1, 20) == 1;
      byte = static_cast<char>(byte + by);
      ok = ok && pwrite(shm, &byte, 1, 20) == 1;
      _exit(ok ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  };
  WhenStatementEnds(kPinned, [&] {
    change_one_copy(1);
    WhenStatementEnds(kConnected, [&] { change_one_copy(-1); });  // it has not given up
  });
  EXPECT_OK(OpenWatched(config).status());
  EXPECT_FALSE(StatementIsAwaited());
}

// Under a pin on slot 0 a writer may begin the WAL anew while it is read: that was taken for damage
// and the start of an application failed.
TEST_F(CaptureRegressionTest, AWalThatIsBegunAnewWhileACaptureOpensIsReadAgain) {
  ASSERT_OK(app.Exec("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; create table t(a)"));
  for (int round = 0; round < 20; ++round) {
    ASSERT_OK(
        app.Exec("insert into t values(zeroblob(800000)); delete from t;"
                 "PRAGMA wal_checkpoint(PASSIVE)"));
    std::thread writer;
    WhenStatementEnds(kPinned, [&] {
      writer = std::thread([&] { EXPECT_OK(app.Exec("insert into t values(zeroblob(800000))")); });
    });
    const auto capture = OpenWatched(config);
    ASSERT_TRUE(writer.joinable());
    writer.join();
    ASSERT_OK(capture.status());
  }
}

// cp puts another file's content under the name, inode and locks of one that is shipped. Nothing in
// the WAL tells, and whatever was shipped then was of a database that nobody had.
TEST_F(CaptureRegressionTest, AFileThatIsWrittenBehindSqlitesBackIsNoticed) {
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
  // What is captured next would be on top of it.
  EXPECT_STATUS(capture->CheckFilesInPlace(), StatusCode::kCorruption);
  ForgetfulSink sink;
  EXPECT_STATUS(capture->Capture(sink, UINT32_MAX), StatusCode::kCorruption);
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

// A disk that is full fails each checkpoint where it failed the last one. They write to the file
// every time, and what SQLite says of them stays the same.
TEST_F(CaptureRegressionTest, CheckpointsThatFailAtOneFrameAreNotTakenForSomebodyElse) {
  ASSERT_OK(app.Exec("PRAGMA wal_autocheckpoint=0; create table t(b)"));
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  ForgetfulSink sink;
  time_t written_at = time(nullptr);
  const auto write_behind = [&] {  // by name: closing the file here would drop SQLite's locks
    const timespec times[2] = {{++written_at, 0}, {written_at, 0}};
    return utimensat(AT_FDCWD, path.c_str(), times, 0);
  };
  FileIntercept file(app.get(), SQLITE_FCNTL_FILE_POINTER);
  bool full = true;
  file.BeforeSync([&] {
    EXPECT_EQ(write_behind(), 0);  // of another time than the last one's, whatever the clock says
    return full ? SQLITE_FULL : SQLITE_OK;
  });
  ASSERT_OK(app.Exec("insert into t values(randomblob(9000))"));
  ASSERT_OK(capture->MovePin(sink).status());
  for (int round = 0; round < 3; ++round) {
    EXPECT_STATUS(app.Exec("PRAGMA wal_checkpoint(PASSIVE)"), StatusCode::kResourceExhausted);
    ASSERT_TRUE(capture->index().CheckpointMayCopy());
    EXPECT_OK(capture->CheckFilesInPlace());
    EXPECT_OK(capture->MovePin(sink).status());
  }
  // Once there is room again it is as before, and so is what somebody else writes.
  full = false;
  ASSERT_OK(app.Exec("PRAGMA wal_checkpoint(PASSIVE)"));
  ASSERT_FALSE(capture->index().CheckpointMayCopy());
  EXPECT_OK(capture->CheckFilesInPlace());
  ASSERT_EQ(write_behind(), 0);
  EXPECT_STATUS(capture->CheckFilesInPlace(), StatusCode::kCorruption);
}

// A recovery leaves word of a checkpoint that was begun (SQLite, walIndexRecover), and of a small
// WAL it stays for as long as nobody makes one: all that time, a copy over the file was not seen.
TEST_F(CaptureRegressionTest, AWriteOfSomebodyElseIsNoticedThoughTheWalWasRecovered) {
  ASSERT_OK(app.Exec("PRAGMA wal_autocheckpoint=0; create table t(b)"));
  const std::string crashed = dir.path() + "/crashed.db";
  for (const char* part : {"", "-wal"}) {
    ASSERT_TRUE(std::filesystem::copy_file(path + part, crashed + part));
  }
  config.database_path = crashed;
  ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
  ASSERT_TRUE(capture->index().CheckpointMayCopy());
  EXPECT_OK(capture->CheckFilesInPlace());
  const time_t later = time(nullptr) + 60;  // than the last commit
  const timespec times[2] = {{later, 0}, {later, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, crashed.c_str(), times, 0), 0);
  EXPECT_STATUS(capture->CheckFilesInPlace(), StatusCode::kCorruption);
}

// A time of before is what `cp -p` and rsync give it.
TEST_F(CaptureRegressionTest, AnOlderOrShorterFileIsNoticedThoughACheckpointFailed) {
  ASSERT_OK(app.Exec("PRAGMA wal_autocheckpoint=0; create table t(b)"));
  const timespec before[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  const std::function<int()> writes[] = {
      [&] { return utimensat(AT_FDCWD, path.c_str(), before, 0); },
      [&] { return truncate(path.c_str(), 50'000); },
  };
  for (const auto& write_behind : writes) {
    ASSERT_OK(app.Exec("insert into t values(zeroblob(90000)); PRAGMA wal_checkpoint(PASSIVE)"));
    ASSERT_OK_AND_ASSIGN(auto capture, WalCapture::Open(config, std::nullopt));
    ForgetfulSink sink;
    FileIntercept file(app.get(), SQLITE_FCNTL_FILE_POINTER);
    file.BeforeSync([] { return SQLITE_FULL; });
    ASSERT_OK(app.Exec("insert into t values(1)"));
    ASSERT_OK(capture->MovePin(sink).status());
    EXPECT_STATUS(app.Exec("PRAGMA wal_checkpoint(PASSIVE)"), StatusCode::kResourceExhausted);
    EXPECT_OK(capture->CheckFilesInPlace());
    ASSERT_EQ(write_behind(), 0);
    EXPECT_STATUS(capture->CheckFilesInPlace(), StatusCode::kCorruption);
  }
}

}  // namespace
}  // namespace sqlite_s3

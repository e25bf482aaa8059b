#include "restore/restorer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/format/keys.h"
#include "tests/restore/restore_fixture.h"
#include "tests/support/history.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class RestorerTest : public RestoreFixture {
 protected:
  void SetUp() override {
    history_.Origin(40);
    history_.Grow(20, 4);
  }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_OK(
        WriteFileAtomically(directory_.File(name), AsBytes(text), 0644, Durability::kVisible));
  }
  std::string Text(const std::string& name) {
    return std::string(AsText(Read(directory_.File(name))));
  }

  History history_{*store_};
};

TEST_F(RestorerTest, GivesEveryCommitOfAHistoryOverSeveralLines) {
  history_.MakeImage(Txid{12});
  history_.Branch(Txid{17}, true);
  history_.Grow(10, 3);
  history_.Branch(Txid{22}, true);
  history_.Grow(6, 3);
  for (Txid txid{1}; txid <= history_.txid(); txid = txid.Next()) {
    ASSERT_OK(Restore(txid));
    EXPECT_EQ(Output(), history_.ImageAt(txid)) << FormatTxid(txid);
    RemoveOutput();
  }
}

TEST_F(RestorerTest, GivesTheTimelineAskedFor) {
  const Bytes abandoned = history_.ImageAt(Txid{21});
  history_.Branch(Txid{15}, true);
  history_.Grow(9, 3);
  RestoreOptions options;
  options.timeline = TimelineId{1};
  ASSERT_OK(Restore(options));
  EXPECT_EQ(Output(), abandoned);
}

TEST_F(RestorerTest, SaysWhatItChoseAndFetched) {
  ASSERT_OK_AND_ASSIGN(RestoreReport report, Restore(Txid{9}));
  EXPECT_EQ(report.plan.txid, Txid{9});
  EXPECT_EQ(report.plan.next_txid, Txid{10});
  EXPECT_EQ(report.commits_applied, 8u);
  EXPECT_EQ(report.bytes_fetched, report.plan.fetch_bytes);
  EXPECT_EQ(report.objects_fetched, report.plan.fetch_objects);
}

TEST_F(RestorerTest, TheFileIsItsOwnersAlone) {
  ASSERT_OK(Restore(TargetLatest{}));
  struct stat st {};
  ASSERT_EQ(stat(output_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
}

// --- what stands in the way
// ------------------------------------------------------------------------

TEST_F(RestorerTest, RefusesAnExistingTargetAndLeavesItAlone) {
  Write("app.db", "precious");
  EXPECT_STATUS(Restore(TargetLatest{}), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Text("app.db"), "precious");
  EXPECT_THAT(Files(), ElementsAre("app.db"));
}

TEST_F(RestorerTest, RefusesADanglingSymlinkAsTarget) {
  ASSERT_EQ(symlink("/nowhere/at/all", output_.c_str()), 0);
  EXPECT_STATUS(Restore(TargetLatest{}), StatusCode::kFailedPrecondition);
}

TEST_F(RestorerTest, RefusesLeftoverCompanionsOfAnotherDatabase) {
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    Write(std::string("app.db") + suffix, "stale");
    auto report = Restore(TargetLatest{});
    EXPECT_STATUS(report, StatusCode::kFailedPrecondition);
    EXPECT_THAT(report.status().message(), HasSubstr(suffix));
    ASSERT_OK(RemoveFile(output_ + suffix));
    EXPECT_THAT(Files(), IsEmpty());
  }
}

TEST_F(RestorerTest, IfNotExistsDoesNothingWhenTheTargetExists) {
  RestoreOptions options;
  options.if_not_exists = true;
  Write("app.db", "precious");
  ASSERT_OK_AND_ASSIGN(RestoreReport report, Restore(options));
  EXPECT_TRUE(report.existed);
  EXPECT_EQ(Text("app.db"), "precious");
  RemoveOutput();
  Write("app.db-wal", "stale");
  EXPECT_STATUS(Restore(options), StatusCode::kFailedPrecondition) << "no target, but its WAL";
  ASSERT_OK(RemoveFile(output_ + "-wal"));
  ASSERT_OK_AND_ASSIGN(report, Restore(options));
  EXPECT_FALSE(report.existed);
  EXPECT_EQ(Output(), history_.ImageAt(history_.txid()));
}

TEST_F(RestorerTest, ForceMovesTheOldDatabaseAndItsCompanionsAside) {
  Write("app.db", "old");
  Write("app.db-wal", "old wal");
  Write("app.db-journal", "old journal");
  RestoreOptions options;
  options.force = true;
  ASSERT_OK_AND_ASSIGN(RestoreReport report, Restore(options));
  EXPECT_EQ(Output(), history_.ImageAt(history_.txid()));
  ASSERT_THAT(report.moved_aside, SizeIs(3));
  const std::string aside = report.moved_aside[0];
  EXPECT_THAT(aside, StartsWith(output_ + ".before-restore-"));
  EXPECT_EQ(AsText(Read(aside)), "old");
  EXPECT_EQ(AsText(Read(aside + "-wal")), "old wal");
  EXPECT_EQ(AsText(Read(aside + "-journal")), "old journal");
  EXPECT_THAT(Files(), SizeIs(4));
}

TEST_F(RestorerTest, ForceLeavesTheOldDatabaseAloneWhenTheRestoreFails) {
  Write("app.db", "old");
  Write("app.db-wal", "old wal");
  ASSERT_OK(store_->Delete(history_.segment_keys().at(2)));
  RestoreOptions options;
  options.force = true;
  EXPECT_STATUS(Restore(options), StatusCode::kNotFound);
  EXPECT_EQ(Text("app.db"), "old");
  EXPECT_THAT(Files(), ElementsAre("app.db", "app.db-wal"));
}

TEST_F(RestorerTest, ATargetMadeMeanwhileIsNotReplaced) {
  auto file = TargetFile::Create(output_);
  ASSERT_OK(file);
  Write("app.db", "made meanwhile");
  std::vector<std::string> moved;
  EXPECT_STATUS(file->Publish(false, &moved), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Text("app.db"), "made meanwhile");
}

TEST_F(RestorerTest, ADirectoryThatIsNotThereIsNotFound) {
  RestoreOptions options;
  options.output = directory_.File("none/app.db");
  EXPECT_STATUS(Restore(options), StatusCode::kNotFound);
}

TEST_F(RestorerTest, ADirectoryIsNoTarget) {
  RestoreOptions options;
  options.output = directory_.path() + "/";
  auto report = Restore(options);
  EXPECT_FALSE(report.ok());
  EXPECT_THAT(Files(), IsEmpty());
}

// --- leftovers
// -------------------------------------------------------------------------------------

TEST_F(RestorerTest, RemovesWhatAKilledRestoreOfTheSameTargetLeft) {
  Write(".app.db.0123456789abcdef.restoring", "half");
  Write(".app.db.0123456789abcdef.restoring-wal", "half");
  ASSERT_OK(Restore(TargetLatest{}));
  EXPECT_THAT(Files(), ElementsAre("app.db"));
}

TEST_F(RestorerTest, LeavesAloneWhatIsNotItsOwn) {
  const std::set<std::string> others = {
      ".other.db.0123456789abcdef.restoring", ".app.db.0123456789abcdef.restoring.txt",
      ".app.db.0123456789abcde.restoring",    ".app.db.0123456789abcdeX.restoring",
      ".app.db.x.0123456789abcdef.restoring", "app.db.0123456789abcdef.restoring"};
  for (const std::string& name : others) {
    Write(name, "theirs");
  }
  ASSERT_OK(Restore(TargetLatest{}));
  RemoveOutput();
  EXPECT_EQ(Files(), others);
}

TEST_F(RestorerTest, LeavesAloneTheFileOfARestoreThatRuns) {
  auto running = TargetFile::Create(output_);
  ASSERT_OK(running);
  ASSERT_OK(Restore(TargetLatest{}));
  EXPECT_OK(FileExists(running->path()));
  EXPECT_TRUE(*FileExists(running->path()));
}

TEST_F(RestorerTest, DoesNotFollowASymlinkThatLooksLikeALeftover) {
  Write("precious", "x");
  ASSERT_EQ(symlink(directory_.File("precious").c_str(),
                    directory_.File(".app.db.0123456789abcdef.restoring").c_str()),
            0);
  ASSERT_OK(Restore(TargetLatest{}));
  EXPECT_EQ(Text("precious"), "x");
}

// --- bounds
// ------------------------------------------------------------------------------------------

TEST_F(RestorerTest, RefusesADatabaseLargerThanMaxSize) {
  RestoreOptions options;
  options.max_size_bytes = 1000;
  EXPECT_STATUS(Restore(options), StatusCode::kResourceExhausted);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RestorerTest, RefusesWhatTheDiskCannotHoldNamingNeedAndFree) {
  // What an image says of itself is believed only as far as there is room for it.
  ImageManifest image = history_.MakeImage(history_.txid());
  image.page_count = kMaxPageCount;
  image.hashes_size_bytes = uint64_t{kMaxPageCount} * 8;
  image.parts[0].page_count += kMaxPageCount - history_.PageCountAt(image.txid) - 1;
  ASSERT_OK(store_->Put(keys::ImageManifest(image.timeline, image.txid),
                        AsBytes(FormatImageManifest(image))));
  for (const std::string& key : history_.segment_keys()) {
    ASSERT_OK(store_->Delete(key));
  }
  auto report = Restore(TargetLatest{});
  ASSERT_FALSE(report.ok());
  EXPECT_STATUS(report, StatusCode::kResourceExhausted);
  EXPECT_THAT(report.status().message(), HasSubstr("bytes free, the restore needs"));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RestorerTest, ADryRunWritesNothing) {
  RestoreOptions options;
  options.dry_run = true;
  ASSERT_OK_AND_ASSIGN(RestoreReport report, Restore(options));
  EXPECT_EQ(report.plan.txid, history_.txid());
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RestorerTest, WorksWithOneThreadAndNothingKept) {
  parallelism_ = 1;
  keep_bytes_ = 0;
  ASSERT_OK(Restore(TargetLatest{}));
  EXPECT_EQ(Output(), history_.ImageAt(history_.txid()));
}

TEST_F(RestorerTest, SqliteCheckOfBytesThatAreNoDatabaseFailsAndLeavesNothing) {
  RestoreOptions options;
  options.verify = VerifyLevel::kQuick;
  EXPECT_STATUS(Restore(options), StatusCode::kCorruption);
  EXPECT_THAT(Files(), IsEmpty());
}

}  // namespace
}  // namespace sqlite_s3

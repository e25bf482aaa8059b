// sqlite-s3-restore killed at every system call that changes something, and every such call
// failing: never a part of a database under the final name, nothing of an existing one lost, and
// the next run succeeds.

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "tests/integration/restore_program.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RestoreCrashTest : public RestoreProgramTest,
                         public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    RestoreProgramTest::SetUp();
    Commits(3);
    History::Commit in_parts;
    in_parts.in_parts = true;
    source_->Run("INSERT INTO t(a, b) VALUES('x', zeroblob(5000))", in_parts);
    source_->Run("VACUUM");
    history().Cut();
  }
  std::vector<std::string> Arguments() { return {replica_, "-o", output_, "--via", GetParam()}; }

  void ExpectNothingOrAllOfIt() {
    if (Files().contains("app.db")) {
      EXPECT_EQ(Output(), Reference(Last()));
    }
    EXPECT_THAT(FilesIn(replica_dir_), ElementsAre("replica"));
  }
  void ExpectTheNextRunSucceeds() {
    if (!Files().contains("app.db")) {
      const ProgramResult again = Run(Arguments());
      EXPECT_EQ(again.exit_code, 0) << again.out;
    }
    EXPECT_EQ(Output(), Reference(Last()));
  }
  // How many calls a run makes that can be failed.
  int CountCalls() {
    const std::string log = scratch_.File("log");
    EXPECT_EQ(RunProgram(Command(Arguments()), KillAtEnvironment({{"KILL_AT_LOG", log}})).exit_code,
              0);
    std::ifstream lines(log);
    int count = 0;
    for (std::string line; std::getline(lines, line);) {
      ++count;
    }
    EXPECT_OK(RemoveFile(log));
    EXPECT_OK(RemoveFile(output_));
    return count;
  }
};

TEST_P(RestoreCrashTest, KilledAtEveryCallItLeavesNothingOrAllOfIt) {
  const int kills = KillAtEveryCall(
      Command(Arguments()), {},
      [&](int) {
        if (Files().contains("app.db")) {
          ASSERT_OK(RemoveFile(output_));
        }
      },
      [&](int k, const ProgramResult& result) {
        SCOPED_TRACE(k);
        ASSERT_TRUE(result.WasKilled() || result.exit_code == 0);
        ExpectNothingOrAllOfIt();
        ExpectTheNextRunSucceeds();
        // What the killed one left under its own name is gone with the next run, which removes it
        // before it begins; after a kill behind the rename nothing is left to remove.
        EXPECT_THAT(Files(), ElementsAre("app.db"));
      });
  EXPECT_GE(kills, 5);
}

TEST_P(RestoreCrashTest, AWriteTornByTheKillIsNoPartOfADatabase) {
  KillAtEveryCall(
      Command(Arguments()), {{"KILL_AT_TORN", "1"}, {"KILL_AT_OPS", "write,pwrite"}},
      [&](int) {
        if (Files().contains("app.db")) {
          ASSERT_OK(RemoveFile(output_));
        }
      },
      [&](int k, const ProgramResult&) {
        SCOPED_TRACE(k);
        ExpectNothingOrAllOfIt();
        ExpectTheNextRunSucceeds();
      });
}

TEST_P(RestoreCrashTest, KilledWhileItMovesAnExistingDatabaseAsideItLosesNothingOfIt) {
  const auto read = [&](const std::string& name) {
    return std::string(AsText(*ReadFile(target_.File(name), 1 << 30)));
  };
  std::vector<std::string> arguments = Arguments();
  arguments.push_back("--force");
  KillAtEveryCall(
      Command(arguments), {},
      [&](int) {
        for (const std::string& name : Files()) {
          ASSERT_OK(RemoveFile(target_.File(name)));
        }
        ASSERT_OK(WriteFileAtomically(output_, AsBytes("old database"), 0600,
                                      sqlite_s3::Durability::kVisible));
        ASSERT_OK(WriteFileAtomically(output_ + "-wal", AsBytes("old wal"), 0600,
                                      sqlite_s3::Durability::kVisible));
      },
      [&](int k, const ProgramResult& result) {
        SCOPED_TRACE(k);
        ASSERT_TRUE(result.WasKilled() || result.exit_code == 0);
        // The old database is somewhere, with its WAL under the matching name.
        std::string old;
        for (const std::string& name : Files()) {
          if (!name.ends_with("-wal") && !name.ends_with(".restoring") &&
              read(name) == "old database") {
            old = name;
          }
        }
        ASSERT_NE(old, "");
        ASSERT_TRUE(Files().contains(old + "-wal"));
        EXPECT_EQ(read(old + "-wal"), "old wal");
        if (old != "app.db" && Files().contains("app.db")) {
          EXPECT_EQ(Output(), Reference(Last()));
          EXPECT_FALSE(Files().contains("app.db-wal")) << "a stale WAL beside the new database";
        }
        const ProgramResult again = Run(arguments);
        EXPECT_EQ(again.exit_code, 0) << again.out;
        EXPECT_EQ(Output(), Reference(Last()));
        EXPECT_FALSE(Files().contains("app.db-wal"));
      });
}

TEST_P(RestoreCrashTest, EveryCallThatFailsIsAnErrorAndLeavesNothing) {
  const int calls = CountCalls();
  ASSERT_GE(calls, 5);
  for (const char* error : {"ENOSPC", "EIO"}) {
    for (int k = 1; k <= calls; ++k) {
      SCOPED_TRACE(std::string(error) + " at " + std::to_string(k));
      const ProgramResult result =
          RunProgram(Command(Arguments()),
                     KillAtEnvironment({{"FAIL_AT", std::to_string(k)}, {"FAIL_ERRNO", error}}));
      ASSERT_EQ(result.signal, 0);
      ExpectNothingOrAllOfIt();
      if (result.exit_code == 0) {  // a call that may fail: removing what is not needed
        EXPECT_TRUE(Files().contains("app.db"));
      } else {
        // 8: SQLite takes a -wal that it cannot open for writing for one that it may not write.
        EXPECT_THAT(result.exit_code,
                    ::testing::AnyOf(error == std::string("ENOSPC") ? 9 : 70, 70,
                                     GetParam() == std::string("pages") ? 70 : 8));
      }
      ExpectTheNextRunSucceeds();
      for (const std::string& name : Files()) {
        ASSERT_OK(RemoveFile(target_.File(name)));
      }
    }
  }
}

TEST_P(RestoreCrashTest, AFullDiskIsExhaustionAndLeavesNothing) {
  const ProgramResult result = RunProgram(
      Command(Arguments()), KillAtEnvironment({{"FAIL_AT", "1+"},
                                               {"FAIL_ERRNO", "ENOSPC"},
                                               {"KILL_AT_OPS", "write,pwrite,fdatasync"}}));
  EXPECT_EQ(result.exit_code, 9);
  EXPECT_THAT(Files(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Via, RestoreCrashTest, ::testing::Values("pages", "checkpoint"),
                         [](const auto& via) { return std::string(via.param); });

}  // namespace
}  // namespace sqlite_s3

// The directory driver against a process that dies, or is refused, at every single system call.

#include <fstream>
#include <memory>
#include <sstream>

#include "common/os/file.h"
#include "common/store/directory_store.h"
#include "tests/common/store/put_script.h"
#include "tests/support/run_program.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::SizeIs;
using ::testing::StartsWith;

int ExitCodeOf(StatusCode code) { return 10 + static_cast<int>(code); }

class DirectoryStoreCrashTest : public ::testing::Test {
 protected:
  void Fresh() { dir_ = std::make_unique<TempDir>(); }
  std::string Root() const { return dir_->File("r"); }
  std::string LogFile() const { return dir_->File("log"); }

  ProgramResult Run(std::map<std::string, std::string> settings) {
    return RunProgram({PUT_PROGRAM, Root()}, KillAtEnvironment(std::move(settings)));
  }

  static int StepsDone(const ProgramResult& result) {
    int done = 0;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      done += line == "done";
    }
    return done;
  }

  // What a reader sees, without changing anything.
  std::map<std::string, std::string> Visible() {
    std::map<std::string, std::string> state;
    Result<std::shared_ptr<ObjectStore>> store =
        OpenDirectoryStore({.path = Root(), .read_only = true});
    if (store.code() == StatusCode::kNotFound) {
      return state;
    }
    EXPECT_OK(store);
    Result<std::vector<ObjectInfo>> all = ListAll(**store, "");
    EXPECT_OK(all);
    for (const ObjectInfo& info : *all) {
      Result<Bytes> body = (*store)->Get(info.key, 1 << 20);
      EXPECT_OK(body);
      state[info.key] = body.ok() ? std::string(AsText(*body)) : "";
    }
    return state;
  }

  // Every step that was reported is there, and the one after it either wholly or not at all.
  void ExpectStateBetweenSteps(const ProgramResult& result) {
    int done = StepsDone(result);
    EXPECT_THAT(Visible(), AnyOf(Eq(StateAfter(done)), Eq(StateAfter(done + 1))))
        << "after " << done << " steps";
  }

  void ExpectThatTheNextRunCompletes() {
    ProgramResult result = RunProgram({PUT_PROGRAM, Root()});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(Visible(), StateAfter(kPutSteps));
  }

  // The calls made, as "op last-segment-of-path"; temporary files are called "temp".
  // One element per object written or deleted: what was done up to giving up its temporary file.
  std::vector<std::vector<std::string>> LoggedCalls() {
    std::vector<std::vector<std::string>> puts(1);
    std::ifstream log(LogFile());
    for (std::string line; std::getline(log, line);) {
      std::istringstream words(line);
      std::string number, op, path, other;
      words >> number >> op >> path >> other;
      auto name = [](const std::string& p) {
        return p.find("/~tmp/") != std::string::npos ? "temp" : p.substr(p.rfind('/') + 1);
      };
      puts.back().push_back(op + " " + name(path) + (other.empty() ? "" : " " + name(other)));
      if (puts.back().back() == "unlink temp") {
        puts.emplace_back();
      }
    }
    return puts;
  }

  int CallsMade() {
    std::ifstream log(LogFile());
    int calls = 0;
    for (std::string line; std::getline(log, line);) {
      ++calls;
    }
    return calls;
  }

  std::unique_ptr<TempDir> dir_ = std::make_unique<TempDir>();
};

TEST_F(DirectoryStoreCrashTest, KilledAtAnyCallNoReportedStepIsLostAndNoneIsHalfDone) {
  int kills = 0;
  for (int k = 1;; ++k) {
    Fresh();
    ProgramResult result = Run({{"KILL_AT", std::to_string(k)}});
    ExpectStateBetweenSteps(result);
    ExpectThatTheNextRunCompletes();
    if (HasFailure() || !result.WasKilled()) {
      ASSERT_EQ(result.exit_code, 0) << "at call " << k;
      break;
    }
    ++kills;
  }
  EXPECT_GT(kills, 6 * kPutSteps);  // else the preload did not work
}

TEST_F(DirectoryStoreCrashTest, KilledInTheMiddleOfAWriteNoPartOfAnObjectIsVisible) {
  int kills = KillAtEveryCall(
      {PUT_PROGRAM, Root()}, {{"KILL_AT_TORN", "1"}, {"KILL_AT_OPS", "write"}}, [](int) {},
      [&](int, const ProgramResult& result) {
        // The directory is kept: each run meets the leftovers of the
        // others.
        for (const auto& [key, body] : Visible()) {
          EXPECT_THAT(body, SizeIs(10'000)) << key;
          EXPECT_THAT(body, Each(body[0])) << key;
        }
        EXPECT_TRUE(result.WasKilled() || result.Succeeded());
      });
  EXPECT_GE(kills, kPutSteps - 2);  // all but the deletes
  EXPECT_EQ(Visible(), StateAfter(kPutSteps));
}

TEST_F(DirectoryStoreCrashTest, RefusedAtAnyCallTheStatusSaysSoAndNoStepIsHalfDone) {
  for (auto [name, code] : {std::pair{"EIO", StatusCode::kIoError},
                            std::pair{"ENOSPC", StatusCode::kResourceExhausted}}) {
    int refused = 0;
    for (int k = 1;; ++k) {
      Fresh();
      ProgramResult result =
          Run({{"FAIL_AT", std::to_string(k)}, {"FAIL_ERRNO", name}, {"KILL_AT_LOG", LogFile()}});
      // Failing to tidy up a temporary file or an empty folder is not an error.
      ASSERT_THAT(result.exit_code, AnyOf(0, ExitCodeOf(code))) << name << " at call " << k;
      ExpectStateBetweenSteps(result);
      ExpectThatTheNextRunCompletes();
      ASSERT_FALSE(HasFailure()) << name << " at call " << k;
      refused += result.exit_code != 0;
      if (CallsMade() < k) {
        break;
      }
    }
    EXPECT_GT(refused, 4 * kPutSteps);
  }
}

TEST_F(DirectoryStoreCrashTest, ContentIsDurableBeforeItsNameAndFoldersBeforeWhatIsInThem) {
  ASSERT_EQ(Run({{"KILL_AT_LOG", LogFile()}, {"KILL_AT_PATH", Root()}}).exit_code, 0);
  auto puts = LoggedCalls();
  // Opening: the root, then the probe, which has two names to remove.
  ASSERT_GE(puts.size(), 3u);
  EXPECT_THAT(puts[0], ElementsAre("mkdir r", "fsync r", "mkdir ~tmp", "creat temp",
                                   "link temp temp", "unlink temp"));
  puts.erase(puts.begin(), puts.begin() + 2);
  ASSERT_THAT(puts, SizeIs(kPutSteps - 1));  // the delete shares one with the put after it
  EXPECT_THAT(puts[0], ElementsAre("creat temp", "write temp", "fdatasync temp",
                                   "link temp replica.json", "fsync r", "unlink temp"));
  EXPECT_THAT(puts[1], ElementsAre("creat temp", "write temp", "fdatasync temp", "mkdir 00000001",
                                   "fsync r", "mkdir log", "fsync 00000001", "link temp 0001.seg",
                                   "fsync log", "unlink temp"));
  // The steady state: one sync of the file and one of the folder.
  EXPECT_THAT(puts[2], ElementsAre("creat temp", "write temp", "fdatasync temp",
                                   "link temp 0002.seg", "fsync log", "unlink temp"));
  EXPECT_THAT(puts[4], ElementsAre("creat temp", "write temp", "fdatasync temp",
                                   "rename temp m.json", "fsync marks", "unlink temp"));
  // What PutIfMatch reads first changes nothing.
  EXPECT_THAT(puts[5], ElementsAre("creat temp", "write temp", "fdatasync temp",
                                   "rename temp m.json", "fsync marks", "unlink temp"));
  // The delete and the put after it: the folders that became empty go once the delete is durable.
  EXPECT_THAT(puts[7], ElementsAre("unlink part", "fsync 0002", "rmdir 0002", "rmdir image",
                                   "rmdir 00000001", "creat temp", "write temp", "fdatasync temp",
                                   "link temp 0003.seg", "fsync log", "unlink temp"));
  EXPECT_THAT(puts[9], ElementsAre("unlink part", "fsync 0003", "rmdir 0003", "rmdir image",
                                   "rmdir 00000001"));
}

TEST_F(DirectoryStoreCrashTest, WhatAnotherProcessLeftIsSyncedBeforeItIsSaidToExist) {
  ASSERT_EQ(Run({}).exit_code, 0);
  ASSERT_EQ(Run({{"KILL_AT_LOG", LogFile()}, {"KILL_AT_PATH", Root()}}).exit_code, 0);
  auto puts = LoggedCalls();
  ASSERT_THAT(puts[0], ElementsAre("fsync r", "creat temp", "link temp temp", "unlink temp"));
  puts.erase(puts.begin(), puts.begin() + 2);
  EXPECT_THAT(puts[0], ElementsAre("creat temp", "write temp", "fdatasync temp",
                                   "link temp replica.json", "fsync r", "unlink temp"));
  // Folders that are there may not be durable: this process did not make them.
  EXPECT_THAT(puts[1], ElementsAre("creat temp", "write temp", "fdatasync temp", "fsync 00000001",
                                   "fsync r", "fsync log", "fsync 00000001", "link temp 0001.seg",
                                   "fsync log", "unlink temp"));
  EXPECT_THAT(puts[2], ElementsAre("creat temp", "write temp", "fdatasync temp",
                                   "link temp 0002.seg", "fsync log", "unlink temp"));
}

TEST_F(DirectoryStoreCrashTest, WithoutHardLinksARenameThatRefusesToReplaceTakesTheirPlace) {
  for (const char* error : {"EPERM", "EOPNOTSUPP"}) {
    Fresh();
    std::map<std::string, std::string> settings = {
        {"FAIL_AT", "1+"}, {"FAIL_ERRNO", error}, {"KILL_AT_OPS", "link"}};
    for (int run = 0; run < 2; ++run) {
      ProgramResult result = Run(settings);
      EXPECT_EQ(result.exit_code, 0);
      EXPECT_THAT(result.out, StartsWith("conditional"));
      EXPECT_EQ(Visible(), StateAfter(kPutSteps));
    }
  }
}

TEST_F(DirectoryStoreCrashTest, WithoutAnAtomicCreationTheStoreSaysSoAndStillWorks) {
  std::map<std::string, std::string> settings = {
      {"FAIL_AT", "1+"}, {"FAIL_ERRNO", "EOPNOTSUPP"}, {"KILL_AT_OPS", "link,renameat2"}};
  for (int run = 0; run < 2; ++run) {
    ProgramResult result = Run(settings);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.out, StartsWith("unconditional"));
    EXPECT_EQ(Visible(), StateAfter(kPutSteps));
  }
}

}  // namespace
}  // namespace sqlite_s3

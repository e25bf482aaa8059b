// A server that dies, fails to write or loses power at any moment: what was acknowledged is there
// after it, what was not is whole or not there, nothing is left over, and it goes on.
//
// SQLITE_S3_LONG=1 takes every call instead of some of them.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/server/storage/crash_steps.h"
#include "tests/server/storage/power_loss.h"
#include "tests/support/run_program.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kWrites = 3;  // tried a test, when not all of them
constexpr size_t kOthers = 8;  // calls that are no plain writes
// What a full disk lets fail.
constexpr const char* kNeedSpace = "creat,write,pwrite,truncate,fallocate,rename,fsync,fdatasync";

bool Long() {
  const char* text = std::getenv("SQLITE_S3_LONG");
  return text != nullptr && *text != '\0' && *text != '0';
}

int CountLines(const std::string& text, const std::string& line) {
  std::istringstream lines(text);
  int count = 0;
  for (std::string each; std::getline(lines, each);) {
    count += each == line ? 1 : 0;
  }
  return count;
}

class StorageCrashTest : public testing::TestWithParam<std::string> {
 protected:
  // In memory: what reaches the disk is simulated, and most of the time would go into waiting for
  // it.
  static void SetUpTestSuite() {
    if (std::getenv("TMPDIR") == nullptr && ::access("/dev/shm", W_OK) == 0) {
      ::setenv("TMPDIR", "/dev/shm", 1);
    }
  }
  // What is visible before the first step and after each.
  void SetUp() override {
    TempDir dir;
    CrashSteps::Prepare(GetParam(), dir.path());
    auto steps = CrashSteps::Open(GetParam(), dir.path(), Synchronous::kNormal);
    ASSERT_TRUE(steps.ok()) << steps.status().ToString();
    if (!GetParam().starts_with("s3ite")) {
      oracle_.push_back((*steps)->Dump());
    }
    for (int i = 0; i < (*steps)->count(); ++i) {
      const StorageStatus ran = (*steps)->Run(i);
      ASSERT_TRUE(ran.ok()) << i << ran.ToString();
      ASSERT_TRUE((*steps)->Maintain().ok());
      oracle_.push_back((*steps)->Dump());
      if (oracle_.size() == 1) {  // looking at it is what migrates
        oracle_.push_back(oracle_.front());
      }
    }
    steps->reset();
    ASSERT_EQ(CrashSteps::Litter(dir.path()), "");
  }

  void Prepare() {
    dir_ = std::make_unique<TempDir>();
    CrashSteps::Prepare(GetParam(), dir_->path());
  }
  std::vector<std::string> Command(const char* synchronous = "normal") const {
    return {SQLITE_S3_CRASH_PROGRAM, dir_->path(), GetParam(), synchronous};
  }

  // The calls of a whole run: all that are not plain writes, and some of those.
  std::vector<int> Calls(const std::string& operations = "") {
    Prepare();
    TempDir logs;
    const std::string log = logs.File("log");
    EXPECT_EQ(RunProgram(Command(),
                         KillAtEnvironment({{"KILL_AT_LOG", log}, {"KILL_AT_OPS", operations}}))
                  .exit_code,
              0);
    std::ifstream lines(log);
    std::vector<int> writes;
    std::vector<int> others;
    int k = 0;
    for (std::string number, line; lines >> number && std::getline(lines, line);) {
      ++k;
      (line.rfind(" pwrite", 0) == 0 ? writes : others).push_back(k);
    }
    EXPECT_GT(k, 20);
    std::vector<int> calls;
    for (const auto& [some, budget] : {std::pair(&writes, kWrites), std::pair(&others, kOthers)}) {
      const size_t stride = Long() ? 1 : (some->size() + budget - 1) / budget;
      for (size_t i = stride / 2; i < some->size(); i += stride) {
        calls.push_back((*some)[i]);
      }
    }
    return calls;
  }

  // After `acknowledged` steps, of which at most `undone` may be lost: what is visible is the state
  // after one of them, or after one more; the rest of the script runs, and all is as it should be.
  void ExpectAllIsWell(int acknowledged, int undone = 0) {
    auto steps = CrashSteps::Open(GetParam(), dir_->path(), Synchronous::kNormal);
    ASSERT_TRUE(steps.ok()) << steps.status().ToString();
    const std::string found = (*steps)->Dump();
    int at = -1;
    for (int i = std::min<int>(acknowledged + 1, static_cast<int>(oracle_.size()) - 1);
         i >= std::max(0, acknowledged - undone) && at < 0; --i) {
      at = oracle_[static_cast<size_t>(i)] == found ? i : -1;
    }
    ASSERT_GE(at, 0) << acknowledged << " steps were acknowledged; found:\n"
                     << found << "expected:\n"
                     << oracle_[static_cast<size_t>(acknowledged)];
    ASSERT_TRUE((*steps)->Maintain().ok());
    steps->reset();
    ASSERT_EQ(CrashSteps::Litter(dir_->path()), "");
    steps = CrashSteps::Open(GetParam(), dir_->path(), Synchronous::kNormal);
    ASSERT_TRUE(steps.ok()) << steps.status().ToString();
    for (int i = at; i < (*steps)->count(); ++i) {
      const StorageStatus ran = (*steps)->Run(i);
      ASSERT_TRUE(ran.ok()) << "step " << i << ": " << ran.ToString();
    }
    ASSERT_TRUE((*steps)->Maintain().ok());
    EXPECT_EQ((*steps)->Dump(), oracle_.back());
    steps->reset();
    EXPECT_EQ(CrashSteps::Litter(dir_->path()), "");
  }

  std::vector<std::string> oracle_;
  std::unique_ptr<TempDir> dir_;
};

TEST_P(StorageCrashTest, KilledAtAnyCallItKeepsWhatWasAcknowledgedAndNoHalf) {
  for (int k : Calls()) {
    SCOPED_TRACE(fmt::format("killed at {}", k));
    Prepare();
    std::map<std::string, std::string> settings = {{"KILL_AT", std::to_string(k)}};
    if (k % 2 == 0) {
      settings["KILL_AT_TORN"] = "1";
    }
    const ProgramResult result = RunProgram(Command(), KillAtEnvironment(settings));
    ASSERT_TRUE(result.WasKilled()) << result.exit_code << result.out;
    ExpectAllIsWell(CountLines(result.out, "ok"));
    if (HasFailure()) {
      return;
    }
  }
}

TEST_P(StorageCrashTest, AFullDiskFailsTheWriteWhollyAndTheNextOneWorks) {
  for (int k : Calls(kNeedSpace)) {
    SCOPED_TRACE(fmt::format("no space at {}", k));
    Prepare();
    const ProgramResult result =
        RunProgram(Command(), KillAtEnvironment({{"FAIL_AT", std::to_string(k)},
                                                 {"FAIL_ERRNO", "ENOSPC"},
                                                 {"KILL_AT_OPS", kNeedSpace}}));
    if (result.exit_code == 2) {  // the lock file: it does not start
      ASSERT_EQ(CountLines(result.out, "ok"), 0);
      continue;
    }
    ASSERT_EQ(result.exit_code, 0) << result.signal << result.out;
    EXPECT_EQ(CountLines(result.out, "changed"), 0) << result.out;
    EXPECT_EQ(CountLines(result.out, "failed Busy"), 0) << result.out;
    ExpectAllIsWell(static_cast<int>(oracle_.size()) - 1);
    if (HasFailure()) {
      return;
    }
  }
}

TEST_P(StorageCrashTest, ADiskThatStaysFullLosesNothingThatWasAcknowledged) {
  for (int k : Calls(kNeedSpace)) {
    SCOPED_TRACE(fmt::format("no space from {}", k));
    Prepare();
    const ProgramResult result =
        RunProgram(Command(), KillAtEnvironment({{"FAIL_AT", std::to_string(k) + "+"},
                                                 {"FAIL_ERRNO", "ENOSPC"},
                                                 {"KILL_AT_OPS", kNeedSpace}}));
    ASSERT_EQ(result.signal, 0);
    EXPECT_EQ(CountLines(result.out, "changed"), 0) << result.out;
    ExpectAllIsWell(CountLines(result.out.substr(0, result.out.find("failed")), "ok"));
    if (HasFailure()) {
      return;
    }
  }
}

// Losing power is only simulated below SQLite: files that are renamed and removed are others' to
// test.
TEST_P(StorageCrashTest, APowerLossAtFullLosesNothingThatWasAcknowledged) {
  for (int seed = 0; seed < 3; ++seed) {
    const int stride = Long() ? 1 : 797;
    for (int k = 30 + seed * 131;; k += stride) {
      SCOPED_TRACE(fmt::format("power lost at {}, seed {}", k, seed));
      Prepare();
      std::vector<std::string> command = Command("full");
      command.push_back(std::to_string(k));
      command.push_back(std::to_string(seed));
      const ProgramResult result = RunProgram(command);
      if (result.exit_code == 0) {
        break;
      }
      ASSERT_EQ(result.exit_code, kPowerLossExit) << result.signal << result.out;
      ExpectAllIsWell(CountLines(result.out, "ok"));
      if (HasFailure()) {
        return;
      }
    }
  }
}

TEST_P(StorageCrashTest, APowerLossAtNormalUndoesTheNewestStepsOnly) {
  const int stride = Long() ? 1 : 797;
  for (int k = 50;; k += stride) {
    SCOPED_TRACE(fmt::format("power lost at {}", k));
    Prepare();
    std::vector<std::string> command = Command("normal");
    command.push_back(std::to_string(k));
    const ProgramResult result = RunProgram(command);
    if (result.exit_code == 0) {
      break;
    }
    ASSERT_EQ(result.exit_code, kPowerLossExit) << result.signal << result.out;
    ExpectAllIsWell(CountLines(result.out, "ok"), static_cast<int>(oracle_.size()));
    if (HasFailure()) {
      return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Scripts, StorageCrashTest, testing::ValuesIn(CrashSteps::Scripts()),
                         [](const auto& script) {
                           std::string name = script.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace sqlite_s3::server

// A process that ships, killed at the system calls that change something, and such calls of the
// library failing: what was acknowledged can be restored at once, every restore point is a state
// that the database went through, the next process goes on, and the application never sees an
// error.
//
// SQLITE_S3_LONG=1 takes every call instead of some of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "common/os/file.h"
#include "common/sqlite/connection.h"
#include "common/store/open_store.h"
#include "tests/integration/shipping_steps.h"
#include "tests/support/replayer.h"
#include "tests/support/run_program.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

constexpr int kLastStep = 30;
constexpr int kBudget = 12;  // runs a test, when not all of them

bool Long() {
  const char* text = std::getenv("SQLITE_S3_LONG");
  return text != nullptr && *text != '\0' && *text != '0';
}

std::string ContentOf(sqlite3* db) {
  sqlite3_stmt* statement = nullptr;
  std::string content;
  if (sqlite3_prepare_v2(db, kStepsContent, -1, &statement, nullptr) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW) {
    content = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
  } else {
    content = std::string("unreadable: ") + sqlite3_errmsg(db);
  }
  sqlite3_finalize(statement);
  return content;
}

// What a database must hold after each step.
std::vector<std::string> Oracle(int last_step) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, kStepsSchema, nullptr, nullptr, nullptr), SQLITE_OK);
  std::vector<std::string> states = {ContentOf(db)};
  for (int n = 1; n <= last_step; ++n) {
    EXPECT_EQ(sqlite3_exec(db, StepSql(n).c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db);
    states.push_back(ContentOf(db));
  }
  sqlite3_close(db);
  return states;
}

// The step of a restored database; a failed check when it is none of those.
int StepOf(const Bytes& file, const std::vector<std::string>& oracle) {
  Bytes bytes = file;
  bytes[18] = bytes[19] = 1;  // not WAL: a deserialized database has none
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_deserialize(db, "main", bytes.data(), static_cast<sqlite3_int64>(bytes.size()),
                                static_cast<sqlite3_int64>(bytes.size()), 0),
            SQLITE_OK);
  const std::string content = ContentOf(db);
  sqlite3_stmt* check = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db, "pragma integrity_check", -1, &check, nullptr), SQLITE_OK);
  EXPECT_EQ(sqlite3_step(check), SQLITE_ROW);
  EXPECT_STREQ(reinterpret_cast<const char*>(sqlite3_column_text(check, 0)), "ok");
  sqlite3_finalize(check);
  sqlite3_close(db);
  const int n = std::atoi(content.c_str());
  const bool known =
      n >= 0 && n < static_cast<int>(oracle.size()) && content == oracle[static_cast<size_t>(n)];
  EXPECT_TRUE(known) << "restored a state that never was: " << content.substr(0, 200);
  return known ? n : -1;
}

class World {
 public:
  explicit World(const std::vector<std::string>& oracle, int page_size = 1024) : oracle_(oracle) {
    auto db = Connection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000);
    EXPECT_OK(db);
    EXPECT_OK(db->Exec(("pragma page_size=" + std::to_string(page_size) +
                        "; pragma auto_vacuum=2; pragma journal_mode=wal; begin; " + kStepsSchema +
                        "; commit")
                           .c_str()));
  }

  std::vector<std::string> Command() const {
    return {SQLITE_S3_SHIPPING_PROGRAM, path_, "file://" + ours_ + "/replica",
            "interval=0 segment_size=4KiB memory=1MiB image_interval=20ms state_dir=" + ours_ +
                "/state",
            std::to_string(oracle_.size() - 1)};
  }
  const std::string& path() const { return path_; }
  // What only the library touches is below it.
  const std::string& ours() const { return ours_; }

  // Every restore point is right; returns the step of the last one, -1 when there is none yet.
  int CheckReplica(bool may_be_without_points) {
    auto store = OpenStore({.scheme = "file", .path = ours_ + "/replica"});
    EXPECT_OK(store);
    int last = -1;
    Status replayed =
        ReplayAll(**store, std::nullopt, [&](Txid txid, const CommitRecord&, const Bytes& db) {
          SCOPED_TRACE("TXID " + FormatTxid(txid));
          const int step = StepOf(db, oracle_);
          EXPECT_GE(step, last);
          last = step;
        });
    if (!may_be_without_points || replayed.code() != StatusCode::kNotFound) {
      EXPECT_OK(replayed);
    }
    return last;
  }

  // A run without troubles goes on to the last step, and then the replica is the database.
  void Finish() {
    const ProgramResult again = RunProgram(Command());
    ASSERT_EQ(again.exit_code, 0);
    EXPECT_EQ(CheckReplica(false), static_cast<int>(oracle_.size()) - 1);
    auto store = OpenStore({.scheme = "file", .path = ours_ + "/replica"});
    ASSERT_OK(store);
    ASSERT_OK_AND_ASSIGN(Bytes head, ReplayHead(**store));
    ASSERT_OK_AND_ASSIGN(Bytes file, ReadFile(path_, 1 << 30));
    EXPECT_TRUE(head == file) << "the replica's head is not the database";
    Replica replica(**store);
    ASSERT_OK(replica.Open());
    ASSERT_OK_AND_ASSIGN(auto timelines, replica.ListTimelines());
    EXPECT_EQ(timelines.size(), 1u) << "nothing was lost, so nothing had to begin anew";
    ASSERT_OK_AND_ASSIGN(auto spooled, ListDirectory(ours_ + "/state/spool"));
    EXPECT_THAT(spooled, ::testing::IsEmpty());
    ASSERT_OK_AND_ASSIGN(auto kept, ListDirectory(ours_ + "/state"));
    EXPECT_THAT(kept, ::testing::IsSubsetOf({"lock", "identity", "shared", "hashes", "hashes.scan",
                                             "hashes.undo.1", "spool"}));
  }

 private:
  const std::vector<std::string>& oracle_;
  TempDir dir_;
  const std::string path_ = dir_.File("app.db");
  const std::string ours_ = dir_.File("ours");
};

// The last step that a process said the replica has; -1 when none.
int Acknowledged(const ProgramResult& result) {
  int last = -1;
  for (size_t at = 0, end = 0; (end = result.out.find('\n', at)) != std::string::npos;
       at = end + 1) {
    last = std::atoi(result.out.c_str() + at);
  }
  return last;
}

class ShippingCrashTest : public ::testing::Test {
 protected:
  // How many calls a run makes that can be killed or failed.
  int CountCalls(std::map<std::string, std::string> settings, bool of_ours = false) {
    World world(oracle_);
    TempDir scratch;
    settings["KILL_AT_LOG"] = scratch.File("log");
    if (of_ours) {
      settings["KILL_AT_PATH"] = world.ours();
    }
    EXPECT_EQ(RunProgram(world.Command(), KillAtEnvironment(settings)).exit_code, 0);
    std::ifstream lines(scratch.File("log"));
    int count = 0;
    for (std::string line; std::getline(lines, line);) {
      ++count;
    }
    return count;
  }
  // Spread over 1..calls.
  static std::vector<int> Some(int calls) {
    std::vector<int> some;
    const int step = Long() ? 1 : std::max(calls / kBudget, 1);
    for (int k = 1; k <= calls; k += step) {
      some.push_back(k);
    }
    return some;
  }
  void KillAndCompare(std::map<std::string, std::string> settings) {
    const int calls = CountCalls(settings);
    ASSERT_GE(calls, 100);
    int killed = 0;
    for (int k : Some(calls)) {
      SCOPED_TRACE("killed at call " + std::to_string(k));
      World world(oracle_);
      settings["KILL_AT"] = std::to_string(k);
      const ProgramResult result = RunProgram(world.Command(), KillAtEnvironment(settings));
      ASSERT_TRUE(result.WasKilled() || result.exit_code == 0) << result.exit_code;
      killed += result.WasKilled() ? 1 : 0;
      const int acknowledged = Acknowledged(result);
      if (acknowledged >= 0) {
        EXPECT_GE(world.CheckReplica(false), acknowledged);
      }
      world.Finish();
      if (HasFailure()) {
        return;
      }
    }
    EXPECT_GE(killed, static_cast<int>(Some(calls).size()) / 2);  // runs differ in a few calls
  }
  void FailAndCompare(const char* error, bool onwards) {
    const int calls = CountCalls({}, true);
    ASSERT_GE(calls, 100);
    for (int k : Some(calls)) {
      SCOPED_TRACE(std::string(error) + " at call " + std::to_string(k));
      World world(oracle_);
      const ProgramResult result = RunProgram(
          world.Command(), KillAtEnvironment({{"FAIL_AT", std::to_string(k) + (onwards ? "+" : "")},
                                              {"FAIL_ERRNO", error},
                                              {"KILL_AT_PATH", world.ours()}}));
      // 6: not all was shipped, which the program was told.
      ASSERT_THAT(result.exit_code, ::testing::AnyOf(0, 6));
      const int acknowledged = Acknowledged(result);
      if (acknowledged >= 0) {
        EXPECT_GE(world.CheckReplica(false), acknowledged);
      }
      world.Finish();
      if (HasFailure()) {
        return;
      }
    }
  }

  const std::vector<std::string> oracle_ = Oracle(kLastStep);
};

TEST_F(ShippingCrashTest, KilledAtACallItLosesNothingAcknowledgedAndGoesOn) { KillAndCompare({}); }

TEST_F(ShippingCrashTest, AWriteTornByTheKillIsNoPartOfAnyRestorePoint) {
  KillAndCompare({{"KILL_AT_TORN", "1"}, {"KILL_AT_OPS", "write,pwrite"}});
}

TEST_F(ShippingCrashTest, ACallOfOursThatFailsIsNotTheApplicationsBusiness) {
  FailAndCompare("EIO", false);
}

TEST_F(ShippingCrashTest, AFullDiskBelowUsIsNotTheApplicationsBusiness) {
  FailAndCompare("ENOSPC", false);
}

// Each process in turn ships or stands by; somebody else checkpoints in every way there is.
TEST_F(ShippingCrashTest, ProcessesKilledInTurnLeaveOneHistory) {
  const std::vector<std::string> oracle = Oracle(Long() ? 100 : 40);
  for (unsigned seed = 1; seed <= (Long() ? 100 : 2); ++seed) {
    SCOPED_TRACE(seed);
    const int page_sizes[] = {1024, 4096, 65536, 512};
    World world(oracle, page_sizes[seed % 4]);
    std::atomic<bool> stop{false};
    std::atomic<int> acknowledged{-1};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        std::mt19937 random(seed * 10 + i);
        while (!stop) {
          const ProgramResult result =
              RunProgram(world.Command(),
                         KillAtEnvironment({{"KILL_AT", std::to_string(20 + random() % 6000)}}));
          for (int mine = Acknowledged(result), seen = acknowledged;
               mine > seen && !acknowledged.compare_exchange_weak(seen, mine);) {
          }
          if (!result.WasKilled()) {
            EXPECT_THAT(result.exit_code, ::testing::AnyOf(0, 6));
            stop = true;
          }
        }
      });
    }
    threads.emplace_back([&] {
      std::mt19937 random(seed);
      while (!stop) {
        auto db = Connection::Open(world.path(), SQLITE_OPEN_READWRITE, "", 20);
        for (int n = 0; db.ok() && n < 5 && !stop; ++n) {
          sqlite3_wal_checkpoint_v2(db->get(), "main", static_cast<int>(random() % 4), nullptr,
                                    nullptr);
        }
      }
    });
    for (std::thread& thread : threads) {
      thread.join();
    }
    if (acknowledged >= 0) {
      EXPECT_GE(world.CheckReplica(false), acknowledged);
    }
    world.Finish();
    if (HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace sqlite_s3

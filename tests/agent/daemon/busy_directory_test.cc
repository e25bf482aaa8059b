// Directories where so much is written that nobody is told of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "agent/daemon/agent.h"
#include "agent/daemon/directory_watcher.h"
#include "common/sqlite/connection.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DirectoryWatcherTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(mkdir(directory_.c_str(), 0700), 0);
    ASSERT_OK_AND_ASSIGN(DirectoryWatcher watcher, DirectoryWatcher::Open());
    watcher_.emplace(std::move(watcher));
    ASSERT_OK(watcher_->Watch(directory_));
  }
  void Append(const std::string& name) {
    std::ofstream(directory_ + "/" + name, std::ios::app) << 1;
  }
  std::vector<std::string> Told() {
    std::vector<std::string> told;
    watcher_->Dispatch([&](const std::string&, std::string_view name, FileEvent event) {
      constexpr const char* kNames[] = {"written ", "changed ", "lost "};
      told.push_back(std::string(kNames[static_cast<int>(event)]).append(name));
    });
    return told;
  }

  TempDir dir_;
  const std::string directory_ = dir_.path() + "/databases";
  std::optional<DirectoryWatcher> watcher_;
};

TEST_F(DirectoryWatcherTest, WritesAreNotToldOfWhileNobodyWantsThem) {
  Append("a-wal");
  EXPECT_THAT(Told(), ElementsAre("changed a-wal", "written a-wal"));
  ASSERT_TRUE(watcher_->TellWrites(directory_, false));
  Append("a-wal");
  EXPECT_THAT(Told(), IsEmpty());
  Append("b-wal");
  EXPECT_THAT(Told(), ElementsAre("changed b-wal"));
  ASSERT_TRUE(watcher_->TellWrites(directory_, true));
  Append("b-wal");
  EXPECT_THAT(Told(), ElementsAre("written b-wal"));
}

TEST_F(DirectoryWatcherTest, AnotherDirectoryUnderTheNameIsNotTakenForTheSame) {
  std::filesystem::rename(directory_, directory_ + ".old");
  ASSERT_EQ(mkdir(directory_.c_str(), 0700), 0);
  EXPECT_FALSE(watcher_->TellWrites(directory_, false));
  EXPECT_FALSE(watcher_->Watches(directory_));
  ASSERT_OK(watcher_->Watch(directory_));
  (void)Told();
  Append("a");
  EXPECT_THAT(Told(), ElementsAre("changed a", "written a"));
}

TEST_F(DirectoryWatcherTest, ADirectoryThatIsGoneIsForgotten) {
  std::filesystem::remove(directory_);
  EXPECT_FALSE(watcher_->TellWrites(directory_, true));
  EXPECT_FALSE(watcher_->Watches(directory_));
}

// Two databases in one directory.
class BusyDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    log_.Configure(LogFormat::kText, LogLevel::kError);
    ASSERT_OK_AND_ASSIGN(agent_, Agent::Create(log_));
    agent_->SetBusyRate(1);
    apps_.reserve(3);  // a writer's thread uses one while another is added
    loop_ = std::thread([this] { agent_->Run(); });
    for (const char* name : {"busy", "neighbour"}) {
      const std::string path = dir_.path() + "/" + name;
      ASSERT_OK_AND_ASSIGN(
          Connection app,
          Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000));
      ASSERT_OK(app.Exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; create table t(a)"));
      apps_.push_back(std::move(app));
      ASSERT_OK_AND_ASSIGN(
          DatabaseSpec spec,
          MakeDatabaseSpec(path, "file://" + dir_.path() + "/replicas/" + name, ""));
      ASSERT_OK(agent_->Add(std::move(spec)));
      tasks_.push_back(agent_->Find(path));
    }
    for (const auto& task : tasks_) {
      ASSERT_TRUE(agent_->AwaitAttended(milliseconds(30'000), [&] { return !!task->engine(); }));
      while (task->GetStatus(false).engine.state != EngineState::kShipping) {
        std::this_thread::yield();
      }
    }
  }
  void TearDown() override {
    if (loop_.joinable()) {
      agent_->Stop();
      loop_.join();
    }
  }
  void Commit(size_t of) { ASSERT_OK(apps_[of].Exec("insert into t values(1)")); }
  Txid Captured(size_t of) { return tasks_[of]->GetStatus(false).engine.txid; }
  void CommitUntilBusy() {
    while (agent_->CountBusyDirectories() == 0) {
      Commit(0);
    }
  }
  // Nobody asks for it: what rings, or a look by the clock, finds it.
  void CommitIsSeen(size_t of) {
    ASSERT_OK(tasks_[of]->engine()->Sync(milliseconds(30'000), nullptr));
    const Txid before = Captured(of);
    Commit(of);
    while (Captured(of) == before) {
      std::this_thread::yield();
    }
  }

  TempDir dir_;
  Logger log_;
  std::unique_ptr<Agent> agent_;
  std::thread loop_;
  std::vector<Connection> apps_;
  std::vector<std::shared_ptr<DatabaseTask>> tasks_;
};

TEST_F(BusyDirectoryTest, ANeighboursCommitsAreSeenWithoutEvents) {
  CommitUntilBusy();
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) {
      Commit(0);
    }
  });
  for (int i = 0; i < 20; ++i) {
    CommitIsSeen(1);
  }
  stop = true;
  writer.join();
}

TEST_F(BusyDirectoryTest, EventsComeAgainWhenItIsQuiet) {
  for (int round = 0; round < 2; ++round) {
    CommitUntilBusy();
    while (agent_->CountBusyDirectories() > 0) {
      std::this_thread::yield();
    }
    CommitIsSeen(0);
    CommitIsSeen(1);
  }
}

TEST_F(BusyDirectoryTest, ADatabaseThatBeginsHearsOfEverything) {
  CommitUntilBusy();
  const std::string path = dir_.path() + "/late";
  ASSERT_OK_AND_ASSIGN(DatabaseSpec spec,
                       MakeDatabaseSpec(path, "file://" + dir_.path() + "/replicas/late", ""));
  ASSERT_OK(agent_->Add(std::move(spec)));
  tasks_.push_back(agent_->Find(path));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) {
      Commit(0);
    }
  });
  ASSERT_TRUE(agent_->AwaitAttended(milliseconds(30'000),
                                    [&] { return !tasks_[2]->waiting().ok(); }));  // no such file
  ASSERT_OK_AND_ASSIGN(
      Connection app,
      Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000));
  ASSERT_OK(app.Exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; create table t(a)"));
  apps_.push_back(std::move(app));
  ASSERT_TRUE(agent_->AwaitAttended(milliseconds(30'000), [&] { return !!tasks_[2]->engine(); }));
  while (agent_->CountBusyDirectories() == 0) {
    std::this_thread::yield();
  }
  CommitIsSeen(2);
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace sqlite_s3

// Who waits for a database of the agent's.

#include "agent/daemon/agent.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "common/sqlite/connection.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{30'000};

class AgentTest : public testing::Test {
 protected:
  void SetUp() override {
    log_.Configure(LogFormat::kText, LogLevel::kError);
    ASSERT_OK_AND_ASSIGN(
        app_, Connection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000));
    ASSERT_OK(app_.Exec("PRAGMA journal_mode=WAL; create table t(a)"));
    ASSERT_OK_AND_ASSIGN(agent_, Agent::Create(log_));
    loop_ = std::thread([this] { agent_->Run(); });
    ASSERT_OK_AND_ASSIGN(DatabaseSpec spec,
                         MakeDatabaseSpec(path_, "file://" + dir_.path() + "/replica", ""));
    ASSERT_OK(agent_->Add(std::move(spec)));
    task_ = agent_->Find(path_);
    ASSERT_TRUE(task_);
    ASSERT_TRUE(agent_->AwaitAttended(kLong, [&] { return task_->engine() != nullptr; }));
  }
  void TearDown() override {
    if (loop_.joinable()) {
      agent_->Stop();
      loop_.join();
    }
  }

  TempDir dir_;
  const std::string path_ = dir_.path() + "/app.db";
  Connection app_;
  Logger log_;
  std::unique_ptr<Agent> agent_;
  std::thread loop_;
  std::shared_ptr<DatabaseTask> task_;
};

// `pause` waits for the end of the engine, `sync` for one: a database that is removed has its end,
// and will not have another.
TEST_F(AgentTest, RemovalOfADatabaseEndsTheWaitForIt) {
  std::atomic<bool> waits{false};
  bool ended = false;
  std::thread waiter([&] {
    ended = agent_->AwaitAttended(kLong, [&] {
      waits = true;
      waits.notify_all();
      return !task_->engine() && !task_->waiting().ok();
    });
  });
  waits.wait(false);
  EXPECT_OK(agent_->Remove(path_));
  waiter.join();
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace sqlite_s3

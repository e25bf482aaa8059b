// Who waits for a database of the agent's.

#include "agent/daemon/agent.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "common/os/fd.h"
#include "common/os/file.h"
#include "common/sqlite/connection.h"
#include "tests/support/scripted_http.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

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

std::function<void()> when_opened;

int TellOfOpening(sqlite3*, char**, const sqlite3_api_routines*) {
  when_opened();
  return SQLITE_OK;
}

// While a start goes on there is no engine yet, and the database is open all the same: `pause` said
// that it was closed.
TEST(DatabaseTaskTest, WhatIsBeingOpenedIsNotClosed) {
  TempDir dir;
  const std::string path = dir.path() + "/app.db";
  ASSERT_OK_AND_ASSIGN(
      Connection app,
      Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000));
  ASSERT_OK(app.Exec("PRAGMA journal_mode=WAL; create table t(a)"));
  ASSERT_OK_AND_ASSIGN(DatabaseSpec spec,
                       MakeDatabaseSpec(path, "file://" + dir.path() + "/replica", ""));
  FileClaims claims;
  Logger log;
  log.Configure(LogFormat::kText, LogLevel::kError);
  DatabaseTask task(std::move(spec), claims, log);
  EXPECT_TRUE(task.IsClosed());
  std::atomic<int> opened{0};
  when_opened = [&] {
    EXPECT_FALSE(task.IsClosed());
    ++opened;
  };
  auto tell = reinterpret_cast<void (*)()>(TellOfOpening);
  ASSERT_EQ(sqlite3_auto_extension(tell), SQLITE_OK);
  task.Attend(false);
  EXPECT_GT(opened, 0);
  EXPECT_FALSE(task.IsClosed());
  task.Pause();
  task.Attend(false);
  EXPECT_TRUE(task.IsClosed());
  const int before = opened;
  task.Attend(false);
  sqlite3_cancel_auto_extension(tell);
  EXPECT_EQ(opened, before);
}

class RefusedTest : public testing::Test {
 protected:
  void MakeDatabase(const std::string& path) {
    ASSERT_OK_AND_ASSIGN(
        Connection app,
        Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000));
    ASSERT_OK(app.Exec(
        "PRAGMA journal_mode=WAL; create table t(a); insert into t values(randomblob(9))"));
  }
  std::unique_ptr<DatabaseTask> TaskFor(const std::string& path, const std::string& replica) {
    auto spec = MakeDatabaseSpec(path, replica, "");
    EXPECT_OK(spec.status());
    return std::make_unique<DatabaseTask>(std::move(spec).value(), claims_, log_);
  }
  size_t CountInLog(const std::string& text) {
    auto read = ReadFile(log_path_, 1 << 20);
    EXPECT_OK(read.status());
    const std::string_view log = AsText(*read);
    size_t count = 0;
    for (size_t at = log.find(text); at != log.npos; at = log.find(text, at + 1)) {
      ++count;
    }
    return count;
  }

  TempDir dir_;
  const std::string path_ = dir_.path() + "/app.db";
  const std::string log_path_ = dir_.path() + "/log";
  const Fd log_file_{open(log_path_.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600)};
  Logger log_{log_file_.get()};
  FileClaims claims_;
};

// A store that does not answer was waited for under the reason of before: that the file was
// missing.
TEST_F(RefusedTest, WhoWaitsForTheStoreDoesNotSayThatItWaitsForTheFile) {
  std::atomic<DatabaseTask*> task{nullptr};
  std::atomic<int> round{0};
  std::atomic<int> asked{0};
  ScriptedHttp store([&](const ScriptedRequest&) {
    if (++asked == 1) {
      const std::string why = task.load()->GetStatus(false).waiting_for;
      EXPECT_THAT(why, HasSubstr(round == 0 ? "the answer of replica s3://b" : "AccessDenied"));
      EXPECT_EQ(task.load()->waiting().ok(), round == 0) << "`sync` waits for a first start";
    }
    return S3Error(403, "AccessDenied");
  });
  setenv("AWS_ACCESS_KEY_ID", "key", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
  const auto owned = TaskFor(path_, "s3://bucket/app?endpoint=" + store.endpoint());
  task = owned.get();
  owned->Attend(false);
  EXPECT_THAT(owned->GetStatus(false).waiting_for, HasSubstr("does not exist yet"));
  MakeDatabase(path_);
  owned->Attend(false);
  EXPECT_GT(asked.exchange(0), 0);
  EXPECT_THAT(owned->GetStatus(false).waiting_for, HasSubstr("AccessDenied"));
  round = 1;
  owned->Attend(false);
  EXPECT_GT(asked, 0);
}

// Each start that was refused made and removed a -wal, which was a sign to try again: ten times a
// second, with requests to the store and a line in the log.
TEST_F(RefusedTest, AStartIsNotTriedAgainBecauseOfWhatTheLastOneDidToTheFiles) {
  const std::string first = dir_.path() + "/first.db";
  const std::string replica = "file://" + dir_.path() + "/replica";
  MakeDatabase(first);
  MakeDatabase(path_);
  {
    const auto owner = TaskFor(first, replica);
    owner->Attend(false);
    ASSERT_TRUE(owner->engine());
    ASSERT_OK(owner->engine()->Sync(kLong, nullptr));
    ASSERT_OK(owner->Stop(kLong));
  }
  const auto refused = TaskFor(path_, replica);
  when_opened = [&] { EXPECT_FALSE(refused->OnEvent(true)) << "while it is tried"; };
  auto tell = reinterpret_cast<void (*)()>(TellOfOpening);
  ASSERT_EQ(sqlite3_auto_extension(tell), SQLITE_OK);
  const size_t starts = CountInLog("starting");
  for (int i = 0; i < 3; ++i) {
    refused->Attend(false);
    EXPECT_THAT(refused->waiting().message(), HasSubstr("belongs to another writer"));
    EXPECT_FALSE(refused->OnEvent(true));
  }
  sqlite3_cancel_auto_extension(tell);
  EXPECT_EQ(CountInLog("starting") - starts, 1U);
  EXPECT_EQ(CountInLog("not shipped"), 1U);
  {
    ASSERT_OK_AND_ASSIGN(Connection app, Connection::Open(path_, SQLITE_OPEN_READWRITE, "", 0));
    ASSERT_OK(app.Exec("insert into t values(1)"));
    EXPECT_TRUE(refused->OnEvent(true)) << "an application has opened it";
  }
  refused->Attend(false);
  EXPECT_FALSE(refused->OnEvent(true));
  ASSERT_EQ(rename(first.c_str(), path_.c_str()), 0);
  EXPECT_TRUE(refused->OnEvent(true)) << "it is another file";
}

// A `verify` that tries again must not hold up the end of the agent.
TEST_F(AgentTest, AStopEndsAPauseBetweenTries) {
  bool again = true;
  std::thread verify([&] { again = agent_->Pause(std::chrono::hours(1)); });
  agent_->Stop();
  verify.join();
  EXPECT_FALSE(again);
  EXPECT_FALSE(agent_->Pause(std::chrono::hours(1))) << "nor one that begins later";
}

}  // namespace
}  // namespace sqlite_s3

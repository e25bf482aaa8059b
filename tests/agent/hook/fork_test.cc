// fork(2) with the hook layer in the process; the fake engine holds no connection of its own. What
// the attacks e2 and e23 do is in tests/integration/hook_fork_test.cc, with a real engine.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "agent/hook/registry.h"
#include "agent/hook/sqlite_s3.h"
#include "tests/agent/hook/app.h"
#include "tests/agent/hook/fake_engine.h"
#include "tests/support/in_child.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::SizeIs;

struct ForkTest : ::testing::Test {
  void SetUp() override {
    app.Create(path);
    ASSERT_EQ(sqlite_s3_open_connection(app.db(), "memory:r", nullptr, &handle), SQLITE_S3_OK)
        << sqlite_s3_errmsg();
  }
  void TearDown() override { sqlite_s3_close(handle, 0); }

  TempDir dir;
  const std::string path = dir.File("app.db");
  FakeEngines engines;
  App app;
  sqlite_s3_handle* handle = nullptr;
};

TEST_F(ForkTest, TheEngineIsToldInBothProcesses) {
  EXPECT_EQ(InChild([&] { return engines.last().fork_events == "prepare child "; }), 0);
  EXPECT_EQ(engines.last().fork_events, "prepare parent ");
  app.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(1));
}

TEST_F(ForkTest, HandlesAreDeadInTheChild) {
  EXPECT_EQ(InChild([&] {
              return sqlite_s3_sync(handle, 1000, nullptr) == SQLITE_S3_CANCELLED &&
                     sqlite_s3_attach(handle, app.db()) == SQLITE_S3_CANCELLED &&
                     sqlite_s3_attach_all(handle) == SQLITE_S3_CANCELLED &&
                     sqlite_s3_close(handle, 1000) == SQLITE_S3_CANCELLED;
            }),
            0);
  EXPECT_EQ(sqlite_s3_sync(handle, 1000, nullptr), SQLITE_S3_OK);
}

TEST_F(ForkTest, HooksOfInheritedConnectionsDoNothing) {
  EXPECT_EQ(InChild([&] {
              app.Insert();
              bool silent = engines.last().commits.empty();
              app.CloseV2();
              return silent && engines.last().connections == 2;
            }),
            0);
}

TEST_F(ForkTest, TheChildMayStartAfresh) {
  EXPECT_EQ(
      InChild([&] {
        App own(path);
        sqlite_s3_handle* fresh = nullptr;
        if (sqlite_s3_open_connection(own.db(), "memory:r2", nullptr, &fresh) != SQLITE_S3_OK) {
          return false;
        }
        own.Insert(2);
        bool rang = engines.count() == 2 && engines.last().commits.size() == 2;
        return rang && sqlite_s3_close(fresh, 0) == SQLITE_S3_OK && engines.last().stopped;
      }),
      0);
}

TEST_F(ForkTest, AGrandchildToo) {
  EXPECT_EQ(InChild([&] {
              App own(path);
              sqlite_s3_handle* fresh = nullptr;
              if (sqlite_s3_open_connection(own.db(), "memory:r", nullptr, &fresh) != 0) {
                return false;
              }
              return InChild([&] {
                       return sqlite_s3_sync(fresh, 0, nullptr) == SQLITE_S3_CANCELLED &&
                              engines.last().fork_events == "prepare child ";
                     }) == 0;
            }),
            0);
}

// Nothing here calls SQLite, whose own locks are the application's business in a fork with threads.
TEST_F(ForkTest, NoLockOfOursIsLeftBehindInAChild) {
  ShipRequest request;
  request.database = {dir.File("other.db"), "unix", {1, 2}};
  request.config = ParseReplicaConfig("memory:r").value();
  auto start_and_stop = [&] {
    ForkGate::Operation operation(Registry::Get().fork_gate());
    auto shared = Registry::Get().Acquire(request, {ShipUser::Kind::kHandle});
    if (shared.ok()) {
      (*shared)->RemoveUser({ShipUser::Kind::kHandle});
    }
    return shared.ok();
  };
  std::atomic<bool> stop{false};
  std::thread churn([&] {
    while (!stop) {
      EXPECT_TRUE(start_and_stop());
    }
  });
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(InChild([&] {
                return sqlite_s3_sync(handle, 0, nullptr) == SQLITE_S3_CANCELLED &&
                       sqlite_s3_close(handle, 0) == SQLITE_S3_CANCELLED && start_and_stop();
              }),
              0);
  }
  stop = true;
  churn.join();
}

}  // namespace
}  // namespace sqlite_s3

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "agent/hook/sqlite_s3.h"
#include "tests/agent/hook/app.h"
#include "tests/agent/hook/fake_engine.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct CApiTest : ::testing::Test {
  void SetUp() override { app.Create(path); }
  void TearDown() override { sqlite_s3_close(handle, 0); }
  void Open(const char* options = nullptr) {
    ASSERT_EQ(sqlite_s3_open(path.c_str(), "memory:r", options, &handle), SQLITE_S3_OK)
        << sqlite_s3_errmsg();
  }
  void OpenAndAttach() {
    Open();
    ASSERT_EQ(sqlite_s3_attach(handle, app.db()), SQLITE_S3_OK) << sqlite_s3_errmsg();
  }

  TempDir dir;
  const std::string path = dir.File("app.db");
  FakeEngines engines;
  App app;
  sqlite_s3_handle* handle = nullptr;
};

TEST_F(CApiTest, AttachedConnectionsRingUntilTheHandleIsClosed) {
  OpenAndAttach();
  app.Insert(2);
  EXPECT_THAT(engines.last().commits, SizeIs(2));
  EXPECT_EQ(sqlite_s3_close(handle, 100), SQLITE_S3_OK);
  handle = nullptr;
  EXPECT_TRUE(engines.last().stopped);
  app.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(2));
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "1000");
}

TEST_F(CApiTest, AHandleKeepsTheEngineBetweenConnections) {
  OpenAndAttach();
  ASSERT_EQ(app.Close(), SQLITE_OK);
  EXPECT_FALSE(engines.last().stopped);
  App second(path);
  ASSERT_EQ(sqlite_s3_attach(handle, second.db()), SQLITE_S3_OK);
  second.Insert();
  EXPECT_EQ(engines.count(), 1u);
  EXPECT_THAT(engines.last().commits, SizeIs(1));
}

TEST_F(CApiTest, TwoHandlesOfOneDatabaseShare) {
  OpenAndAttach();
  sqlite_s3_handle* second = nullptr;
  ASSERT_EQ(sqlite_s3_open(path.c_str(), "memory:r", "", &second), SQLITE_S3_OK);
  EXPECT_EQ(engines.count(), 1u);
  EXPECT_EQ(sqlite_s3_close(second, 0), SQLITE_S3_OK);
  EXPECT_FALSE(engines.last().stopped);
  EXPECT_EQ(sqlite_s3_open(path.c_str(), "memory:other", "", &second), SQLITE_S3_INVALID);
  EXPECT_EQ(second, nullptr);
  EXPECT_THAT(sqlite_s3_errmsg(), HasSubstr("to another replica, memory:r"));
}

TEST_F(CApiTest, OpenConnectionAttachesToo) {
  ASSERT_EQ(sqlite_s3_open_connection(app.db(), "memory:r", nullptr, &handle), SQLITE_S3_OK);
  app.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(1));
}

TEST_F(CApiTest, TheFirstConnectionsSettingReplacesTheDefaultThreshold) {
  Open();
  EXPECT_EQ(engines.last().checkpoint_pages, 1000u);
  app.Do("PRAGMA wal_autocheckpoint=60");
  ASSERT_EQ(sqlite_s3_attach(handle, app.db()), SQLITE_S3_OK);
  EXPECT_EQ(engines.last().checkpoint_pages, 60u);
}

TEST_F(CApiTest, DetachLeavesTheDatabaseShipped) {
  OpenAndAttach();
  ASSERT_EQ(sqlite_s3_detach(app.db()), SQLITE_S3_OK);
  ASSERT_EQ(sqlite_s3_detach(app.db()), SQLITE_S3_OK);
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "1000");
  EXPECT_FALSE(engines.last().stopped);
}

TEST_F(CApiTest, AnApplicationsOwnHookMayRing) {
  OpenAndAttach();
  sqlite3_wal_hook(
      app.db(),
      [](void*, sqlite3* db, const char*, int frames) {
        EXPECT_EQ(sqlite_s3_notify(db, frames), SQLITE_S3_OK);
        return SQLITE_OK;
      },
      &handle);
  app.Insert(2);
  EXPECT_THAT(engines.last().commits, SizeIs(2));
}

TEST_F(CApiTest, AttachAllNeedsNoConnectionToStartFrom) {
  Open("attach=all");
  App second(path);
  second.Insert();
  EXPECT_THAT(engines.last().commits, SizeIs(1));
  ASSERT_EQ(second.Close(), SQLITE_OK);
  EXPECT_FALSE(engines.last().stopped);
  EXPECT_EQ(sqlite_s3_close(handle, 0), SQLITE_S3_OK);
  handle = nullptr;
  App third(path);
  third.Insert();
  EXPECT_EQ(engines.count(), 1u);
  EXPECT_THAT(engines.last().commits, SizeIs(1));
}

TEST_F(CApiTest, WaitsReportTheTxid) {
  OpenAndAttach();
  app.Insert(3);
  uint64_t txid = 0;
  EXPECT_EQ(sqlite_s3_sync(handle, 100, &txid), SQLITE_S3_OK);
  EXPECT_EQ(txid, 3u);
  EXPECT_EQ(engines.last().last_timeout, milliseconds(100));
  EXPECT_EQ(sqlite_s3_sync(handle, -1, nullptr), SQLITE_S3_OK);
  EXPECT_GT(engines.last().last_timeout, std::chrono::hours(24 * 365));
  EXPECT_EQ(sqlite_s3_wait(handle, 3, 100), SQLITE_S3_OK);
  EXPECT_EQ(sqlite_s3_wait(handle, 4, 100), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_mark(handle, "m", 100, &txid), SQLITE_S3_OK);
  EXPECT_THAT(engines.last().marks, ElementsAre("m"));
  EXPECT_EQ(sqlite_s3_image(handle, 100, &txid), SQLITE_S3_OK);
  char text[17];
  sqlite_s3_txid_text(0x12ab, text);
  EXPECT_STREQ(text, "00000000000012ab");
}

TEST_F(CApiTest, StatusIsTheCallersToFree) {
  OpenAndAttach();
  app.Insert();
  char* json = sqlite_s3_status(handle);
  ASSERT_NE(json, nullptr);
  EXPECT_THAT(json, HasSubstr("0000000000000001"));
  sqlite_s3_free(json);
  EXPECT_EQ(sqlite_s3_status(nullptr), nullptr);
}

TEST_F(CApiTest, EveryCodeHasItsFixedNumber) {
  OpenAndAttach();
  struct {
    StatusCode code;
    int expected;
  } cases[] = {
      {StatusCode::kOk, 0},
      {StatusCode::kInvalidArgument, 1},
      {StatusCode::kNotFound, 2},
      {StatusCode::kAlreadyExists, 3},
      {StatusCode::kUnavailable, 4},
      {StatusCode::kAborted, 5},
      {StatusCode::kFailedPrecondition, 6},
      {StatusCode::kPermissionDenied, 7},
      {StatusCode::kResourceExhausted, 8},
      {StatusCode::kCorruption, 9},
      {StatusCode::kIoError, 10},
      {StatusCode::kCancelled, 11},
      {StatusCode::kDeadlineExceeded, 12},
      {StatusCode::kUnimplemented, 13},
      {StatusCode::kInternal, 14},
  };
  for (const auto& c : cases) {
    engines.last().sync_status = Status(c.code, StatusCodeName(c.code));
    EXPECT_EQ(sqlite_s3_sync(handle, 0, nullptr), c.expected);
    if (c.code != StatusCode::kOk) {
      EXPECT_STREQ(sqlite_s3_errmsg(), StatusCodeName(c.code));
    }
  }
  engines.last().sync_status = Status();
}

TEST_F(CApiTest, NullsAndNonsenseAreErrors) {
  Open();
  sqlite_s3_handle* none = handle;
  EXPECT_EQ(sqlite_s3_open(path.c_str(), nullptr, nullptr, &none), SQLITE_S3_INVALID);
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(sqlite_s3_open(nullptr, "memory:r", nullptr, &none), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_open(path.c_str(), "memory:r", nullptr, nullptr), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_open(dir.File("no").c_str(), "memory:r", "", &none), SQLITE_S3_NOT_FOUND);
  EXPECT_EQ(sqlite_s3_open_connection(nullptr, "memory:r", "", &none), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_attach(nullptr, app.db()), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_attach(handle, nullptr), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_detach(nullptr), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_notify(nullptr, 1), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_notify(app.db(), -1), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_sync(nullptr, 1, nullptr), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_wait(nullptr, 1, 1), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_mark(handle, nullptr, 1, nullptr), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_image(nullptr, 1, nullptr), SQLITE_S3_INVALID);
  EXPECT_EQ(sqlite_s3_close(nullptr, 1), SQLITE_S3_OK);
  sqlite_s3_free(nullptr);
}

TEST_F(CApiTest, AConnectionToAnotherDatabaseIsRefused) {
  Open();
  App other;
  other.Create(dir.File("other.db"));
  EXPECT_EQ(sqlite_s3_attach(handle, other.db()), SQLITE_S3_INVALID);
  App dotfile(path, 0, "unix-excl");
  EXPECT_NE(sqlite_s3_attach(handle, dotfile.db()), SQLITE_S3_OK);
}

TEST_F(CApiTest, ErrorMessagesBelongToTheThread) {
  EXPECT_EQ(sqlite_s3_sync(nullptr, 0, nullptr), SQLITE_S3_INVALID);
  std::string in_thread = "untouched";
  std::thread([&] { in_thread = sqlite_s3_errmsg(); }).join();
  EXPECT_EQ(in_thread, "");
  EXPECT_STREQ(sqlite_s3_errmsg(), "the handle is NULL");
}

TEST_F(CApiTest, LogLinesReachTheCallbackUntilItIsTakenBack) {
  std::vector<std::string> lines;
  sqlite_s3_set_log(
      [](void* context, int level, const char* message) {
        static_cast<std::vector<std::string>*>(context)->push_back(std::to_string(level) + message);
      },
      &lines);
  Open();
  engines.last().config.log(LogLevel::kWarning, "careful");
  EXPECT_THAT(lines, ElementsAre("2careful"));
  sqlite_s3_set_log(nullptr, nullptr);
  engines.last().config.log(LogLevel::kError, "gone");
  EXPECT_THAT(lines, SizeIs(1));
}

TEST_F(CApiTest, VersionsAgree) {
  EXPECT_STREQ(sqlite_s3_version(), SQLITE_S3_VERSION);
  EXPECT_EQ(sqlite_s3_version_number(), SQLITE_S3_VERSION_NUMBER);
}

TEST_F(CApiTest, AThrowingEngineIsAnInternalError) {
  struct Throwing : FakeEngine {
    using FakeEngine::FakeEngine;
    Status Sync(milliseconds, Txid*) override { throw 42; }
  };
  SetEngineFactoryForTesting([](const EngineConfig& config) -> Result<std::shared_ptr<Engine>> {
    return std::shared_ptr<Engine>(std::make_shared<Throwing>(config));
  });
  Open();
  EXPECT_EQ(sqlite_s3_sync(handle, 0, nullptr), SQLITE_S3_INTERNAL);
}

}  // namespace
}  // namespace sqlite_s3

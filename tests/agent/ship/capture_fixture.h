#pragma once
// A database in WAL mode with its application's connection, and the configuration of a capture of
// it.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "agent/ship/wal_capture.h"
#include "common/sqlite/connection.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {

class CaptureFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(
        app, Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000));
    ASSERT_OK(app.Exec("PRAGMA journal_mode=WAL"));
    config.database_path = path;
    config.account = &account;
  }

  TempDir dir;
  const std::string path = dir.path() + "/app.db";
  Connection app;
  MemoryAccount account;
  WalCapture::Config config;
};

// Opens a capture whose statements are watched.
Result<std::unique_ptr<WalCapture>> OpenWatched(const WalCapture::Config& config);
// Runs this once, in the thread of a watched capture, when such a statement of it ends; in place of
// what was awaited before.
void WhenStatementEnds(std::string sql, std::function<void()> run);
bool StatementIsAwaited();

}  // namespace sqlite_s3

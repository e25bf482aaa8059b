#pragma once
// StatementsFixture: an application with the library in it, its replica in a directory, and the
// restore of any of its commits by statements and by pages.
//
//   Start("statements=values");
//   app.Do("INSERT INTO t VALUES(1)");
//   Stop();
//   ExpectSqlEqualsPages();

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/hook/sqlite_s3.h"
#include "agent/hook/start_engine.h"
#include "common/format/statements.h"
#include "common/os/file.h"
#include "restore/restorer.h"
#include "tests/agent/hook/app.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {

// A trace callback of somebody else: counts.
inline int CountTrace(unsigned, void* count, void*, void*) {
  ++*static_cast<int*>(count);
  return 0;
}

class StatementsFixture : public ::testing::Test {
 protected:
  static constexpr int kLong = 60'000;  // milliseconds; only waited out by a test that fails

  void SetUp() override {
    SetEngineFactoryForTesting([this](EngineConfig config) {
      config.statement_patience = statement_patience;
      return Engine::Start(config);
    });
    app.Create(path);
  }
  void TearDown() override {
    Stop();
    SetEngineFactoryForTesting(nullptr);
  }

  void Start(const std::string& options) {
    const std::string url = "file://" + directory.File("replica");
    ASSERT_EQ(sqlite_s3_open_connection(app.db(), url.c_str(), options.c_str(), &handle),
              SQLITE_S3_OK)
        << sqlite_s3_errmsg();
    Sync();
  }
  Txid Sync() {
    uint64_t txid = 0;
    EXPECT_EQ(sqlite_s3_sync(handle, kLong, &txid), SQLITE_S3_OK) << sqlite_s3_errmsg();
    return Txid{txid};
  }
  void Stop() {
    if (handle != nullptr) {
      EXPECT_EQ(sqlite_s3_close(handle, kLong), SQLITE_S3_OK) << sqlite_s3_errmsg();
      handle = nullptr;
    }
  }
  // The statements of every commit so far, by TXID from 1.
  std::vector<CommitStatements> Log();
  // The SQL of a commit's statements without transaction control.
  std::vector<std::string> Sql(Txid txid);

  Result<RestoreReport> Restore(Txid txid, RestoreVia via, Bytes* bytes, bool strict = false);
  // Leaves the database at directory.File("restored.db").
  Result<RestoreReport> RestoreWithout(std::vector<Txid> skip, Txid txid);
  // Restores every commit from the first image on both ways; what needed pages at the last one.
  std::set<uint64_t> ExpectSqlEqualsPages();

  // A busy machine may hold the test's thread between a commit and its hook.
  std::chrono::milliseconds statement_patience{kLong / 2};
  std::string reasons;  // of them, a line each
  TempDir directory;
  const std::string path = directory.File("app.db");
  App app;
  sqlite_s3_handle* handle = nullptr;
};

}  // namespace sqlite_s3

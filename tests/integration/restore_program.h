#pragma once
// What the tests of the program sqlite-s3-restore share: a replica in a directory, runs of the
// program, its JSON.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "common/os/file.h"
#include "common/store/directory_store.h"
#include "tests/restore/sqlite_history.h"
#include "tests/support/run_program.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {

class RestoreProgramTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(store_, OpenDirectoryStore({.path = replica_, .create = true}));
    source_ = std::make_unique<SqliteHistory>(*store_, 1024, 5);
  }
  // n inserts of one row each, in a segment.
  void Commits(int n) {
    for (int i = 0; i < n; ++i) {
      source_->Run("INSERT INTO t(a, b) VALUES(hex(randomblob(9)), randomblob(300))");
    }
    source_->history().Cut();
  }
  History& history() { return source_->history(); }
  Txid Last() { return history().txid(); }
  const Bytes& Reference(Txid txid) { return source_->Reference(txid); }

  std::vector<std::string> Command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), SQLITE_S3_RESTORE_PROGRAM);
    return arguments;
  }
  ProgramResult Run(std::vector<std::string> arguments,
                    std::map<std::string, std::string> environment = {}) {
    environment["TMPDIR"] = scratch_.path();
    environment.emplace("TZ", "UTC");
    return RunProgram(Command(std::move(arguments)), environment);
  }
  // Standard error of a run, which otherwise goes where ours goes.
  std::string ErrorText(const std::string& arguments) {
    const std::string file = scratch_.File("stderr");
    (void)RunProgram(
        {"/bin/sh", "-c", std::string(SQLITE_S3_RESTORE_PROGRAM) + " " + arguments + " 2>" + file},
        {{"TZ", "UTC"}});
    std::string text(AsText(*ReadFile(file, 1 << 20)));
    EXPECT_OK(RemoveFile(file));
    return text;
  }
  static nlohmann::json Json(const ProgramResult& result) {
    auto json = nlohmann::json::parse(result.out, nullptr, /*allow_exceptions=*/false);
    EXPECT_TRUE(json.is_object()) << result.out;
    return json;
  }
  Bytes Output() {
    auto bytes = ReadFile(output_, 1 << 30);
    EXPECT_OK(bytes);
    return bytes.ok() ? *bytes : Bytes();
  }
  static std::set<std::string> FilesIn(const TempDir& directory) {
    auto names = ListDirectory(directory.path());
    EXPECT_OK(names);
    return {names->begin(), names->end()};
  }
  std::set<std::string> Files() { return FilesIn(target_); }

  TempDir replica_dir_;
  TempDir target_;
  TempDir scratch_;
  const std::string replica_ = replica_dir_.File("replica");
  const std::string output_ = target_.File("app.db");
  std::shared_ptr<ObjectStore> store_;
  std::unique_ptr<SqliteHistory> source_;
};

}  // namespace sqlite_s3

#pragma once
// What the tests of restore/ share: restores over a store in memory into a directory of their own.

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "common/os/file.h"
#include "common/store/memory_store.h"
#include "restore/restorer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {

class RestoreFixture : public ::testing::Test {
 protected:
  Result<RestoreReport> Restore(RestoreOptions options) {
    damage_ = {};
    if (options.output.empty()) {
      options.output = output_;
    }
    Replica replica(store());
    RETURN_IF_ERROR(replica.Open());
    replica.set_parallelism(parallelism_);
    replica.set_keep_bytes(keep_bytes_);
    Progress progress(/*enabled=*/false);
    return Restorer(replica, options, progress).Run(&damage_);
  }
  Result<RestoreReport> Restore(RestoreTarget target, RestoreVia via = RestoreVia::kPages) {
    RestoreOptions options;
    options.target = std::move(target);
    options.via = via;
    return Restore(std::move(options));
  }

  virtual ObjectStore& store() { return *store_; }
  Bytes Output() { return Read(output_); }
  static Bytes Read(const std::string& path) {
    auto bytes = ReadFile(path, uint64_t{1} << 32);
    EXPECT_OK(bytes);
    return bytes.ok() ? *bytes : Bytes();
  }
  void RemoveOutput() { EXPECT_OK(RemoveFile(output_)); }
  std::set<std::string> Files() {
    auto names = ListDirectory(directory_.path());
    EXPECT_OK(names);
    return names.ok() ? std::set<std::string>(names->begin(), names->end())
                      : std::set<std::string>();
  }

  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>("restore");
  TempDir directory_;
  const std::string output_ = directory_.File("app.db");
  int parallelism_ = 2;
  uint64_t keep_bytes_ = 1 << 20;
  Damage damage_;
};

}  // namespace sqlite_s3

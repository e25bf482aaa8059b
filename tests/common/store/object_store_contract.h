// What the tests of the rules of common/store/object_store.h share. Every driver of the table in
// object_store_contract_test.cc is put through all of them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/store/object_store.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {

// What a driver needs to live: a store, and whatever must outlive it.
struct StoreUnderTest {
  std::shared_ptr<void> environment;
  std::shared_ptr<ObjectStore> store;
};

struct Driver {
  std::string name;
  std::function<StoreUnderTest()> make;
};

class ObjectStoreContractTest : public ::testing::TestWithParam<Driver> {
 protected:
  void SetUp() override {
    under_test_ = GetParam().make();
    ASSERT_NE(under_test_.store, nullptr);
  }
  ObjectStore& store() { return *under_test_.store; }

  std::string GetText(std::string_view key) {
    Result<Bytes> bytes = store().Get(key, uint64_t{1} << 30);
    return bytes.ok() ? std::string(AsText(*bytes)) : bytes.status().ToString();
  }
  std::vector<std::string> Keys(std::string_view prefix, std::string_view start_after = {},
                                int max_keys = 1000) {
    Result<std::vector<ObjectInfo>> page = store().List(prefix, start_after, max_keys);
    EXPECT_OK(page);
    return page.ok() ? Names(*page) : std::vector<std::string>{};
  }
  static std::vector<std::string> Names(const std::vector<ObjectInfo>& infos) {
    std::vector<std::string> keys;
    for (const ObjectInfo& info : infos) {
      keys.push_back(info.key);
    }
    return keys;
  }

  StoreUnderTest under_test_;
};

}  // namespace sqlite_s3

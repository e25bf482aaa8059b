// The rules of common/store/object_store.h for listings.

#include <algorithm>
#include <set>

#include "tests/common/store/object_store_contract.h"

namespace sqlite_s3 {
namespace {

using ::testing::IsEmpty;

TEST_P(ObjectStoreContractTest, ListIsInByteOrderOfWholeKeys) {
  // Byte order is not the order of folders: '-' < '.' < '/' < '0' < 'A' < '_' < 'a'.
  std::vector<std::string> keys = {
      "a-b",   "a.b",   "a/b",     "a0b",   "a_b",     "aA",    "aa",      "a/b-c", "a/b.c",
      "A",     "B/a",   "Z",       "_",     "a/c/d",   "a/c-d", "a/c.d/e", "a/c0",  "b",
      "0/1/2", "0/1-2", "0/1/2.3", "0-1/2", "0.1/2/3", "-",     ".x",      "a-/z",  "a-a/b",
  };
  for (const std::string& key : keys) {
    ASSERT_OK(store().Put(key, {}));
  }
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(Keys(""), keys);
  // From every key on, and from between the keys, in pages of every small size.
  std::set<std::string> starts(keys.begin(), keys.end());
  for (const std::string& key : keys) {
    starts.insert(key + "/");
    starts.insert(key + "-");
    starts.insert(key + "0");
    starts.insert(key.substr(0, key.size() - 1));
    starts.insert(key.substr(0, key.find('/')));
  }
  starts.insert("\xff");
  starts.insert("!");
  for (const std::string& start : starts) {
    for (int max_keys : {1, 2, 5, 1000}) {
      std::vector<std::string> want(std::upper_bound(keys.begin(), keys.end(), start), keys.end());
      want.resize(std::min(want.size(), static_cast<size_t>(max_keys)));
      if (max_keys == 1000) {
        EXPECT_EQ(Keys("", start), want) << start;
      } else {
        std::vector<std::string> got = Keys("", start, max_keys);
        ASSERT_LE(got.size(), want.size()) << start;
        ASSERT_EQ(got.empty(), want.empty()) << start;
        EXPECT_TRUE(std::equal(got.begin(), got.end(), want.begin())) << start;
      }
    }
  }
}

TEST_P(ObjectStoreContractTest, APrefixMayEndAnywhere) {
  std::vector<std::string> keys = {
      "00000001/log/0001.seg", "00000001/log/0002.seg", "00000001/log-old",  "00000001/image/1/m",
      "00000001/image/10/m",   "00000002/log/0001.seg", "00000001x",         "replica.json",
      "timelines/1.json",      "00000001/lo",           "00000001/logs/a/b", "0",
  };
  for (const std::string& key : keys) {
    ASSERT_OK(store().Put(key, {}));
  }
  std::sort(keys.begin(), keys.end());
  std::set<std::string> prefixes = {"",
                                    "1",
                                    "x",
                                    "00000001/log/0003",
                                    "no/such/folder/",
                                    "timelines/",
                                    "replica.json/",
                                    "00000001/log/0001.seg/x"};
  for (const std::string& key : keys) {
    for (size_t n = 1; n <= key.size(); ++n) {
      prefixes.insert(key.substr(0, n));
    }
  }
  for (const std::string& prefix : prefixes) {
    for (const char* start : {"", "00000001/image/1/m", "00000001/log/0001.seg", "zzz", "!"}) {
      std::vector<std::string> want;
      for (const std::string& key : keys) {
        if (key.starts_with(prefix) && key > start) {
          want.push_back(key);
        }
      }
      EXPECT_EQ(Keys(prefix, start), want) << "prefix " << prefix << " after " << start;
    }
  }
}

TEST_P(ObjectStoreContractTest, PagesOfMoreThanAThousandObjectsMissAndRepeatNothing) {
  constexpr int kObjects = 1203;
  std::vector<std::string> keys;
  for (int i = 0; i < kObjects; ++i) {
    // Some in folders, some beside them, out of order.
    int n = i * 701 % kObjects;
    keys.push_back("log/" + std::to_string(n % 7) + (n % 3 == 0 ? "-" : "/") + std::to_string(n));
    ASSERT_OK(store().Put(keys.back(), AsBytes("x")));
  }
  ASSERT_OK(store().Put("lof", {}));
  ASSERT_OK(store().Put("loh", {}));
  std::sort(keys.begin(), keys.end());
  for (int max_keys : {1000, 97}) {
    std::vector<std::string> got;
    while (true) {
      std::vector<std::string> page = Keys("log/", got.empty() ? "" : got.back(), max_keys);
      ASSERT_LE(page.size(), static_cast<size_t>(max_keys));
      if (page.empty()) {
        break;
      }
      got.insert(got.end(), page.begin(), page.end());
    }
    EXPECT_EQ(got, keys) << max_keys;
  }
  ASSERT_OK_AND_ASSIGN(std::vector<ObjectInfo> all, ListAll(store(), "log/"));
  EXPECT_EQ(Names(all), keys);
  ASSERT_OK_AND_ASSIGN(std::vector<ObjectInfo> rest, ListAll(store(), "log/", keys[1100]));
  EXPECT_EQ(Names(rest), std::vector<std::string>(keys.begin() + 1101, keys.end()));
}

TEST_P(ObjectStoreContractTest, BadListArgumentsAreRefused) {
  for (int max_keys : {0, -1, 1001}) {
    EXPECT_STATUS(store().List("", "", max_keys), StatusCode::kInvalidArgument) << max_keys;
  }
  for (const char* prefix :
       {"/", "/a", "a//", "../", "a/../", "a/./b", "./", "a b", "a~", "~tmp/"}) {
    EXPECT_STATUS(store().List(prefix, "", 10), StatusCode::kInvalidArgument) << prefix;
  }
}

TEST_P(ObjectStoreContractTest, AnEmptyStoreListsNothing) {
  EXPECT_THAT(Keys(""), IsEmpty());
  EXPECT_THAT(Keys("a/b/"), IsEmpty());
}

}  // namespace
}  // namespace sqlite_s3

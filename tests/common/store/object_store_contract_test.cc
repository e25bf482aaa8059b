// The rules of common/store/object_store.h, for every driver. A driver joins by adding a case to
// the table at the end: a function that makes an empty store.

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <latch>
#include <memory>
#include <set>
#include <thread>

#include "common/base/hash.h"
#include "common/store/directory_store.h"
#include "common/store/libs3_store.h"
#include "common/store/memory_store.h"
#include "common/store/object_store.h"
#include "common/store/open_store.h"
#include "tests/support/s3_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kNoLimit = uint64_t{1} << 30;

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
    Result<Bytes> bytes = store().Get(key, kNoLimit);
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

TEST_P(ObjectStoreContractTest, GetReturnsWhatPutStored) {
  Bytes body(100'000);
  for (size_t i = 0; i < body.size(); ++i) {
    body[i] = static_cast<uint8_t>(i * 7 + i / 256);
  }
  ASSERT_OK(store().Put("a/b/c.seg", body));
  ASSERT_OK_AND_ASSIGN(Bytes got, store().Get("a/b/c.seg", kNoLimit));
  EXPECT_EQ(got, body);
}

TEST_P(ObjectStoreContractTest, ALargeObjectComesBackWhole) {
  // Above the part size of the S3 driver, and no multiple of it.
  Bytes body((33 << 20) + 12'345);
  uint32_t state = 1;
  for (uint8_t& byte : body) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(state >> 24);
  }
  ASSERT_OK(store().Put("large", body));
  ASSERT_OK_AND_ASSIGN(ObjectInfo info, store().Head("large"));
  EXPECT_EQ(info.size_bytes, body.size());
  ASSERT_OK_AND_ASSIGN(Bytes got, store().Get("large", body.size()));
  EXPECT_TRUE(got == body);
  const ByteRange middle{(16 << 20) - 100, 200};
  ASSERT_OK_AND_ASSIGN(Bytes part, store().Get("large", 200, middle));
  EXPECT_TRUE(std::equal(part.begin(), part.end(), body.begin() + (16 << 20) - 100));
}

TEST_P(ObjectStoreContractTest, AnEmptyObjectIsAnObject) {
  ASSERT_OK(store().Put("empty", {}));
  EXPECT_EQ(GetText("empty"), "");
  ASSERT_OK_AND_ASSIGN(ObjectInfo info, store().Head("empty"));
  EXPECT_EQ(info.size_bytes, 0u);
  EXPECT_THAT(Keys(""), ElementsAre("empty"));
  EXPECT_STATUS(store().PutIfAbsent("empty", AsBytes("x")), StatusCode::kAlreadyExists);
}

TEST_P(ObjectStoreContractTest, PutReplaces) {
  ASSERT_OK(store().Put("k", AsBytes("a longer first body")));
  ASSERT_OK(store().Put("k", AsBytes("second")));
  EXPECT_EQ(GetText("k"), "second");
  EXPECT_THAT(Keys(""), ElementsAre("k"));
}

TEST_P(ObjectStoreContractTest, PutIfAbsentCreatesOnceAndNeverReplaces) {
  ASSERT_OK(store().PutIfAbsent("k", AsBytes("first")));
  EXPECT_STATUS(store().PutIfAbsent("k", AsBytes("second")), StatusCode::kAlreadyExists);
  EXPECT_STATUS(store().PutIfAbsent("k", AsBytes("first")), StatusCode::kAlreadyExists);
  EXPECT_EQ(GetText("k"), "first");
}

TEST_P(ObjectStoreContractTest, PutIfAbsentSeesWhatPutCreated) {
  ASSERT_OK(store().Put("k", AsBytes("put")));
  EXPECT_STATUS(store().PutIfAbsent("k", AsBytes("x")), StatusCode::kAlreadyExists);
  EXPECT_EQ(GetText("k"), "put");
}

TEST_P(ObjectStoreContractTest, PutIfAbsentSucceedsAgainAfterDelete) {
  ASSERT_OK(store().PutIfAbsent("k", AsBytes("first")));
  ASSERT_OK(store().Delete("k"));
  ASSERT_OK(store().PutIfAbsent("k", AsBytes("second")));
  EXPECT_EQ(GetText("k"), "second");
}

TEST_P(ObjectStoreContractTest, OfManyPutIfAbsentExactlyOneWinsAndItsBodyStays) {
  if (!store().SupportsConditionalPut()) {
    return;  // said so, and the rule is for the others
  }
  constexpr int kThreads = 8;
  constexpr int kRounds = 25;
  for (int round = 0; round < kRounds; ++round) {
    const std::string key = "race/" + std::to_string(round);
    std::latch start(kThreads);
    std::atomic<int> wins{0};
    std::atomic<int> losses{0};
    std::atomic<int> winner{-1};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const std::string body(1000, static_cast<char>('a' + i));
        start.arrive_and_wait();
        Result<PutResult> result = store().PutIfAbsent(key, AsBytes(body));
        if (result.ok()) {
          ++wins;
          winner = i;
        } else if (result.code() == StatusCode::kAlreadyExists) {
          ++losses;
          // Who lost can read the winner's object at once, complete.
          if (GetText(key).size() != 1000) {
            ADD_FAILURE() << "lost against " << GetText(key);
          }
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    ASSERT_EQ(wins, 1);
    ASSERT_EQ(losses, kThreads - 1);
    ASSERT_EQ(GetText(key), std::string(1000, static_cast<char>('a' + winner)));
  }
}

TEST_P(ObjectStoreContractTest, PutIfMatchReplacesWhatTheEtagNamesAndNothingElse) {
  ASSERT_OK_AND_ASSIGN(const PutResult first, store().Put("k", AsBytes("first")));
  if (!store().SupportsConditionalPut()) {
    EXPECT_STATUS(store().PutIfMatch("k", AsBytes("x"), "\"e\""), StatusCode::kUnimplemented);
    EXPECT_EQ(GetText("k"), "first");
    return;
  }
  auto put = store().PutIfMatch("k", AsBytes("second"), first.etag);
  ASSERT_OK(put);
  EXPECT_EQ(GetText("k"), "second");
  EXPECT_STATUS(store().PutIfMatch("k", AsBytes("x"), first.etag), StatusCode::kAborted);
  ASSERT_OK_AND_ASSIGN(const ObjectInfo info, store().Head("k"));
  EXPECT_EQ(info.etag, put->etag) << "PUT and HEAD name one object alike";
  ASSERT_OK_AND_ASSIGN(const PutResult third, store().PutIfMatch("k", AsBytes("third"), info.etag));
  EXPECT_EQ(GetText("k"), "third");
  ASSERT_OK(store().Put("k", AsBytes("by another")));
  EXPECT_STATUS(store().PutIfMatch("k", AsBytes("x"), third.etag), StatusCode::kAborted);
  EXPECT_EQ(GetText("k"), "by another");
}

TEST_P(ObjectStoreContractTest, PutIfMatchNeverCreates) {
  if (!store().SupportsConditionalPut()) {
    return;  // said so, and the rule is for the others
  }
  ASSERT_OK_AND_ASSIGN(const PutResult put, store().PutIfAbsent("d/k", AsBytes("first")));
  ASSERT_OK(store().Delete("d/k"));
  EXPECT_STATUS(store().PutIfMatch("d/k", AsBytes("x"), put.etag), StatusCode::kNotFound);
  EXPECT_THAT(Keys(""), IsEmpty());
  ASSERT_OK(store().Put("d/k", AsBytes("another")));
  EXPECT_STATUS(store().PutIfMatch("d/k", AsBytes("x"), put.etag), StatusCode::kAborted);
}

TEST_P(ObjectStoreContractTest, OfManyPutIfMatchOfOneEtagExactlyOneWins) {
  if (!store().SupportsConditionalPut()) {
    return;  // said so, and the rule is for the others
  }
  constexpr int kThreads = 4;
  constexpr int kRounds = 10;
  ASSERT_OK_AND_ASSIGN(PutResult last, store().Put("k", AsBytes("start")));
  for (int round = 0; round < kRounds; ++round) {
    std::latch start(kThreads);
    std::vector<Result<PutResult>> results(kThreads, InternalError("not run"));
    std::vector<std::thread> threads;
    auto body = [&](int i) { return std::to_string(round) + " by " + std::to_string(i); };
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        do {  // a conflict (409) is no loss yet
          results[static_cast<size_t>(i)] = store().PutIfMatch("k", AsBytes(body(i)), last.etag);
        } while (results[static_cast<size_t>(i)].code() == StatusCode::kUnavailable);
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    int winner = -1;
    for (int i = 0; i < kThreads; ++i) {
      const auto& result = results[static_cast<size_t>(i)];
      if (result.ok()) {
        ASSERT_EQ(winner, -1) << "two of round " << round;
        winner = i;
      } else {
        ASSERT_STATUS(result, StatusCode::kAborted);
      }
    }
    ASSERT_NE(winner, -1) << "none of round " << round;
    ASSERT_EQ(GetText("k"), body(winner));
    last = *results[static_cast<size_t>(winner)];
  }
}

TEST_P(ObjectStoreContractTest, EtagsThatNoStoreGivesOutAreRefused) {
  ASSERT_OK(store().Put("k", AsBytes("x")));
  for (const std::string& etag :
       {std::string(), std::string("a\r\nx: y"), std::string("a b"), std::string(257, 'a')}) {
    EXPECT_STATUS(store().PutIfMatch("k", {}, etag), StatusCode::kInvalidArgument) << etag;
  }
}

TEST_P(ObjectStoreContractTest, DeleteManyRemovesThoseAndNoOthers) {
  // More than one request of S3's, in several folders, and some that are not there.
  std::vector<std::string> gone;
  for (int i = 0; i < 1005; ++i) {
    gone.push_back("d" + std::to_string(i % 3) + "/" + std::to_string(i));
    if (i % 4 == 0) {
      ASSERT_OK(store().Put(gone.back(), AsBytes("x")));
    }
  }
  for (const char* key : {"d0-/x", "d1/keep", "z"}) {
    ASSERT_OK(store().Put(key, AsBytes("x")));
  }
  gone.push_back("absent");
  gone.push_back("no/such/folder");
  ASSERT_OK_AND_ASSIGN(auto failures, store().DeleteMany(gone));
  EXPECT_THAT(failures, IsEmpty());
  EXPECT_THAT(Keys(""), ElementsAre("d0-/x", "d1/keep", "z"));
  ASSERT_OK_AND_ASSIGN(failures, store().DeleteMany({}));
  EXPECT_THAT(failures, IsEmpty());
}

TEST_P(ObjectStoreContractTest, DeleteManyWithAnInvalidKeyDeletesNothing) {
  ASSERT_OK(store().Put("a", AsBytes("x")));
  const std::vector<std::string> keys = {"a", "../a"};
  EXPECT_STATUS(store().DeleteMany(keys), StatusCode::kInvalidArgument);
  EXPECT_EQ(GetText("a"), "x");
}

TEST_P(ObjectStoreContractTest, ReadersSeeWholeObjectsWhileTheyAreReplaced) {
  constexpr int kRounds = 200;
  ASSERT_OK(store().Put("k", AsBytes(std::string(5000, 'a'))));
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) {
      std::string text = GetText("k");
      size_t size = text.empty() ? 0 : 5000 + static_cast<size_t>(text[0] - 'a') * 10;
      if (text != std::string(size, text.empty() ? 'a' : text[0])) {
        ADD_FAILURE() << "torn object of " << text.size() << " bytes";
        return;
      }
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    int letter = i % 26;
    EXPECT_OK(store().Put("k", AsBytes(std::string(5000 + static_cast<size_t>(letter) * 10,
                                                   static_cast<char>('a' + letter)))));
  }
  done = true;
  reader.join();
}

TEST_P(ObjectStoreContractTest, PutsAndDeletesOfOneFolderFromManyThreadsDoNotDisturbEachOther) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 50;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      // The folder is empty now and then: a driver that removes empty folders must cope.
      const std::string key = "x/y/" + std::to_string(i);
      for (int round = 0; round < kRounds; ++round) {
        EXPECT_OK(store().PutIfAbsent(key, AsBytes("v")));
        EXPECT_EQ(GetText(key), "v");
        EXPECT_OK(store().Delete(key));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(Keys(""), IsEmpty());
}

TEST_P(ObjectStoreContractTest, WhatIsAbsentIsNotFound) {
  ASSERT_OK(store().Put("dir/there", AsBytes("x")));
  for (const char* key : {"absent", "dir", "dir/absent", "no/such/dir", "dir/ther", "dir/there2"}) {
    EXPECT_STATUS(store().Get(key, kNoLimit), StatusCode::kNotFound) << key;
    EXPECT_STATUS(store().Get(key, kNoLimit, ByteRange{0, 1}), StatusCode::kNotFound) << key;
    EXPECT_STATUS(store().Head(key), StatusCode::kNotFound) << key;
  }
}

TEST_P(ObjectStoreContractTest, DeleteRemovesThatObjectOnly) {
  for (const char* key : {"a", "ab", "d/a", "d/b"}) {
    ASSERT_OK(store().Put(key, AsBytes("x")));
  }
  ASSERT_OK(store().Delete("a"));
  ASSERT_OK(store().Delete("d/a"));
  EXPECT_STATUS(store().Get("a", kNoLimit), StatusCode::kNotFound);
  EXPECT_THAT(Keys(""), ElementsAre("ab", "d/b"));
}

TEST_P(ObjectStoreContractTest, DeleteOfNothingIsOk) {
  EXPECT_OK(store().Delete("absent"));
  EXPECT_OK(store().Delete("no/such/folder"));
  ASSERT_OK(store().Put("d/e", AsBytes("x")));
  EXPECT_OK(store().Delete("d"));
  EXPECT_EQ(GetText("d/e"), "x");
}

TEST_P(ObjectStoreContractTest, RangesAreCutAtTheEndOfTheObject) {
  ASSERT_OK(store().Put("k", AsBytes("0123456789")));
  constexpr uint64_t kMax = ~uint64_t{0};
  const struct {
    ByteRange range;
    std::string_view want;
  } kCases[] = {
      {{0, 10}, "0123456789"},
      {{0, 3}, "012"},
      {{3, 4}, "3456"},
      {{9, 1}, "9"},
      {{7, 100}, "789"},
      {{0, kMax}, "0123456789"},
      {{5, kMax}, "56789"},
      {{10, 1}, ""},
      {{11, 5}, ""},
      {{kMax, kMax}, ""},
      {{kMax, 1}, ""},
      {{0, 0}, ""},
      {{5, 0}, ""},
      {{10, 0}, ""},
  };
  for (const auto& c : kCases) {
    Result<Bytes> got = store().Get("k", kNoLimit, c.range);
    ASSERT_OK(got) << c.range.offset << "+" << c.range.length;
    EXPECT_EQ(AsText(*got), c.want) << c.range.offset << "+" << c.range.length;
  }
  ASSERT_OK(store().Put("empty", {}));
  ASSERT_OK_AND_ASSIGN(Bytes nothing, store().Get("empty", kNoLimit, ByteRange{0, 5}));
  EXPECT_THAT(nothing, IsEmpty());
}

TEST_P(ObjectStoreContractTest, MoreThanMaxBytesIsRefused) {
  ASSERT_OK(store().Put("k", AsBytes("0123456789")));
  EXPECT_STATUS(store().Get("k", 9), StatusCode::kResourceExhausted);
  EXPECT_STATUS(store().Get("k", 0), StatusCode::kResourceExhausted);
  EXPECT_OK(store().Get("k", 10));
  // The bound is on what is returned, not on the object.
  EXPECT_OK(store().Get("k", 3, ByteRange{0, 3}));
  EXPECT_OK(store().Get("k", 3, ByteRange{7, 100}));
  EXPECT_STATUS(store().Get("k", 3, ByteRange{0, 4}), StatusCode::kResourceExhausted);
}

TEST_P(ObjectStoreContractTest, HeadAndListAgreeOnSizeAndTime) {
  ASSERT_OK_AND_ASSIGN(PutResult put, store().Put("d/k", AsBytes("12345")));
  ASSERT_OK_AND_ASSIGN(ObjectInfo head, store().Head("d/k"));
  ASSERT_OK_AND_ASSIGN(std::vector<ObjectInfo> page, store().List("", "", 10));
  ASSERT_EQ(page.size(), 1u);
  EXPECT_EQ(head.key, "d/k");
  EXPECT_EQ(head.size_bytes, 5u);
  EXPECT_EQ(page[0].size_bytes, 5u);
  // Second by second: an S3 HEAD says no more, its LIST does.
  EXPECT_EQ(page[0].modified_us / 1'000'000, head.modified_us / 1'000'000);
  if (put.store_time_us) {
    // One clock, so close together; "an hour" is what a mix-up of units or zones would break.
    EXPECT_LT(std::abs(*put.store_time_us - head.modified_us), int64_t{3'600'000'000});
  }
}

TEST_P(ObjectStoreContractTest, HostileKeysAreRefusedByEveryMethod) {
  std::string with_nul("a\0b", 3);
  const std::string kKeys[] = {
      "",
      "/",
      "/a",
      "a/",
      "a//b",
      ".",
      "..",
      "./a",
      "../a",
      "a/..",
      "a/../b",
      "a/.",
      "a/./b",
      "a b",
      "a\\b",
      "a\nb",
      "a?b",
      "a#b",
      "a%2fb",
      "a+b",
      "a~b",
      "~tmp/a",
      "a:b",
      "a*b",
      "\xc3\xa9",
      "a\x7f",
      with_nul,
      "//",
      "a/b/",
      "/..",
      "a/../",
      "C:\\a",
      std::string(901, 'a'),
      "a/" + std::string(900, 'b'),
      "a&b",
      "a=b",
      "a<b",
      "a\"b",
      "a'b",
      "a;b",
      "$a",
      "a|b",
      "a,b",
      "a@b",
  };
  for (const std::string& key : kKeys) {
    EXPECT_STATUS(ValidateObjectKey(key), StatusCode::kInvalidArgument) << key;
    EXPECT_STATUS(store().Put(key, AsBytes("x")), StatusCode::kInvalidArgument) << key;
    EXPECT_STATUS(store().PutIfAbsent(key, AsBytes("x")), StatusCode::kInvalidArgument) << key;
    EXPECT_STATUS(store().PutIfMatch(key, {}, "e"), StatusCode::kInvalidArgument) << key;
    EXPECT_STATUS(store().DeleteMany(std::vector{key}), StatusCode::kInvalidArgument) << key;
    EXPECT_STATUS(store().Get(key, kNoLimit), StatusCode::kInvalidArgument) << key;
    EXPECT_STATUS(store().Head(key), StatusCode::kInvalidArgument) << key;
    EXPECT_STATUS(store().Delete(key), StatusCode::kInvalidArgument) << key;
  }
  EXPECT_THAT(Keys(""), IsEmpty());
}

TEST_P(ObjectStoreContractTest, EveryKeyOfTheAlphabetIsTaken) {
  std::string longest;
  while (longest.size() < 900) {
    longest += longest.empty() ? std::string(199, 'x') : "/" + std::string(199, 'x');
  }
  longest.resize(900);
  std::vector<std::string> keys = {
      "...",       "..a",    ".a",
      "a.",        "-",      "_",
      "a..b",      ".tmp/a", ".tmp2",
      "0",         "A",      "a/.b",
      "a/-",       "a/_",    "a/..c",
      "a/b.c-d_e", longest,  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
  };
  for (const std::string& key : keys) {
    ASSERT_OK(store().PutIfAbsent(key, AsBytes(key))) << key;
  }
  for (const std::string& key : keys) {
    EXPECT_EQ(GetText(key), key);
  }
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(Keys(""), keys);
}

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

std::vector<Driver> Drivers() {
  std::vector<Driver> drivers = {
      Driver{"memory",
             [] {
               return StoreUnderTest{nullptr, std::make_shared<MemoryStore>("contract")};
             }},
      Driver{"directory", [] {
               auto dir = std::make_shared<TempDir>();
               auto store = OpenDirectoryStore({.path = dir->File("root"), .create = true});
               EXPECT_OK(store);
               return StoreUnderTest{dir, store.ok() ? *store : nullptr};
             }}};
  // Our own server; libs3 2.0 signs as it did before 2013, which this one still takes.
  RegisterLibs3(&OpenLibs3Store);
  for (const char* client : {"libcurl", "libs3"}) {
    drivers.push_back(Driver{std::string("own_server_") + client, [=] {
                               static S3Server server(SQLITE_S3_SERVER_PROGRAM);
                               static int number = 0;
                               const std::string prefix = "contract" + std::to_string(++number);
                               auto store = OpenStore(server.Address(prefix, client));
                               EXPECT_OK(store);
                               return StoreUnderTest{nullptr, store.ok() ? *store : nullptr};
                             }});
  }
  // A bucket of a running server: S3_TEST_ENDPOINT and S3_TEST_BUCKET, with credentials in the
  // environment. Each test has a prefix of its own there.
  const char* endpoint = std::getenv("S3_TEST_ENDPOINT");
  const char* bucket = std::getenv("S3_TEST_BUCKET");
  if (endpoint != nullptr && bucket != nullptr) {
    for (const char* client : {"libcurl", "libs3"}) {
      drivers.push_back(Driver{client, [=] {
                                 uint8_t random[8] = {};
                                 EXPECT_OK(FillRandom(random));
                                 StoreAddress address;
                                 address.scheme = "s3";
                                 address.s3.client = client;
                                 address.s3.endpoint = endpoint;
                                 address.s3.bucket = bucket;
                                 // A space where the client can: it has to be encoded right.
                                 address.s3.prefix =
                                     (address.s3.client == "libs3" ? "contract-" : "contract ") +
                                     HexEncode(random);
                                 auto store = OpenStore(address);
                                 EXPECT_OK(store);
                                 return StoreUnderTest{nullptr, store.ok() ? *store : nullptr};
                               }});
    }
  }
  return drivers;
}

INSTANTIATE_TEST_SUITE_P(Drivers, ObjectStoreContractTest, ::testing::ValuesIn(Drivers()),
                         [](const auto& driver) { return driver.param.name; });

}  // namespace
}  // namespace sqlite_s3

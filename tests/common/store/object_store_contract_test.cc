// The rules of common/store/object_store.h for single objects, and the drivers that all rules are
// tried on: a driver joins by adding a case to the table at the end, a function that makes an empty
// store.

#include "tests/common/store/object_store_contract.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "common/base/hash.h"
#include "common/store/directory_store.h"
#include "common/store/libs3_store.h"
#include "common/store/memory_store.h"
#include "common/store/open_store.h"
#include "tests/support/s3_server.h"
#include "tests/support/scripted_http.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kNoLimit = uint64_t{1} << 30;

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

// A portal, or a proxy whose store is away, says 200 to everything. libs3 shows no ETag of a PUT.
TEST(Libs3StoreTest, APutIsBelievedOnlyWhenTheObjectIsThere) {
  std::atomic<const char*> length{nullptr};  // of what is there
  ScriptedHttp store([&](const ScriptedRequest& request) {
    const char* there = length;
    return request.method == "PUT" ? HttpReply(200)
           : there == nullptr      ? HttpReply(404)
                                   : HttpReply(200, "", there);
  });
  setenv("AWS_ACCESS_KEY_ID", "key", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
  S3Address address;
  address.bucket = "bucket";
  address.endpoint = store.endpoint();
  ASSERT_OK_AND_ASSIGN(const auto client, OpenLibs3Store(address, false));
  EXPECT_STATUS(client->Put("k", AsBytes("new")), StatusCode::kUnavailable);
  EXPECT_STATUS(client->PutIfAbsent("k", AsBytes("new")), StatusCode::kUnavailable);
  length = "Content-Length: 7\r\n";
  EXPECT_STATUS(client->Put("k", AsBytes("new")), StatusCode::kUnavailable);
  length = "Content-Length: 3\r\n";
  EXPECT_OK(client->Put("k", AsBytes("new")));
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

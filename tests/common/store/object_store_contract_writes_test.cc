// The rules of common/store/object_store.h for conditional writes, deletes of many and writers at
// the same time.

#include <atomic>
#include <latch>
#include <thread>

#include "tests/common/store/object_store_contract.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kNoLimit = uint64_t{1} << 30;

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
        ADD_FAILURE() << "torn object of " << text.size() << " bytes: " << text.substr(0, 200);
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

}  // namespace
}  // namespace sqlite_s3

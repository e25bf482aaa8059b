// The promise as a property: whatever an application does, and whatever happens to the process and
// to the store, every commit restores to exactly its bytes.
//
// SQLITE_S3_LONG=1 runs thousands of histories; SQLITE_S3_SEED=n only that one.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <vector>

#include "tests/agent/ship/random_history.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kHistories = 240;
constexpr uint64_t kLongHistories = 5000;
constexpr int kThreads = 8;  // most of a history is waiting

void RunHistory(uint64_t seed, std::atomic<uint64_t>* compared) {
  RandomHistory history(seed);
  SCOPED_TRACE(history.description());
  try {
    history.Run();
    *compared += history.noted();
  } catch (const std::exception& e) {
    ADD_FAILURE() << e.what();
  }
  if (testing::Test::HasFailure()) {
    history.PrintLog();
  }
}

TEST(PropertyTest, EveryCommitOfARandomHistoryRestoresToItsBytes) {
  std::atomic<uint64_t> compared{0};
  if (const char* only = std::getenv("SQLITE_S3_SEED"); only != nullptr) {
    RunHistory(std::strtoull(only, nullptr, 10), &compared);
    return;
  }
  const char* text = std::getenv("SQLITE_S3_LONG");
  const bool longer = text != nullptr && *text != '\0' && *text != '0';
  const uint64_t histories = longer ? kLongHistories : kHistories;
  std::atomic<uint64_t> next{1};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (uint64_t seed = next++; seed <= histories && !HasFailure(); seed = next++) {
        RunHistory(seed, &compared);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  RecordProperty("commits_compared", std::to_string(compared.load()));
  std::cout << histories << " histories, " << compared << " commits compared\n";
}

}  // namespace
}  // namespace sqlite_s3

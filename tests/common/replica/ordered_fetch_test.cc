#include "common/replica/ordered_fetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

TEST(OrderedFetchTest, HandsOutInTheOrderAsked) {
  for (int threads : {0, 1, 4}) {
    OrderedFetch<int> fetch(threads, 1000);
    for (int i = 0; i < 500; ++i) {
      fetch.Push([i]() -> Result<int> { return i; }, 10);
    }
    for (int i = 0; i < 500; ++i) {
      ASSERT_OK_AND_ASSIGN(int got, fetch.Pop());
      ASSERT_EQ(got, i);
    }
    EXPECT_EQ(fetch.pending(), 0u);
  }
}

TEST(OrderedFetchTest, RunsJobsAtOnce) {
  OrderedFetch<int> fetch(3, 1000);
  std::latch all_running(3);
  for (int i = 0; i < 3; ++i) {
    fetch.Push(
        [&]() -> Result<int> {
          all_running.arrive_and_wait();
          return 1;
        },
        1);
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_OK(fetch.Pop());
  }
}

TEST(OrderedFetchTest, HoldsNoMoreThanItsBound) {
  OrderedFetch<int> fetch(4, 100);
  std::atomic<int> held = 0;
  std::atomic<int> most = 0;
  for (int i = 0; i < 200; ++i) {
    fetch.Push(
        [&]() -> Result<int> {
          const int now = ++held;
          int seen = most;
          while (seen < now && !most.compare_exchange_weak(seen, now)) {
          }
          return 1;
        },
        40);
  }
  for (int i = 0; i < 200; ++i) {
    EXPECT_OK(fetch.Pop());
    --held;
  }
  EXPECT_LE(most, 3) << "two of 40 bytes, and the one whose Pop has returned";
}

TEST(OrderedFetchTest, ACostBeyondTheBoundIsLetThroughAlone) {
  OrderedFetch<int> fetch(2, 10);
  fetch.Push([]() -> Result<int> { return 1; }, 1000);
  fetch.Push([]() -> Result<int> { return 2; }, 1000);
  EXPECT_OK(fetch.Pop());
  EXPECT_OK(fetch.Pop());
}

TEST(OrderedFetchTest, ErrorsAndExceptionsAreResults) {
  for (int threads : {1, 2}) {
    OrderedFetch<int> fetch(threads, 10);
    fetch.Push([]() -> Result<int> { return NotFoundError("x"); }, 1);
    fetch.Push([]() -> Result<int> { throw std::bad_alloc(); }, 1);
    fetch.Push([]() -> Result<int> { throw std::runtime_error("boom"); }, 1);
    EXPECT_STATUS(fetch.Pop(), StatusCode::kNotFound);
    EXPECT_STATUS(fetch.Pop(), StatusCode::kResourceExhausted);
    EXPECT_STATUS(fetch.Pop(), StatusCode::kInternal);
  }
}

TEST(OrderedFetchTest, MayBeLeftWithJobsUndone) {
  OrderedFetch<int> fetch(2, 10);
  for (int i = 0; i < 100; ++i) {
    fetch.Push([]() -> Result<int> { return 1; }, 10);
  }
  EXPECT_OK(fetch.Pop());
}

}  // namespace
}  // namespace sqlite_s3

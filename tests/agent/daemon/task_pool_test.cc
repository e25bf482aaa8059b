#include "agent/daemon/task_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kForEver = std::chrono::hours(1);

// Tasks that hang until they are let go.
class Hanging {
 public:
  void Post(TaskPool& pool, int count) {
    for (int i = 0; i < count; ++i) {
      pool.Post([this] {
        ++inside_;
        released_.wait();
        ++done_;
      });
    }
  }
  void AwaitInside(int count) const {
    while (inside_ < count) {
      std::this_thread::yield();
    }
  }
  void Release() { release_.set_value(); }
  int inside() const { return inside_; }
  int done() const { return done_; }

 private:
  std::promise<void> release_;
  std::shared_future<void> released_ = release_.get_future().share();
  std::atomic<int> inside_{0}, done_{0};
};

TEST(TaskPoolTest, TasksThatHangHoldUpNoOther) {
  Hanging hanging;
  TaskPool pool(2, 100, milliseconds(5));
  hanging.Post(pool, 50);
  std::promise<void> ran;
  pool.Post([&] { ran.set_value(); });
  ran.get_future().wait();  // for ever, if they did
  EXPECT_EQ(hanging.done(), 0);
  hanging.Release();
  pool.Finish();
  EXPECT_EQ(hanging.done(), 50);
}

TEST(TaskPoolTest, ThreadsBeyondTheUsualNumberAreBoundedAndEnd) {
  Hanging hanging;
  TaskPool pool(2, 5, milliseconds(1));
  hanging.Post(pool, 40);
  hanging.AwaitInside(7);
  EXPECT_EQ(pool.threads(), 7U);
  EXPECT_EQ(hanging.inside(), 7);
  hanging.Release();
  ASSERT_TRUE(pool.WaitIdle(steady_clock::now() + kForEver));
  EXPECT_EQ(pool.threads(), 2U);
  EXPECT_EQ(hanging.done(), 40);
}

TEST(TaskPoolTest, WithoutAnyBeyondTasksWaitForTheirThread) {
  Hanging hanging;
  TaskPool pool(2);
  hanging.Post(pool, 10);
  hanging.AwaitInside(2);
  EXPECT_FALSE(pool.WaitIdle(steady_clock::now()));
  EXPECT_EQ(pool.threads(), 2U);
  hanging.Release();
  pool.Finish();
  EXPECT_EQ(hanging.done(), 10);
}

}  // namespace
}  // namespace sqlite_s3

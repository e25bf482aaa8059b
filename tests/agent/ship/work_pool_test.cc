#include "agent/ship/work_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <vector>

namespace sqlite_s3 {
namespace {

using std::chrono::microseconds;
using Lane = WorkPool::Lane;
using Next = WorkPool::Next;

constexpr WorkPool::MostThreads kOneEach{1, 1, 1, 1, 1, 1};

TEST(WorkPoolTest, NeverRunsTwoStepsOfOneTaskAtOnce) {
  WorkPool pool({4, 4, 4, 4, 4, 4});
  std::atomic<int> inside{0};
  std::atomic<bool> twice{false};
  int steps = 0;  // unguarded: the tasks' steps are one after the other
  std::promise<void> done;
  auto task = pool.Add(Lane::kShip, [&](Lane lane) {
    if (++inside > 1) {
      twice = true;
    }
    --inside;
    if (++steps == 2000) {
      done.set_value();
      return Next::End();
    }
    return Next::AtOnce(lane == Lane::kShip ? Lane::kUpload : Lane::kShip);
  });
  for (int i = 0; i < 2000; ++i) {
    task->Wake();
  }
  done.get_future().wait();
  task->Cancel();
  EXPECT_FALSE(twice);
  EXPECT_EQ(steps, 2000);
}

TEST(WorkPoolTest, AWakeWhileItStepsMakesOneMoreStep) {
  WorkPool pool(kOneEach);
  std::promise<void> entered;
  std::promise<void> go_on;
  std::promise<void> again;
  int steps = 0;
  auto task = pool.Add(Lane::kShip, [&](Lane lane) {
    if (++steps == 1) {
      entered.set_value();
      go_on.get_future().wait();
    } else {
      again.set_value();
      return Next::End();
    }
    return Next::WhenWoken(lane);
  });
  entered.get_future().wait();
  task->Wake();
  go_on.set_value();
  again.get_future().wait();
  task->Cancel();
  EXPECT_EQ(steps, 2);
}

TEST(WorkPoolTest, ABusyTaskLeavesOthersTheirTurn) {
  WorkPool pool(kOneEach);
  std::atomic<bool> stop{false};
  auto busy =
      pool.Add(Lane::kShip, [&](Lane lane) { return stop ? Next::End() : Next::AtOnce(lane); });
  std::promise<void> done;
  int steps = 0;
  auto other = pool.Add(Lane::kShip, [&](Lane lane) {
    if (++steps < 100) {
      return Next::AtOnce(lane);
    }
    done.set_value();
    return Next::End();
  });
  done.get_future().wait();
  stop = true;
  other->Cancel();
  busy->Cancel();
  EXPECT_EQ(steps, 100);
}

TEST(WorkPoolTest, ALaneThatIsStuckHoldsUpNoOther) {
  WorkPool pool(kOneEach);
  std::promise<void> entered;
  std::promise<void> release;
  auto stuck = pool.Add(Lane::kStart, [&](Lane) {
    entered.set_value();
    release.get_future().wait();
    return Next::End();
  });
  entered.get_future().wait();
  std::promise<void> shipped;
  auto other = pool.Add(Lane::kShip, [&](Lane) {
    shipped.set_value();
    return Next::End();
  });
  shipped.get_future().wait();
  release.set_value();
  stuck->Cancel();
  other->Cancel();
}

TEST(WorkPoolTest, ThreadsAreBoundedByTheLanes) {
  WorkPool pool({2, 1, 1, 1, 3, 1});
  std::mutex mutex;
  std::condition_variable changed;
  int inside = 0;
  bool release = false;
  std::vector<std::shared_ptr<WorkPool::Task>> tasks;
  for (int i = 0; i < 50; ++i) {
    tasks.push_back(pool.Add(Lane::kUpload, [&](Lane) {
      std::unique_lock lock(mutex);
      ++inside;
      changed.notify_all();
      changed.wait(lock, [&] { return release; });
      return Next::End();
    }));
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return inside == 3; });
    EXPECT_LE(pool.threads(), 2U + 1 + 1 + 1 + 3 + 1 + 1);
    release = true;
    changed.notify_all();
    changed.wait(lock, [&] { return inside == 50; });
  }
  for (const auto& task : tasks) {
    task->Cancel();
  }
}

TEST(WorkPoolTest, NoStepBeginsAfterCancel) {
  WorkPool pool(kOneEach);
  std::atomic<int> steps{0};
  auto task = pool.Add(Lane::kShip, [&](Lane lane) {
    ++steps;
    return Next::After(microseconds(1), lane);
  });
  while (steps < 10) {
    task->Wake();
  }
  task->Cancel();
  const int then = steps;
  task->Wake();
  // Another task's turn in the same lane comes after whatever the first one would still have had.
  std::promise<void> done;
  auto after = pool.Add(Lane::kShip, [&](Lane) {
    done.set_value();
    return Next::End();
  });
  done.get_future().wait();
  after->Cancel();
  EXPECT_EQ(steps, then);
}

TEST(WorkPoolTest, AWakeCutsAWaitShort) {
  WorkPool pool(kOneEach);
  std::promise<void> waits;
  std::promise<void> woken;
  int steps = 0;
  auto task = pool.Add(Lane::kShip, [&](Lane lane) {
    if (++steps == 1) {
      waits.set_value();
      return Next::After(std::chrono::hours(1), lane);
    }
    woken.set_value();
    return Next::End();
  });
  waits.get_future().wait();
  task->Wake();
  woken.get_future().wait();
  task->Cancel();
}

TEST(WorkPoolTest, LongWaitsEndTogetherAndShortOnesOnTime) {
  std::set<int64_t> ends;
  for (int64_t now = 1'000'000'000; now < 1'001'000'000; now += 1'001) {
    EXPECT_EQ(WorkPool::WhenDue(now, 1'000'000), now + 1'000'000);
    const int64_t due = WorkPool::WhenDue(now, 15'000'000);
    EXPECT_GE(due, now + 15'000'000);
    EXPECT_LT(due, now + 15'250'000);
    ends.insert(due);
  }
  EXPECT_LE(ends.size(), 5U);
}

}  // namespace
}  // namespace sqlite_s3

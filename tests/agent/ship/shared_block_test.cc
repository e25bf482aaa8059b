#include "agent/ship/shared_block.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

constexpr auto kHour = std::chrono::hours(1);  // a wake-up that is lost hangs the test

class SharedBlockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = SharedBlock::Open(dir_.File("shared"));
    ASSERT_OK(opened.status());
    block_ = std::move(opened).value();
  }
  TempDir dir_;
  std::unique_ptr<SharedBlock> block_;
};

TEST_F(SharedBlockTest, ANoticeBetweenTheLastLookAndTheSleepIsNotSleptOver) {
  const SharedBlock::Seen seen = block_->Look();
  block_->RingIfIdle();  // finds the worker awake
  block_->SleepUntilRung(seen, kHour, false);
  EXPECT_EQ((*block_)->sleeping, SharedBlock::kAwake);
}

TEST_F(SharedBlockTest, ARingBetweenTheLastLookAndANapCutsItShort) {
  const SharedBlock::Seen seen = block_->Look();
  block_->Ring();
  block_->SleepUntilRung(seen, kHour, true);
  EXPECT_EQ((*block_)->sleeping, SharedBlock::kAwake);
}

TEST_F(SharedBlockTest, ANoticeLeavesANapAlone) {
  const SharedBlock::Seen seen = block_->Look();
  (*block_)->sleeping = SharedBlock::kNaps;
  block_->RingIfIdle();
  EXPECT_EQ(block_->Look().doorbell, seen.doorbell);
  EXPECT_EQ((*block_)->sleeping, SharedBlock::kNaps);
}

TEST_F(SharedBlockTest, NoNoticeIsLostHoweverSoonTheWorkerSleepsAgain) {
  constexpr int kNotices = 20'000;
  std::atomic<int> work{0};
  std::atomic<int> done{0};
  std::thread worker([&] {
    for (;;) {
      const SharedBlock::Seen seen = block_->Look();
      done = work.load();
      done.notify_one();
      if (done == kNotices) {
        return;
      }
      block_->SleepUntilRung(seen, kHour, false);
    }
  });
  for (int i = 1; i <= kNotices; ++i) {
    ++work;
    block_->RingIfIdle();
    for (int d = done; i % 2 == 0 && d < i; d = done) {
      done.wait(d);
    }
  }
  worker.join();
  EXPECT_EQ(done, kNotices);
}

}  // namespace
}  // namespace sqlite_s3

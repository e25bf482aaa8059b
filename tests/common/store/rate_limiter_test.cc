#include "common/store/rate_limiter.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>

#include "common/base/cancellation.h"
#include "common/store/memory_store.h"
#include "common/store/throttled_store.h"
#include "tests/support/fault_store.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

// Senders that always have the next object, on a clock of their own: no sender waits longer than it
// was told to.
class RateLimiterTest : public ::testing::Test {
 protected:
  struct Sender {
    RateLimiter::Client client;
    RequestKind kind = RequestKind::kLog;
    uint64_t object_bytes = 0;
    microseconds pause{0};  // between an object and the next
    std::unique_ptr<RateLimiter::Turn> turn = {};
    int64_t ask_at_us = 0, asked_at_us = 0, longest_wait_us = 0;
    uint64_t sent_bytes = 0, sent = 0;
  };

  void Limit(uint64_t bytes_per_second, uint64_t requests_per_second) {
    limiter_ =
        std::make_unique<RateLimiter>(RateLimits{bytes_per_second, requests_per_second}, clock_);
  }
  Sender& Add(uint64_t object_bytes, RequestKind kind = RequestKind::kLog,
              microseconds pause = microseconds(0)) {
    Sender& sender = senders_.emplace_back();
    sender.kind = kind;
    sender.object_bytes = object_bytes;
    sender.pause = pause;
    sender.ask_at_us = clock_.MonotonicMicros();
    return sender;
  }
  void RunFor(microseconds time) {
    const int64_t end = clock_.MonotonicMicros() + time.count();
    for (;;) {
      Sender* next = &senders_.front();
      for (Sender& sender : senders_) {
        next = sender.ask_at_us < next->ask_at_us ? &sender : next;
      }
      const int64_t at = std::min(next->ask_at_us, end);
      clock_.Advance(microseconds(std::max<int64_t>(at - clock_.MonotonicMicros(), 0)));
      if (next->ask_at_us >= end) {
        return;
      }
      Step(*next);
    }
  }
  void Step(Sender& sender) {
    const int64_t now = clock_.MonotonicMicros();
    if (!sender.turn) {
      sender.turn = std::make_unique<RateLimiter::Turn>(*limiter_, sender.client, sender.kind,
                                                        sender.object_bytes);
      sender.asked_at_us = now;
    }
    const microseconds wait = sender.turn->Ask();
    ASSERT_LE(wait, seconds(1));
    if (wait.count() > 0) {
      sender.ask_at_us = now + wait.count();
      return;
    }
    sender.turn->Use(sender.object_bytes);
    sender.turn.reset();
    sender.longest_wait_us = std::max(sender.longest_wait_us, now - sender.asked_at_us);
    sender.sent_bytes += sender.object_bytes;
    ++sender.sent;
    sender.ask_at_us = now + sender.pause.count();
  }

  FakeClock clock_;
  std::unique_ptr<RateLimiter> limiter_;
  std::deque<Sender> senders_;
};

TEST_F(RateLimiterTest, NoLimitsLetEverythingThroughAtOnce) {
  Limit(0, 0);
  Sender& sender = Add(16 * kMiB, RequestKind::kImage, milliseconds(1));
  RunFor(seconds(1));
  EXPECT_EQ(sender.sent, 1000U);
}

TEST_F(RateLimiterTest, BytesASecondAreNeitherExceededNorWasted) {
  Limit(kMiB, 0);
  Sender& sender = Add(300 * kKiB);
  RunFor(seconds(100));
  EXPECT_LE(sender.sent_bytes, 101 * kMiB + 300 * kKiB);  // a second's worth was saved before
  EXPECT_GE(sender.sent_bytes, 100 * kMiB);
}

TEST_F(RateLimiterTest, RequestsASecondAreNeitherExceededNorWasted) {
  Limit(0, 10);
  Sender& put = Add(kMiB);
  Sender& get = Add(0);
  RunFor(seconds(100));
  EXPECT_LE(put.sent + get.sent, 1010U);
  EXPECT_GE(put.sent + get.sent, 999U);
  EXPECT_NEAR(static_cast<double>(put.sent), static_cast<double>(get.sent), 15);
}

TEST_F(RateLimiterTest, AnObjectLargerThanASecondsWorthGoesAndIsPaidForAfterwards) {
  Limit(kMiB, 0);
  Sender& sender = Add(8 * kMiB);
  RunFor(seconds(160));
  EXPECT_GE(sender.sent, 20U);
  EXPECT_LE(sender.sent, 22U);
}

TEST_F(RateLimiterTest, ALargeImageDoesNotDelayTheLog) {
  Limit(kMiB, 0);
  Sender& image = Add(16 * kMiB, RequestKind::kImage);
  Sender& log = Add(100 * kKiB, RequestKind::kLog, milliseconds(500));
  RunFor(seconds(200));
  EXPECT_LE(log.longest_wait_us, 1000);
  EXPECT_GE(image.sent_bytes + log.sent_bytes, 180 * kMiB);  // and gets what the log leaves
}

TEST_F(RateLimiterTest, ALogWithoutEndLeavesImagesAQuarter) {
  Limit(kMiB, 50);
  Sender& image = Add(4 * kMiB, RequestKind::kImage);
  Sender& log = Add(64 * kKiB);
  RunFor(seconds(400));
  EXPECT_NEAR(static_cast<double>(image.sent_bytes), 100.0 * kMiB, 8.0 * kMiB);
  EXPECT_NEAR(static_cast<double>(log.sent_bytes), 300.0 * kMiB, 8.0 * kMiB);
}

TEST_F(RateLimiterTest, ClientsShareByWhatTheySendNotByHowOftenTheyAsk) {
  Limit(kMiB, 0);
  Sender& large = Add(2 * kMiB);
  Sender& small = Add(10 * kKiB);
  RunFor(seconds(200));
  EXPECT_NEAR(static_cast<double>(large.sent_bytes), static_cast<double>(small.sent_bytes),
              4.0 * kMiB);
}

TEST_F(RateLimiterTest, OneThatSendsNowAndThenIsServedBeforeThoseThatAlwaysDo) {
  Limit(kMiB, 0);
  for (int i = 0; i < 50; ++i) {
    Add(64 * kKiB);
  }
  Sender& seldom = Add(kKiB, RequestKind::kLog, seconds(10));
  RunFor(seconds(200));
  EXPECT_GE(seldom.sent, 18U);
  EXPECT_LE(seldom.longest_wait_us, 100'000);  // not 50 objects' time, which is three seconds
}

TEST_F(RateLimiterTest, ThousandsThatWaitAllComeToTheirTurn) {
  Limit(0, 100);
  for (int i = 0; i < 2000; ++i) {
    Add(kKiB, RequestKind::kLog, milliseconds(1));
  }
  RunFor(seconds(25));
  for (const Sender& sender : senders_) {
    ASSERT_GE(sender.sent, 1U);
    ASSERT_LE(sender.sent, 2U);
  }
}

TEST_F(RateLimiterTest, RequestsWithoutBytesPassAnObjectThatWaitsForItsBytes) {
  Limit(kKiB, 100);
  Sender& large = Add(kMiB);
  RunFor(seconds(1));
  ASSERT_EQ(large.sent, 1U);  // which owes a thousand seconds now
  Sender& get = Add(0, RequestKind::kLog, seconds(1));
  RunFor(seconds(10));
  EXPECT_EQ(get.sent, 10U);
  EXPECT_EQ(large.sent, 1U);
}

TEST_F(RateLimiterTest, ATurnThatIsGivenUpHoldsUpNobody) {
  Limit(kMiB, 0);
  RateLimiter::Client one, two;
  {
    RateLimiter::Turn waits(*limiter_, one, RequestKind::kImage, 100 * kMiB);
    EXPECT_GT(waits.Ask().count(), 0);
    RateLimiter::Turn has_it(*limiter_, one, RequestKind::kLog, 100 * kMiB);
    EXPECT_EQ(has_it.Ask().count(), 0);
    RateLimiter::Turn behind(*limiter_, two, RequestKind::kLog, kKiB);
    EXPECT_GT(behind.Ask().count(), 0);
  }
  RateLimiter::Turn next(*limiter_, two, RequestKind::kLog, kKiB);
  EXPECT_EQ(next.Ask().count(), 0);
}

TEST_F(RateLimiterTest, WhatIsOwedDoesNotOutliveAChangeOfTheLimit) {
  Limit(10 * kMiB, 0);
  Sender& sender = Add(1000 * kMiB);
  RunFor(seconds(1));
  limiter_->SetLimits({kMiB, 0});
  RunFor(seconds(3));
  EXPECT_EQ(sender.sent, 2U);
  limiter_->SetLimits({0, 0});
  sender.pause = seconds(1);
  RunFor(seconds(5));
  EXPECT_GE(sender.sent, 6U);
}

TEST_F(RateLimiterTest, SeveralLimitsHoldTogether) {
  auto shared = std::make_shared<RateLimiter>(RateLimits{0, 10}, clock_);
  auto own = std::make_shared<RateLimiter>(RateLimits{kMiB, 0}, clock_);
  Throttle limited({own, nullptr, shared});
  EXPECT_EQ(limited.BytesPerSecond(), kMiB);
  const auto sent_in = [&](seconds time, uint64_t bytes) {
    int sent = 0;
    for (const int64_t end = clock_.MonotonicMicros() + microseconds(time).count();;) {
      Throttle::Turn turn(limited, RequestKind::kLog, bytes);
      for (microseconds wait = turn.Ask(); wait.count() > 0; wait = turn.Ask()) {
        clock_.Advance(wait);
        if (clock_.MonotonicMicros() >= end) {
          return sent;
        }
      }
      turn.Use(bytes);
      ++sent;
    }
  };
  EXPECT_NEAR(sent_in(seconds(20), 4 * kMiB), 5, 1);
  clock_.Advance(seconds(10));
  EXPECT_NEAR(sent_in(seconds(20), kKiB), 210, 2);
}

class ThrottledStoreTest : public ::testing::Test {
 protected:
  ThrottledStore Make(const RateLimits& limits) {
    throttle_ =
        std::make_shared<Throttle>(std::vector{std::make_shared<RateLimiter>(limits, clock_)});
    return ThrottledStore(
        faults_, throttle_,
        [this](milliseconds wait) {
          clock_.Advance(wait);
          waited_ += wait;
          return !stopped_;
        },
        [this] { ++counted_; });
  }

  FakeClock clock_;
  std::shared_ptr<FaultStore> faults_ =
      std::make_shared<FaultStore>(std::make_shared<MemoryStore>("m"));
  std::shared_ptr<Throttle> throttle_;
  milliseconds waited_{0};
  bool stopped_ = false;
  int counted_ = 0;
};

TEST_F(ThrottledStoreTest, EveryRequestTakesItsTurn) {
  ThrottledStore store = Make({0, 1});
  EXPECT_OK(store.Put("a", AsBytes("1")));
  EXPECT_OK(store.PutIfAbsent("b", AsBytes("1")));
  ASSERT_OK_AND_ASSIGN(const ObjectInfo info, store.Head("a"));
  EXPECT_OK(store.PutIfMatch("a", AsBytes("2"), info.etag));
  EXPECT_OK(store.Get("a", 10));
  EXPECT_OK(store.List("", "", 10));
  EXPECT_OK(store.Delete("a"));
  EXPECT_OK(store.DeleteMany(std::vector<std::string>{"b"}));
  EXPECT_GE(waited_, seconds(7));
  EXPECT_LE(waited_, milliseconds(7100));
  EXPECT_EQ(counted_, 4);  // three kinds of Put, and List
}

TEST_F(ThrottledStoreTest, AWaitEndsWhenItIsToldToAndNothingIsSent) {
  ThrottledStore store = Make({0, 1});
  ASSERT_OK(store.Put("a", AsBytes("1")));
  stopped_ = true;
  EXPECT_STATUS(store.Put("b", AsBytes("1")), StatusCode::kCancelled);
  stopped_ = false;
  const std::function<bool()> cancelled = [] { return true; };
  {
    const CancelScope scope(cancelled);
    EXPECT_STATUS(store.Get("a", 10), StatusCode::kCancelled);
  }
  EXPECT_LE(waited_, milliseconds(100));
  EXPECT_EQ(faults_->TotalCount(), 1);
}

TEST_F(ThrottledStoreTest, ATurnThatWasWaitedForElsewhereIsUsedOnce) {
  ThrottledStore store = Make({0, 1});
  Throttle::Turn turn(*throttle_, RequestKind::kLog, 1);
  ASSERT_EQ(turn.Ask().count(), 0);
  const PaidScope paid(turn);
  ASSERT_OK(store.Put("a", AsBytes("1")));
  EXPECT_EQ(waited_.count(), 0);
  ASSERT_OK(store.Put("b", AsBytes("1")));
  EXPECT_GE(waited_, milliseconds(900));
}

}  // namespace
}  // namespace sqlite_s3

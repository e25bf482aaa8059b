// The bound on the WAL while our threads are without a core: each rule with the worker stopped at a
// known place.

#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>

#include "tests/support/shipped_database.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kThreshold = 50;

// The real time, and a gate: a closed one stops the worker whenever it asks for the time. While it
// is closed every look of the test's thread is a millisecond later than the one before; once it has
// opened for a waiting test, time stands still for that thread: it waits for the worker, and not
// for as long as the machine needs to run it.
class GatedClock : public Clock {
 public:
  int64_t WallMicros() const override { return Clock::Real().WallMicros(); }

  int64_t MonotonicMicros() const override {
    std::unique_lock lock(mutex_);
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof(name));
    if (std::strcmp(name, "s3-worker") == 0) {
      stopped_ = true;
      changed_.notify_all();
      changed_.wait(lock, [&] { return !closed_ || steps_ > 0; });
      steps_ -= closed_ ? 1 : 0;
      stopped_ = false;
    } else if (std::this_thread::get_id() == test_) {
      if (closed_) {
        test_us_ = test_us_ == 0 ? Real() : test_us_ + 1000;
        if (++looks_ == open_at_look_) {
          closed_ = false;
          changed_.notify_all();
        }
      }
      if (test_us_ != 0) {
        return test_us_;
      }
    }
    return Real();
  }

  // Returns when the worker stands.
  void Close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    changed_.wait(lock, [&] { return stopped_; });
  }
  // Lets the worker come to where it asks next.
  void Step() {
    std::unique_lock lock(mutex_);
    steps_ = 1;
    changed_.notify_all();
    changed_.wait(lock, [&] { return stopped_ && steps_ == 0; });
  }
  // Opens at so many looks of the test's thread from one BeginCommit on; 0: not by itself.
  void OpenAtLook(int looks) {
    std::lock_guard lock(mutex_);
    open_at_look_ = looks;
  }
  void BeginCommit() {
    std::lock_guard lock(mutex_);
    looks_ = 0;
  }
  void Open() {
    std::lock_guard lock(mutex_);
    closed_ = false;
    if (test_us_ != 0) {
      ahead_us_ += std::max<int64_t>(test_us_ - Real(), 0);  // it never goes back
      test_us_ = 0;
    }
    changed_.notify_all();
  }

 private:
  int64_t Real() const { return Clock::Real().MonotonicMicros() + ahead_us_; }

  const std::thread::id test_ = std::this_thread::get_id();
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable bool closed_ = false;
  mutable bool stopped_ = false;
  mutable int steps_ = 0;
  mutable int looks_ = 0;
  int64_t ahead_us_ = 0;
  mutable int64_t test_us_ = 0;  // the test's thread's own time; 0: the real one
  int open_at_look_ = 0;
};

// A database whose first image waits for the store.
class WalBoundTest : public ::testing::Test {
 protected:
  WalBoundTest() : db_(MakeOptions(&clock_)) {}

  ~WalBoundTest() override {
    clock_.Open();
    LetImageGoOn();
  }

  static ShippedDatabase::Options MakeOptions(const Clock* clock) {
    ShippedDatabase::Options options;
    options.checkpoint_pages = kThreshold;
    options.clock = clock;
    options.own_threads = true;  // a pool's worker has no thread to stop by its name
    return options;
  }

  void StartWithImageWaiting() {
    db_.faults().SetHook([this](StoreOp op, std::string_view key, int) -> Status {
      if (op == StoreOp::kPutIfAbsent && key.ends_with(".part")) {
        std::unique_lock lock(mutex_);
        waiting_ = true;
        changed_.notify_all();
        changed_.wait(lock, [&] { return go_on_; });
      }
      return Status::Ok();
    });
    db_.Start();
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return waiting_; });
    }
    sqlite3_wal_hook(db_.app().get(), &Hook, this);
  }

  void LetImageGoOn() {
    std::lock_guard lock(mutex_);
    go_on_ = true;
    changed_.notify_all();
  }

  // Stops the worker where it does, or does not, hold what captures.
  void StopWorker(bool holding) {
    db_.Exec("insert into t(b) values(1)");  // a WAL without frames looks like one not looked at
    clock_.Close();
    while ((db_.engine().GetStatus(false).wal_frames == 0) != holding) {
      clock_.Step();
    }
  }

  static int Hook(void* self, sqlite3*, const char*, int frames) {
    auto* test = static_cast<WalBoundTest*>(self);
    test->most_ = std::max(test->most_, frames);
    test->db_.engine().OnCommit(static_cast<uint32_t>(frames));
    return SQLITE_OK;
  }

  void Commit() {
    clock_.BeginCommit();
    db_.Exec("insert into t(b) values(randomblob(900))");
  }

  void Check() {
    clock_.Open();
    LetImageGoOn();
    db_.WaitForImage();
    db_.Note();
    db_.Sync();
    db_.CheckNoted();
    db_.CheckHead();
  }

  // The worker holds the capture for `looks` ms of a commit's patience.
  void WaitsForAHolder(int looks, int bound) {
    db_.Exec("create table t(id integer primary key, b blob)");
    StartWithImageWaiting();
    StopWorker(true);
    clock_.OpenAtLook(looks);
    for (int i = 0; i < 400; ++i) {
      Commit();
    }
    EXPECT_LT(most_, bound);
    Check();
  }

  GatedClock clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool waiting_ = false;
  bool go_on_ = false;
  int most_ = 0;
  ShippedDatabase db_;
};

// The worker alone set aside what a shrink cut off: without a core it kept the pin, and the
// committing thread tried and failed for as long as it had one.
TEST_F(WalBoundTest, CommittingThreadSetsAsideWhatWasCutOffWhileTheWorkerStands) {
  // More than one part of an image, so that the first waits before the copy is done. Of the pages
  // freed nothing is written: what shrinks the database is a small commit.
  const std::string rows = "with recursive n(i) as (select 1 union all select i+1 from n where i<";
  db_.Exec("create table t(id integer primary key, b blob); create table u(b)");
  db_.Exec(rows + "100) insert into t(b) select randomblob(900) from n");
  db_.Exec(rows + "24000) insert into u select randomblob(900) from n");
  db_.Exec("pragma wal_checkpoint(truncate); pragma secure_delete=off");
  StartWithImageWaiting();
  StopWorker(false);
  db_.Exec("drop table u");
  db_.Exec("vacuum");
  ASSERT_LT(db_.QueryInt("pragma page_count"), 200);
  for (int i = 0; i < 600; ++i) {
    db_.Exec("update t set b=randomblob(900) where id=" + std::to_string(i % 100 + 1));
  }
  EXPECT_LT(most_, 4 * static_cast<int>(kThreshold));
  Check();
}

// A holder of the capture without a core made each try give up after 5 ms, and writers went on.
TEST_F(WalBoundTest, CommitWaitsLongerForTheCaptureAtTwiceTheThreshold) {
  WaitsForAHolder(40, 3 * static_cast<int>(kThreshold));
}

TEST_F(WalBoundTest, CommitWaitsAsLongAsACoreMayTakeAtThreeTimesTheThreshold) {
  WaitsForAHolder(400, 4 * static_cast<int>(kThreshold));
}

}  // namespace
}  // namespace sqlite_s3

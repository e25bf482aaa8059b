// Rate limits and the request budget: commits come later, and nothing is lost or held up by it.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "agent/ship/policy.h"
#include "agent/ship/put_aside.h"
#include "agent/ship/request_budget.h"
#include "common/os/file.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using Notice = RequestBudget::Notice;

constexpr int64_t kJanuary1 = 1'767'225'600'000'000;  // 2026-01-01T00:00:00Z
constexpr auto kDay = hours(24);

class RequestBudgetTest : public ::testing::Test {
 protected:
  std::string path() const { return dir_.path() + "/requests"; }
  // `count` requests of a process that is killed afterwards.
  void Spend(RequestBudget& budget, int count) {
    for (int i = 0; i < count; ++i) {
      budget.Count();
    }
  }

  TempDir dir_;
  FakeClock clock_{kJanuary1};
};

TEST_F(RequestBudgetTest, SpreadsWhatIsLeftOverTheRestOfTheMonth) {
  RequestBudget budget(31 * 24 * 60, clock_);
  EXPECT_EQ(budget.Now().pace, seconds(60));
  clock_.Advance(15 * kDay + hours(12));
  EXPECT_EQ(budget.Now().pace, seconds(30));  // what was not spent is not lost
  Spend(budget, 31 * 24 * 60 * 3 / 4);
  EXPECT_EQ(budget.Now().pace, seconds(120));
  EXPECT_FALSE(budget.Now().over);
}

TEST_F(RequestBudgetTest, OfNothingLeftOneAnHourStillGoes) {
  RequestBudget budget(10, clock_);
  EXPECT_EQ(budget.Now().pace, hours(1));  // ten in a month are days apart
  Spend(budget, 25);
  EXPECT_TRUE(budget.Now().over);
  EXPECT_EQ(budget.Now().pace, hours(1));
  EXPECT_EQ(budget.Now().used, 25U);
}

TEST_F(RequestBudgetTest, BeginsAnewWithEachMonth) {
  RequestBudget budget(100, clock_);
  Spend(budget, 100);
  clock_.Advance(31 * kDay - microseconds(1));
  EXPECT_TRUE(budget.Now().over);
  clock_.Advance(microseconds(1));
  EXPECT_FALSE(budget.Now().over);
  EXPECT_EQ(budget.Now().used, 0U);
  clock_.Advance(28 * kDay - seconds(50));  // February
  EXPECT_EQ(budget.Now().pace, milliseconds(500));
}

TEST_F(RequestBudgetTest, AClockThatIsPutBackGivesNoSecondBudget) {
  clock_.Advance(31 * kDay);
  RequestBudget budget(100, clock_);
  ASSERT_OK(budget.Open(path()));
  Spend(budget, 100);
  clock_.SetWall(clock_.WallMicros() - microseconds(hours(2)).count());
  EXPECT_TRUE(budget.Now().over);
  RequestBudget next(100, clock_);
  ASSERT_OK(next.Open(path()));
  EXPECT_TRUE(next.Now().over);
}

TEST_F(RequestBudgetTest, AFileOfTheFarFutureCountsForNothing) {
  clock_.Advance(3650 * kDay);
  RequestBudget later(100, clock_);
  ASSERT_OK(later.Open(path()));
  Spend(later, 100);
  clock_.SetWall(kJanuary1);
  RequestBudget budget(100, clock_);
  ASSERT_OK(budget.Open(path()));
  EXPECT_EQ(budget.Now().used, 0U);
}

TEST_F(RequestBudgetTest, ACountSurvivesAKillAndIsExactAfterAStop) {
  for (const uint64_t a_month : {uint64_t{10}, uint64_t{5000}, uint64_t{1'000'000}}) {
    ASSERT_OK(RemoveFile(path()));
    {
      RequestBudget budget(a_month, clock_);
      ASSERT_OK(budget.Open(path()));
      Spend(budget, 7);
      budget.Save();
    }
    {
      RequestBudget budget(a_month, clock_);
      ASSERT_OK(budget.Open(path()));
      EXPECT_EQ(budget.Now().used, 7U);
      Spend(budget, 1);  // killed
    }
    RequestBudget budget(a_month, clock_);
    ASSERT_OK(budget.Open(path()));
    EXPECT_GE(budget.Now().used, 8U);
    EXPECT_LE(budget.Now().used, 8 + std::min<uint64_t>(a_month / 500, 100));
  }
}

TEST_F(RequestBudgetTest, AFileThatIsNoneOfOursIsSaidAndReplaced) {
  for (const char* text :
       {"", "x", "[]", "{\"month\": -1}", "{\"month\": \"x\", \"requests\": 5}"}) {
    ASSERT_OK(WriteFileAtomically(path(), AsBytes(text), 0600, Durability::kVisible));
    RequestBudget budget(100, clock_);
    EXPECT_STATUS(budget.Open(path()), StatusCode::kCorruption);
    budget.Count();
    EXPECT_EQ(budget.Now().used, 1U);
    RequestBudget next(100, clock_);
    ASSERT_OK(next.Open(path()));
    EXPECT_EQ(next.Now().used, 1U);
  }
}

TEST_F(RequestBudgetTest, NewsIsNewsOnceAMonthAcrossRestarts) {
  for (int month = 0; month < 2; ++month) {
    for (int process = 0; process < 2; ++process) {
      RequestBudget budget(100, clock_);
      ASSERT_OK(budget.Open(path()));
      EXPECT_EQ(budget.IsNews(Notice::kStretched), process == 0);
      EXPECT_EQ(budget.IsNews(Notice::kOver), process == 0);
      EXPECT_FALSE(budget.IsNews(Notice::kOver));
    }
    clock_.Advance(31 * kDay);
  }
}

TEST_F(RequestBudgetTest, WithoutABudgetNothingIsStretchedAndNothingIsWritten) {
  RequestBudget budget(0, clock_);
  ASSERT_OK(budget.Open(path()));
  Spend(budget, 1000);
  EXPECT_EQ(budget.Now().pace.count(), 0);
  EXPECT_EQ(budget.Now().used, 1000U);
  EXPECT_NE(access(path().c_str(), F_OK), 0);
}

TEST(CutPolicyTest, ABudgetDelaysWhatIsDueByAgeAndNothingElse) {
  ShipOptions options;
  CutInputs in;
  in.commits = 1;
  in.bytes = 100;
  in.age_us = 5'000'000;
  in.uploader_idle = true;
  EXPECT_EQ(DecideCut(in, options), CutDecision::kCut);
  in.paced_us = 7'000'000;
  EXPECT_EQ(DecideCut(in, options), CutDecision::kNo);
  EXPECT_EQ(MicrosUntilCut(in, options), 7'000'000);
  in.waiter = true;
  EXPECT_EQ(DecideCut(in, options), CutDecision::kCut);
  in.waiter = false;
  in.bytes = options.segment_bytes;
  EXPECT_EQ(DecideCut(in, options), CutDecision::kCut);
}

TEST(ImagePolicyTest, OverBudgetOnlyTheFirstImageIsMade) {
  ImageInputs in;
  in.changed = true;
  in.over_budget = true;
  EXPECT_TRUE(DecideImage(in, ShipOptions()));
  in.has_image = true;
  in.log_bytes = 1 << 30;
  EXPECT_FALSE(DecideImage(in, ShipOptions()));
  in.over_budget = false;
  EXPECT_TRUE(DecideImage(in, ShipOptions()));
}

TEST(PutAsideTest, GivesBackWhatWasAppendedFromMemoryAndFile) {
  TempDir dir;
  const std::string path = dir.path() + "/aside";
  ASSERT_OK(WriteFileAtomically(path, AsBytes(std::string(1'000'000, 'x')), 0600,
                                Durability::kVisible));  // of a killed process
  PutAside aside(path);
  Bytes all;
  for (int i = 0; i < 100; ++i) {
    const Bytes some(997, static_cast<uint8_t>(i));
    all.insert(all.end(), some.begin(), some.end());
    ASSERT_OK(aside.Append(some));
    ASSERT_OK_AND_ASSIGN(const Bytes got, aside.Read());
    ASSERT_EQ(got, all);
  }
  PutAside moved = std::move(aside);
  ASSERT_OK_AND_ASSIGN(const Bytes got, moved.Read());
  EXPECT_EQ(got, all);
  moved.Clear();
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  EXPECT_TRUE(moved.empty());
}

TEST(PutAsideTest, BytesThatChangedInTheFileAreCorruption) {
  TempDir dir;
  const std::string path = dir.path() + "/aside";
  PutAside aside(path);
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK(aside.Append(Bytes(40'000, 'a')));
  }
  ASSERT_OK(aside.Read());
  ASSERT_OK_AND_ASSIGN(const Fd fd, OpenFile(path, O_WRONLY));
  ASSERT_OK(WriteAt(fd, 100'000, AsBytes("b"), path));
  EXPECT_STATUS(aside.Read(), StatusCode::kCorruption);
}

// --- an engine under limits

ShippedDatabase::Options Limited(const std::shared_ptr<RateLimiter>& limits) {
  ShippedDatabase::Options options;
  options.limits = limits;
  return options;
}

// As after an object for which thousands of seconds are owed.
void Exhaust(RateLimiter& limits) {
  limits.SetLimits({1024, 0});
  static RateLimiter::Client somebody;
  RateLimiter::Turn turn(limits, somebody, RequestKind::kLog, 100 << 20);
  while (turn.Ask().count() > 0) {
  }
  turn.Use(100 << 20);
}

void Insert(ShippedDatabase& db, int bytes) {
  db.Exec("insert into t(b) values(randomblob(" + std::to_string(bytes) + "))");
}

TEST(LimitedEngineTest, WaitsSyncsMarksAndStopGiveUpWithinTheirBounds) {
  const auto limits = std::make_shared<RateLimiter>(RateLimits());
  ShippedDatabase db(Limited(limits));
  db.Exec("create table t(id integer primary key, b)");
  db.Start();
  db.Sync();
  Exhaust(*limits);
  Insert(db, 100);
  const Txid last = db.Note();
  EXPECT_STATUS(db.engine().Wait(last, milliseconds(50)), StatusCode::kDeadlineExceeded);
  EXPECT_STATUS(db.engine().Sync(milliseconds(50), nullptr), StatusCode::kDeadlineExceeded);
  EXPECT_STATUS(db.engine().Mark("m", milliseconds(50)), StatusCode::kDeadlineExceeded);
  EXPECT_STATUS(db.engine().MakeImage(milliseconds(50)), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(db.engine().GetStatus(false).state, EngineState::kShipping);  // the store is not away
  EXPECT_STATUS(db.engine().Stop(milliseconds(50)), StatusCode::kDeadlineExceeded);
  limits->SetLimits({});
  db.Start();
  EXPECT_EQ(db.Sync(), last);
  db.CheckNoted();
  db.CheckHead();
}

TEST(LimitedEngineTest, AMarkThatWaitsForItsTurnIsGivenUp) {
  const auto limits = std::make_shared<RateLimiter>(RateLimits());
  ShippedDatabase db(Limited(limits));
  db.Exec("create table t(id integer primary key, b)");
  db.Start();
  db.Sync();
  db.WaitForImage();
  Exhaust(*limits);
  // Nothing is left to ship, so the mark's own object is what waits.
  EXPECT_STATUS(db.engine().Mark("m", milliseconds(50)), StatusCode::kDeadlineExceeded);
  limits->SetLimits({});
  EXPECT_OK(db.engine().Mark("n", seconds(60)));
}

TEST(LimitedEngineTest, TheLogGoesOnWhileALargeImageWaitsForItsTurn) {
  const auto limits = std::make_shared<RateLimiter>(RateLimits());
  ShippedDatabase db(Limited(limits));
  db.Exec("create table t(id integer primary key, b)");
  for (int i = 0; i < 24; ++i) {
    Insert(db, 1 << 20);
  }
  db.Start();
  db.Sync();
  Insert(db, 10);
  limits->SetLimits({32 << 10, 0});  // a part of 1 MiB takes half a minute
  std::thread asks([&] { EXPECT_OK(db.engine().MakeImage(hours(1))); });
  while (!db.engine().GetStatus(false).image_running) {
    std::this_thread::yield();
  }
  const uint64_t images = db.engine().GetStatus(false).images;
  for (int i = 0; i < 5; ++i) {
    Insert(db, 100);
    db.Note();
    db.Sync();
  }
  EXPECT_EQ(db.engine().GetStatus(false).images, images);
  limits->SetLimits({});
  asks.join();
  db.CheckNoted();
  db.CheckHead();
}

TEST(LimitedEngineTest, OverBudgetCommitsWaitForSomebodyWhoAsksAndItIsSaidOnce) {
  ShippedDatabase::Options options;
  options.ship.request_budget = 1;
  ShippedDatabase db(options);
  db.Exec("create table t(id integer primary key, b)");
  const auto said = [&] {
    const auto log = db.log();
    return std::count_if(log.begin(), log.end(), [](const std::string& line) {
      return line.find(
                 "of this month's request_budget of 1 are spent: segments are 3600 s apart") !=
             std::string::npos;
    });
  };
  for (int start = 0; start < 2; ++start) {
    db.Start();
    db.Sync();
    Insert(db, 100);
    db.Note();
    while (said() == 0) {  // and there is no segment, for this is said of one that is due
      std::this_thread::yield();
    }
    const EngineStatus status = db.engine().GetStatus(false);
    EXPECT_EQ(status.interval_ms, 3'600'000);
    EXPECT_EQ(status.request_budget, 1U);
    EXPECT_GT(status.requests_this_month, 2U);
    db.Sync();
    Insert(db, 100);
    db.Note();
    db.Stop();  // a flush does not wait either
  }
  EXPECT_EQ(said(), 1);
  db.Start();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
}

TEST(ImageMemoryTest, APartThatCannotBePutWaitsOnDisk) {
  ShippedDatabase db;
  db.Exec("create table t(id integer primary key, b)");
  for (int i = 0; i < 18; ++i) {
    Insert(db, 1 << 20);
  }
  db.faults().SetHook([](StoreOp, std::string_view key, int) {
    return key.ends_with(".part") ? UnavailableError("away") : Status::Ok();
  });
  db.Start();
  const std::string object = db.state_dir() + "/image.object";
  while (access(object.c_str(), F_OK) != 0) {
    std::this_thread::yield();
  }
  db.Note();
  Insert(db, 1000);
  db.Exec("delete from t where id % 3 = 0");  // what is not copied yet is set aside
  db.faults().SetHook({});
  db.Sync();  // with an image, else nothing counts
  db.CheckHead();
  for (const char* name : {"/image.object", "/image.hashes"}) {
    while (access((db.state_dir() + name).c_str(), F_OK) == 0) {
      std::this_thread::yield();  // the image's end follows its last object
    }
  }
}

}  // namespace
}  // namespace sqlite_s3

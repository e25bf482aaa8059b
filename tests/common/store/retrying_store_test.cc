#include "common/store/retrying_store.h"

#include <algorithm>
#include <thread>

#include "common/store/memory_store.h"
#include "tests/support/fault_store.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr RetryPolicy kPolicy = {
    .initial = milliseconds(100), .max = milliseconds(1000), .deadline = milliseconds(60'000)};

class RetryingStoreTest : public ::testing::Test {
 protected:
  RetryingStore Make(RetryPolicy policy = kPolicy) {
    return RetryingStore(
        faults_, policy,
        [this](milliseconds wait) {
          waits_.push_back(wait);
          clock_.Advance(wait);
          return !cancelled_;
        },
        clock_);
  }

  FakeClock clock_;
  std::shared_ptr<MemoryStore> memory_ = std::make_shared<MemoryStore>("m");
  std::shared_ptr<FaultStore> faults_ = std::make_shared<FaultStore>(memory_);
  std::vector<milliseconds> waits_;
  bool cancelled_ = false;
};

TEST_F(RetryingStoreTest, EveryOperationIsRepeatedWhileTheStoreIsAway) {
  RetryingStore store = Make();
  ASSERT_OK(memory_->Put("k", AsBytes("v")));
  for (StoreOp op : {StoreOp::kPut, StoreOp::kPutIfAbsent, StoreOp::kPutIfMatch, StoreOp::kGet,
                     StoreOp::kHead, StoreOp::kList, StoreOp::kDelete, StoreOp::kDeleteMany}) {
    faults_->FailCall(op, 1, StatusCode::kUnavailable);
    faults_->FailCall(op, 2, StatusCode::kUnavailable);
  }
  EXPECT_OK(store.Put("p", AsBytes("v")));
  ASSERT_OK_AND_ASSIGN(PutResult put, store.PutIfAbsent("new", AsBytes("v")));
  EXPECT_OK(store.PutIfMatch("new", AsBytes("w"), put.etag));
  ASSERT_OK_AND_ASSIGN(Bytes got, store.Get("k", 10, ByteRange{0, 1}));
  EXPECT_EQ(AsText(got), "v");
  EXPECT_OK(store.Head("k"));
  ASSERT_OK_AND_ASSIGN(std::vector<ObjectInfo> page, store.List("", "", 10));
  EXPECT_THAT(page, SizeIs(3));
  EXPECT_OK(store.Delete("k"));
  EXPECT_STATUS(memory_->Head("k"), StatusCode::kNotFound);
  ASSERT_OK_AND_ASSIGN(auto failures, store.DeleteMany(std::vector<std::string>{"p", "new"}));
  EXPECT_THAT(failures, IsEmpty());
  EXPECT_STATUS(memory_->Head("p"), StatusCode::kNotFound);

  RequestCounts counts = store.counts();
  EXPECT_EQ(counts.puts, 9u);
  EXPECT_EQ(counts.gets, 3u);
  EXPECT_EQ(counts.heads, 3u);
  EXPECT_EQ(counts.lists, 3u);
  EXPECT_EQ(counts.deletes, 6u);
  EXPECT_EQ(counts.retries, 16u);
  EXPECT_EQ(counts.Total(), 24u);
  EXPECT_EQ(faults_->TotalCount(), 24);
}

TEST_F(RetryingStoreTest, EveryOtherCodeIsHandedOnAtOnce) {
  RetryingStore store = Make();
  for (StatusCode code :
       {StatusCode::kInvalidArgument, StatusCode::kNotFound, StatusCode::kAlreadyExists,
        StatusCode::kAborted, StatusCode::kFailedPrecondition, StatusCode::kPermissionDenied,
        StatusCode::kResourceExhausted, StatusCode::kCorruption, StatusCode::kIoError,
        StatusCode::kCancelled, StatusCode::kDeadlineExceeded, StatusCode::kUnimplemented,
        StatusCode::kInternal}) {
    faults_->FailCall(StoreOp::kPutIfAbsent, 1, code);
    EXPECT_STATUS(store.PutIfAbsent("k", {}), code);
    faults_->FailCall(StoreOp::kDelete, 1, code);
    EXPECT_STATUS(store.Delete("k"), code);
  }
  EXPECT_THAT(waits_, IsEmpty());
  EXPECT_EQ(store.counts().retries, 0u);
}

TEST_F(RetryingStoreTest, APutIfAbsentWhoseAnswerWasLostEndsAsAlreadyExists) {
  RetryingStore store = Make();
  faults_->FailCall(StoreOp::kPutIfAbsent, 1, StatusCode::kUnavailable, FaultWhen::kAfterEffect);
  EXPECT_STATUS(store.PutIfAbsent("k", AsBytes("mine")), StatusCode::kAlreadyExists);
  ASSERT_OK_AND_ASSIGN(Bytes there, store.Get("k", 10));
  EXPECT_EQ(AsText(there), "mine");  // which the caller compares
}

// Answers DeleteMany as scripted, and remembers what it was asked.
class StubbornStore : public MemoryStore {
 public:
  StubbornStore() : MemoryStore("stubborn") {}
  Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) override {
    asked.emplace_back(keys.begin(), keys.end());
    auto answer = std::move(answers.front());
    answers.erase(answers.begin());
    return answer;
  }
  std::vector<Result<std::vector<DeleteFailure>>> answers;
  std::vector<std::vector<std::string>> asked;
};

TEST_F(RetryingStoreTest, OfManyDeletesOnlyThoseThatMayStillGoAreRepeated) {
  auto inner = std::make_shared<StubbornStore>();
  RetryingStore store(
      inner, kPolicy, [](milliseconds) { return true; }, clock_);
  inner->answers = {
      std::vector<DeleteFailure>{{"a", UnavailableError("busy")},
                                 {"b", PermissionDeniedError("locked")},
                                 {"c", UnavailableError("busy")}},
      UnavailableError("away"),
      std::vector<DeleteFailure>{{"c", PermissionDeniedError("locked")}},
  };
  const std::vector<std::string> keys = {"a", "b", "c", "d"};
  ASSERT_OK_AND_ASSIGN(auto failures, store.DeleteMany(keys));
  ASSERT_THAT(failures, SizeIs(2));
  EXPECT_EQ(failures[0].key, "b");
  EXPECT_EQ(failures[1].key, "c");
  EXPECT_STATUS(failures[1].status, StatusCode::kPermissionDenied);
  EXPECT_EQ(inner->asked, (std::vector<std::vector<std::string>>{keys, {"a", "c"}, {"a", "c"}}));
}

TEST_F(RetryingStoreTest, WhenTimeIsOverTheKeysThatMayStillBeThereAreNamed) {
  auto inner = std::make_shared<StubbornStore>();
  RetryPolicy once = kPolicy;
  once.deadline = milliseconds(0);
  RetryingStore store(
      inner, once, [](milliseconds) { return true; }, clock_);
  inner->answers = {std::vector<DeleteFailure>{{"a", UnavailableError("busy")}},
                    UnavailableError("away")};
  ASSERT_OK_AND_ASSIGN(auto failures, store.DeleteMany(std::vector<std::string>{"a", "b"}));
  ASSERT_THAT(failures, SizeIs(1));
  EXPECT_EQ(failures[0].key, "a");
  EXPECT_STATUS(store.DeleteMany(std::vector<std::string>{"a"}), StatusCode::kUnavailable);
}

TEST_F(RetryingStoreTest, WaitsGrowToTheMaximumAndAreRandomBelowIt) {
  RetryPolicy policy = kPolicy;
  policy.deadline = milliseconds(10'000'000);
  RetryingStore store = Make(policy);
  constexpr int kTries = 300;
  for (int i = 1; i <= kTries; ++i) {
    faults_->FailCall(StoreOp::kGet, i, StatusCode::kUnavailable);
  }
  EXPECT_STATUS(store.Get("k", 10), StatusCode::kNotFound);
  ASSERT_THAT(waits_, SizeIs(kTries));
  for (size_t i = 0; i < waits_.size(); ++i) {
    EXPECT_GE(waits_[i], milliseconds(0));
    EXPECT_LE(waits_[i], i < 4 ? milliseconds(100 << i) : milliseconds(1000)) << i;
  }
  // Full jitter spreads over the whole interval. Wrong once in 10^27 for each of the two.
  EXPECT_LT(*std::min_element(waits_.begin() + 4, waits_.end()), milliseconds(200));
  EXPECT_GT(*std::max_element(waits_.begin() + 4, waits_.end()), milliseconds(800));
}

TEST_F(RetryingStoreTest, WhenTimeIsOverTheLastErrorIsHandedOnWithTheNumberOfTries) {
  RetryingStore store = Make();
  faults_->FailEverything(StatusCode::kUnavailable);
  const int64_t start_us = clock_.MonotonicMicros();
  Status status = store.Delete("k");
  ASSERT_STATUS(status, StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("gave up after"));
  EXPECT_LT(clock_.MonotonicMicros() - start_us, kPolicy.deadline.count() * 1000);
  EXPECT_EQ(store.counts().deletes, waits_.size() + 1);
}

TEST_F(RetryingStoreTest, TimeSpentInTheStoreCounts) {
  RetryingStore store = Make();
  faults_->FailEverything(StatusCode::kUnavailable);
  faults_->SetHook([&](StoreOp, std::string_view, int) {
    clock_.Advance(milliseconds(60'000));
    return Status();
  });
  EXPECT_STATUS(store.Delete("k"), StatusCode::kUnavailable);
  EXPECT_THAT(waits_, IsEmpty());
}

TEST_F(RetryingStoreTest, AClockThatStandsStillDoesNotRetryForEver) {
  FakeClock still;
  RetryingStore store(
      faults_, kPolicy, [](milliseconds) { return true; }, still);
  faults_->FailEverything(StatusCode::kUnavailable);
  EXPECT_STATUS(store.Delete("k"), StatusCode::kUnavailable);
}

TEST_F(RetryingStoreTest, ADeadlineOfZeroMeansOneTry) {
  RetryPolicy policy = kPolicy;
  policy.deadline = milliseconds(0);
  RetryingStore store = Make(policy);
  faults_->FailCall(StoreOp::kPut, 1, StatusCode::kUnavailable);
  EXPECT_STATUS(store.Put("k", {}), StatusCode::kUnavailable);
  EXPECT_EQ(store.counts().puts, 1u);
}

TEST_F(RetryingStoreTest, AWaitThatIsInterruptedIsCancelled) {
  RetryingStore store = Make();
  cancelled_ = true;
  faults_->FailEverything(StatusCode::kUnavailable);
  EXPECT_STATUS(store.Put("k", {}), StatusCode::kCancelled);
  EXPECT_EQ(store.counts().puts, 1u);
}

TEST(FaultStoreTest, FaultsHitTheCallsNamedBeforeOrAfterTheirEffect) {
  auto memory = std::make_shared<MemoryStore>("m");
  FaultStore store(memory);
  ASSERT_OK(store.Put("a", {}));
  store.FailCall(StoreOp::kPut, 2, StatusCode::kIoError);
  store.FailCall(StoreOp::kPut, 3, StatusCode::kUnavailable, FaultWhen::kAfterEffect);
  EXPECT_OK(store.Put("b", {}));
  EXPECT_STATUS(store.Put("c", {}), StatusCode::kIoError);
  EXPECT_STATUS(store.Put("d", {}), StatusCode::kUnavailable);
  EXPECT_OK(store.Put("e", {}));
  EXPECT_STATUS(memory->Head("c"), StatusCode::kNotFound);
  EXPECT_OK(memory->Head("d"));
  EXPECT_EQ(store.Count(StoreOp::kPut), 5);
}

TEST(FaultStoreTest, BlockedCallsDoNothingUntilReleased) {
  auto memory = std::make_shared<MemoryStore>("m");
  FaultStore store(memory);
  store.Block(StoreOp::kPut);
  std::thread thread([&] { EXPECT_OK(store.Put("k", {})); });
  store.WaitUntilBlocked();
  EXPECT_STATUS(store.Head("k"), StatusCode::kNotFound);  // another operation: not blocked
  store.Release();
  thread.join();
  EXPECT_OK(store.Head("k"));
}

TEST(FaultStoreTest, AHookMayUseTheStoreAndFailTheCall) {
  auto memory = std::make_shared<MemoryStore>("m");
  FaultStore store(memory);
  store.SetHook([&](StoreOp op, std::string_view key, int) {
    // Another writer comes first.
    return op == StoreOp::kPutIfAbsent ? memory->Put(key, AsBytes("theirs")).status() : Status();
  });
  EXPECT_STATUS(store.PutIfAbsent("k", AsBytes("ours")), StatusCode::kAlreadyExists);
  store.SetHook([](StoreOp, std::string_view, int n) {
    return n == 1 ? Status() : PermissionDeniedError("hook");
  });
  EXPECT_OK(store.Head("k"));
  EXPECT_STATUS(store.Head("k"), StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace sqlite_s3

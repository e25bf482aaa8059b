#include "common/store/credentials.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

class CountingSource : public CredentialSource {
 public:
  explicit CountingSource(const Clock& clock) : clock_(clock) {}
  Result<Credentials> Fetch() override {
    ++fetched;
    if (away) return UnavailableError("away");
    return Credentials{"ID" + std::to_string(fetched), "S", "T",
                       clock_.WallMicros() + 3'600'000'000, "test"};
  }
  int fetched = 0;
  bool away = false;

 private:
  const Clock& clock_;
};

class CredentialCacheTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  CountingSource* source_ = new CountingSource(clock_);
  CredentialCache cache_{std::unique_ptr<CredentialSource>(source_), clock_};
};

TEST_F(CredentialCacheTest, FetchesAgainFiveMinutesBeforeTheEnd) {
  EXPECT_EQ(cache_.Get()->access_key_id, "ID1");
  clock_.Advance(std::chrono::minutes(54));
  EXPECT_EQ(cache_.Get()->access_key_id, "ID1");
  clock_.Advance(std::chrono::minutes(1));
  EXPECT_EQ(cache_.Get()->access_key_id, "ID2");
}

TEST_F(CredentialCacheTest, OldOnesServeAsLongAsTheyLive) {
  ASSERT_OK(cache_.Get());
  source_->away = true;
  clock_.Advance(std::chrono::minutes(59));
  EXPECT_EQ(cache_.Get()->access_key_id, "ID1");
  clock_.Advance(std::chrono::minutes(1));
  EXPECT_STATUS(cache_.Get(), StatusCode::kUnavailable);
}

TEST_F(CredentialCacheTest, WhatHasExpiredIsFetchedOnceForAllWhoUsedIt) {
  ASSERT_OK_AND_ASSIGN(Credentials used, cache_.Get());
  cache_.Expire(used);
  EXPECT_EQ(cache_.Get()->access_key_id, "ID2");
  cache_.Expire(used);  // another thread, late
  EXPECT_EQ(cache_.Get()->access_key_id, "ID2");
}

}  // namespace
}  // namespace sqlite_s3

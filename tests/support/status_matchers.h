#pragma once
// EXPECT_OK(e), ASSERT_OK(e), EXPECT_STATUS(e, StatusCode::kNotFound), ASSERT_STATUS(e, code),
// ASSERT_OK_AND_ASSIGN(auto x, e): for a Status or a Result<T>. All but the last take messages with
// <<.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <utility>

#include "common/base/status.h"

namespace sqlite_s3 {

inline void PrintTo(StatusCode code, std::ostream* out) { *out << StatusCodeName(code); }
inline void PrintTo(const Status& status, std::ostream* out) { *out << status.ToString(); }

namespace testing_internal {

inline const Status& ToStatus(const Status& status) { return status; }
template <typename T>
Status ToStatus(const Result<T>& result) {
  return result.status();
}

inline ::testing::AssertionResult HasCode(const char* expression, const char*, const Status& status,
                                          StatusCode code) {
  if (status.code() == code) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << expression << "\n    says: " << status.ToString()
                                       << "\nexpected: " << StatusCodeName(code);
}

}  // namespace testing_internal
}  // namespace sqlite_s3

#define SQLITE_S3_TEST_STATUS(macro, expr, code)                                               \
  macro(::sqlite_s3::testing_internal::HasCode, ::sqlite_s3::testing_internal::ToStatus(expr), \
        (code))
#define EXPECT_STATUS(expr, code) SQLITE_S3_TEST_STATUS(EXPECT_PRED_FORMAT2, expr, code)
#define ASSERT_STATUS(expr, code) SQLITE_S3_TEST_STATUS(ASSERT_PRED_FORMAT2, expr, code)
#define EXPECT_OK(expr) EXPECT_STATUS(expr, ::sqlite_s3::StatusCode::kOk)
#define ASSERT_OK(expr) ASSERT_STATUS(expr, ::sqlite_s3::StatusCode::kOk)

// In a function that returns void.
#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  ASSERT_OK_AND_ASSIGN_IMPL(SQLITE_S3_CONCAT(test_result_, __LINE__), lhs, expr)
#define ASSERT_OK_AND_ASSIGN_IMPL(tmp, lhs, expr)                              \
  auto tmp = (expr);                                                           \
  ASSERT_TRUE(tmp.ok()) << #expr << "\n    says: " << tmp.status().ToString(); \
  lhs = std::move(tmp).value()

#pragma once
// Must: for helpers of tests that cannot go on after an error, and return what they make.

#include <stdexcept>
#include <utility>

#include "common/base/status.h"

namespace sqlite_s3 {

// Throws, which fails the test.
inline void Must(const Status& status) {
  if (!status.ok()) {
    throw std::runtime_error("a step that a test rests on: " + status.ToString());
  }
}
template <typename T>
T Must(Result<T> result) {
  Must(result.status());
  return std::move(*result);
}

}  // namespace sqlite_s3

#pragma once
// The fixed exit codes of the programs; docs/OPERATIONS.md has the same table.

#include "common/base/status.h"

namespace sqlite_s3 {

inline constexpr int kExitUsage = 2;
inline constexpr int kExitGap = 6;  // an object is missing: told apart from kNotFound by the plan

constexpr int ExitCodeFor(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return 0;
    case StatusCode::kInvalidArgument:
      return kExitUsage;
    case StatusCode::kNotFound:
      return 3;
    case StatusCode::kAlreadyExists:
    case StatusCode::kAborted:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kUnimplemented:
      return 4;
    case StatusCode::kCorruption:
      return 5;
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kCancelled:
      return 7;
    case StatusCode::kPermissionDenied:
      return 8;
    case StatusCode::kResourceExhausted:
      return 9;
    case StatusCode::kIoError:
    case StatusCode::kInternal:
      return 70;
  }
  return 70;
}

}  // namespace sqlite_s3

#include "common/base/cancellation.h"

namespace sqlite_s3 {
namespace {

thread_local const CancelScope* innermost = nullptr;

}  // namespace

CancelScope::CancelScope(const std::function<bool()>& stop) : stop_(stop), outer_(innermost) {
  innermost = this;
}

CancelScope::~CancelScope() { innermost = outer_; }

bool CancelScope::Cancelled() { return innermost != nullptr && innermost->stop_(); }

}  // namespace sqlite_s3

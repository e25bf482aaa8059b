#include "agent/ship/store_watch.h"

namespace sqlite_s3 {

bool StoreWatch::Enter(For what) {
  const auto n = static_cast<size_t>(what);
  std::lock_guard lock(mutex_);
  if (away_ && inside_[n] >= kMostWhileAway[n]) {
    return false;
  }
  ++inside_[n];
  return true;
}

void StoreWatch::Leave(For what, const Status& status) {
  std::lock_guard lock(mutex_);
  --inside_[static_cast<size_t>(what)];
  if (status.code() != StatusCode::kCancelled) {
    away_ =
        status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kDeadlineExceeded;
  }
}

std::shared_ptr<StoreWatch> StoreWatches::Of(const std::string& store) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<StoreWatch>& watch = watches_[store];
  if (!watch) {
    watch = std::make_shared<StoreWatch>();
  }
  return watch;
}

}  // namespace sqlite_s3

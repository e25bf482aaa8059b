#include "agent/ship/store_watch.h"

#include <utility>

namespace sqlite_s3 {

StoreWatch::Visit::Visit(Visit&& other) noexcept
    : watch_(std::exchange(other.watch_, nullptr)), what_(other.what_) {}

StoreWatch::Visit& StoreWatch::Visit::operator=(Visit&& other) noexcept {
  std::swap(watch_, other.watch_);
  std::swap(what_, other.what_);
  return *this;
}

StoreWatch::Visit::~Visit() { Ended(CancelledError("")); }

void StoreWatch::Visit::Ended(const Status& status) {
  if (StoreWatch* const watch = std::exchange(watch_, nullptr)) {
    watch->Leave(what_, status);
  }
}

std::optional<StoreWatch::Visit> StoreWatch::Enter(For what) {
  const auto n = static_cast<size_t>(what);
  std::lock_guard lock(mutex_);
  if (away_ && inside_[n] >= kMostWhileAway[n]) {
    return std::nullopt;
  }
  ++inside_[n];
  return Visit(this, what);
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

#include "common/store/credentials.h"

namespace sqlite_s3 {
namespace {

constexpr int64_t kRefreshBeforeUs = int64_t{5} * 60 * 1'000'000;

}  // namespace

Result<Credentials> CredentialCache::Get() {
  std::lock_guard lock(mutex_);
  const int64_t now_us = clock_.WallMicros();
  if (current_ && (!current_->expires_us || now_us < *current_->expires_us - kRefreshBeforeUs)) {
    return *current_;
  }
  auto fetched = source_->Fetch();
  if (fetched.ok()) {
    current_ = *std::move(fetched);
  } else if (!current_ || now_us >= *current_->expires_us) {
    return fetched.status();
  }
  return *current_;
}

void CredentialCache::Expire(const Credentials& used) {
  std::lock_guard lock(mutex_);
  if (current_ && current_->access_key_id == used.access_key_id &&
      current_->session_token == used.session_token) {
    current_.reset();
  }
}

}  // namespace sqlite_s3

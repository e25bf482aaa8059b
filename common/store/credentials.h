#pragma once
// Credentials of S3, where they come from, and when they are fetched again. They are in no message,
// no log and no URL.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace sqlite_s3 {

struct Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;          // empty: none
  std::optional<int64_t> expires_us;  // by the wall clock; absent: never
  std::string source;                 // "environment", for messages
};

class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  // May take a network round trip. kNotFound: this source is not set up here; anything else: it is,
  // and failed (kUnavailable when it may work later).
  virtual Result<Credentials> Fetch() = 0;
};

// Keeps what a source gave until five minutes before it expires; a source that fails then is asked
// again with the next request, and the old ones serve as long as they live. Thread-safe.
class CredentialCache {
 public:
  // `clock` must outlive the cache.
  CredentialCache(std::unique_ptr<CredentialSource> source, const Clock& clock)
      : source_(std::move(source)), clock_(clock) {}

  Result<Credentials> Get();
  // The store says that `used` has expired: the next Get fetches, unless somebody has since.
  void Expire(const Credentials& used);

 private:
  const std::unique_ptr<CredentialSource> source_;
  const Clock& clock_;
  std::mutex mutex_;
  std::optional<Credentials> current_;  // guarded by mutex_
};

}  // namespace sqlite_s3

#pragma once
// BucketSet: the buckets of one directory, DIR/NAME.sqlite3 each.
//
// Files that appear later are found when they are asked for or listed. Buckets are opened on first
// use and stay open. A file that cannot be opened fails calls on that bucket only. Thread-safe.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "server/storage/bucket.h"
#include "server/storage/storage_status.h"

namespace sqlite_s3::server {

enum class Synchronous : uint8_t {
  kNormal,  // an acknowledged write survives kill -9; a power loss may undo the newest ones
  kFull,    // and a power loss
};

struct StorageOptions {
  bool read_only = false;
  Synchronous synchronous = Synchronous::kNormal;
  int max_readers = 16;                // read connections per bucket, opened as needed
  int checkpoint_pages = 4000;         // WAL pages after which it is written back
  bool background_maintenance = true;  // false: only when Maintain is called. For tests
  const Clock* clock = &Clock::Real();
};

// S3's rules: 3 to 63 of a-z, 0-9, '-' and '.', the ends alphanumeric, no "..", ".-" or "-.", not
// an IPv4 address, no reserved prefix or suffix. So also safe as a file name.
bool IsValidBucketName(std::string_view name);

class BucketSet {
 public:
  // Opens `directory`, which must exist. Unless read-only, locks it ("DIR/.sqlite-s3-server.lock"):
  // kFailedPrecondition when another process serves it.
  static Result<std::unique_ptr<BucketSet>> Open(const std::string& directory,
                                                 const StorageOptions& options);
  virtual ~BucketSet() = default;

  // kInvalidBucketName, kBucketAlreadyExists, kReadOnly. Durable when it returns.
  virtual StorageResult<std::shared_ptr<Bucket>> Create(const std::string& name,
                                                        const std::string& owner) = 0;
  // kNoSuchBucket, kBucketNotEmpty while it holds any version, marker or upload, kReadOnly.
  // Requests in flight on it end as they would have, into a file without a name; later writes
  // through an old pointer say kNoSuchBucket.
  virtual StorageStatus Delete(const std::string& name) = 0;
  // The pointer stays usable after Delete and after the set's end. kNoSuchBucket also for names
  // that are no bucket names; kCorrupt, kBusy, ... when the file cannot be opened.
  virtual StorageResult<std::shared_ptr<Bucket>> Get(const std::string& name) = 0;
  // By name. A file that cannot be opened is listed with the file's time.
  virtual StorageResult<std::vector<BucketInfo>> List() = 0;
};

}  // namespace sqlite_s3::server

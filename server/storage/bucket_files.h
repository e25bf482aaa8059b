#pragma once
// BucketFiles: how buckets come and go as files of a directory, so that a crash at any moment
// leaves a bucket or none: "NAME.sqlite3" with SQLite's files beside it, ".NAME.creating" while it
// is made, ".NAME.deleting" from the moment on in which it is no bucket any more.

#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace sqlite_s3::server {

// Names must be valid bucket names. One call at a time for one name.
class BucketFiles {
 public:
  explicit BucketFiles(std::string directory) : directory_(std::move(directory)) {}

  std::string PathOf(const std::string& name) const;
  // The names of what may be buckets, in no order.
  Result<std::vector<std::string>> Names() const;
  // Ends what a server that died was about to make or delete.
  Status CleanUp() const;

  // A new empty bucket, durable after OK; after an error there is none. kFailedPrecondition when
  // SQLite's files of another database of that name are in the way: it would read them as its own.
  Status Create(const std::string& name, const std::string& owner, int64_t created_us) const;
  // Takes back what Create has just made: needs no room on the disk.
  Status Discard(const std::string& name) const;
  // The bucket is gone, durably, once this says OK; its files are, once FinishDelete does. After
  // an error it may be gone or not: see whether PathOf exists.
  Status Delete(const std::string& name) const;
  // OK also when nothing of that name was deleted. Create and CleanUp call it too.
  Status FinishDelete(const std::string& name) const;

 private:
  std::string Hidden(const std::string& name, std::string_view state) const;
  const std::string directory_;
};

}  // namespace sqlite_s3::server

#pragma once
// CrashSteps: scripts of writes to buckets, one step after the other, each of which either happened
// or did not. What is visible after each step follows from its number alone, so that a directory
// whose server died tells which step it must be at.

#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "server/storage/bucket_set.h"

namespace sqlite_s3::server {

class CrashSteps {
 public:
  // "puts", "uploads", "versions", "buckets", "s3ite-one-table", "s3ite-two-tables".
  static const std::vector<std::string>& Scripts();
  // Makes `directory`, which is empty, what the script begins with.
  static void Prepare(const std::string& script, const std::string& directory);

  // What a restart finds. Errors are those of BucketSet::Open.
  static Result<std::unique_ptr<CrashSteps>> Open(const std::string& script,
                                                  const std::string& directory,
                                                  Synchronous synchronous);
  int count() const;
  // 0 <= step < count().
  StorageStatus Run(int step);
  // Maintenance of every bucket; the first error.
  StorageStatus Maintain();
  // Everything that a client can see, one line a thing; an error as text in its place.
  std::string Dump();
  // What no client sees and should not be there: bodies and pieces without an owner, damage,
  // files of nobody's. Empty when all is well. REQUIRES: after Maintain.
  static std::string Litter(const std::string& directory);

 private:
  CrashSteps(std::string script, Synchronous synchronous);
  StorageStatus Puts(int step);
  StorageStatus Uploads(int step);
  StorageStatus Versions(int step);
  StorageStatus Buckets(int step);
  StorageStatus S3ite(int step);
  std::string DumpBucket(Bucket& bucket);

  StorageResult<std::shared_ptr<Bucket>> Get(const std::string& name) { return set_->Get(name); }
  StorageStatus Put(const std::string& bucket, const std::string& key, const std::string& body);
  StorageStatus Delete(const std::string& bucket, const std::vector<std::string>& keys);
  StorageStatus PutPart(const std::string& key, int number, const std::string& body);
  StorageStatus Complete(const std::string& key);
  // The only upload of `key`; empty: none.
  std::string UploadOf(Bucket& bucket, const std::string& key);
  // Version ids, newest first.
  std::vector<std::string> VersionsOf(Bucket& bucket, const std::string& key);

  const std::string script_;
  FakeClock clock_;
  StorageOptions options_;
  std::unique_ptr<BucketSet> set_;
};

}  // namespace sqlite_s3::server

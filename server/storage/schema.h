#pragma once
// The schema of a bucket file, and the two of s3ite's that are understood. docs/S3-SERVER.md
// explains ours to people.

#include <memory>
#include <string>

#include "server/storage/bucket_set.h"
#include "server/storage/session.h"

namespace sqlite_s3::server {

inline constexpr int64_t kApplicationId = 0x53335351;  // "S3SQ"
inline constexpr int64_t kSchemaVersion = 1;

enum class Layout : uint8_t {
  kOurs,
  kS3iteOneTable,   // before its 0.3.0: data with everything
  kS3iteTwoTables,  // data and metadata
};

// kUnimplemented for a newer version of ours; kFailedPrecondition for a database that is no bucket.
Result<Layout> DetectLayout(Connection& connection);

// Writes an empty bucket to the new file `path`, all of it on disk when this returns.
Status CreateBucketFile(const std::string& path, const std::string& owner, int64_t created_us);

// The only connection that writes. Migrates a file of s3ite's first, in one transaction.
Result<std::unique_ptr<Session>> OpenWriter(const std::string& path, const StorageOptions& options);

// A connection that can only read. Of a file of s3ite's it shows our schema as temporary views.
Result<std::unique_ptr<Session>> OpenReader(const std::string& path, Layout* layout);

// In the writer's open transaction.
Status MigrateFromS3ite(Session& session, Layout layout);

extern const char kSchemaSql[];

}  // namespace sqlite_s3::server

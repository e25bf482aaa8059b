#pragma once
// Bucket: one S3 bucket in one SQLite file, DIR/NAME.sqlite3. The schema is in docs/S3-SERVER.md.
//
// Thread-safe. Concurrent writes are gathered into one transaction by whichever thread comes first;
// each returns when that transaction is committed, with its own status: a refused one does not fail
// its neighbours. Reads take a connection from a pool and neither wait for writers nor delay them.
//
// After OK of any write, what was written survives the death of the process; with
// Synchronous::kFull also a power loss (with kNormal a power loss may undo the last commits, whole
// ones, newest first). After an error nothing of that call is visible.
//
// Errors of every call besides its own: kInvalidArgument (not UTF-8, empty key), kKeyTooLong,
// kReadOnly for writes, kDiskFull, kBusy, kCorrupt, kInternal.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/storage/body.h"
#include "server/storage/object.h"
#include "server/storage/storage_status.h"

namespace sqlite_s3::server {

struct OpenedObject {
  ObjectInfo info;
  std::unique_ptr<BodyReader> body;
};

struct ReadOptions {
  std::optional<std::string> version_id;  // absent: the current version
  bool with_parts = false;
};

// For metrics. All but the first two since the bucket was opened.
struct BucketStats {
  uint64_t file_bytes = 0;
  uint64_t wal_bytes = 0;
  uint64_t transactions = 0;
  uint64_t operations = 0;  // writes in them
  uint64_t checkpoints = 0;
  uint64_t swept_bodies = 0;
};

class Bucket {
 public:
  virtual ~Bucket() = default;

  virtual BucketInfo Info() const = 0;
  virtual bool read_only() const = 0;

  // --- objects ---

  // A body to fill and then hand to Put or PutPart. Drop it before, or it is a body of nobody's.
  virtual std::unique_ptr<BodyWriter> NewBody() = 0;
  // Publishes `body` (null: empty) as request.key. On OK the body is used up; on error it may be
  // handed in again or dropped. REQUIRES: `body` is of this bucket.
  virtual StorageResult<PutResult> Put(const PutRequest& request, BodyWriter* body) = 0;
  // Put for bytes that are in memory.
  virtual StorageResult<PutResult> PutBytes(const PutRequest& request, ByteSpan bytes) = 0;

  // Errors: kNoSuchKey, kDeleteMarker, kIsDeleteMarker, kNoSuchVersion.
  virtual StorageResult<ObjectInfo> Head(const std::string& key, const ReadOptions& options) = 0;
  // Head and a reader of exactly that version's bytes.
  virtual StorageResult<OpenedObject> Open(const std::string& key, const ReadOptions& options) = 0;

  // What is not there is deleted all the same: OK with existed == false.
  virtual StorageResult<DeleteResult> Delete(const DeleteRequest& request) = 0;
  // Each on its own, all in one transaction; results in the order of the requests.
  virtual std::vector<StorageResult<DeleteResult>> DeleteMany(
      const std::vector<DeleteRequest>& requests) = 0;

  // A copy within the bucket: shares the bytes, whatever their size, and keeps the etag. Onto
  // itself: new attributes. Errors: those of Head for the source, kPreconditionFailed. Between
  // buckets: Open, CopyBody, Put.
  virtual StorageResult<CopyResult> Copy(const CopyRequest& request) = 0;

  virtual StorageResult<ListResult> List(const ListRequest& request) = 0;
  virtual StorageResult<ListVersionsResult> ListVersions(const ListVersionsRequest& request) = 0;

  // Of one version, the current one by default; the errors of Head.
  virtual StorageResult<ObjectInfo> SetTags(const std::string& key,
                                            const std::optional<std::string>& version_id,
                                            const NameValues& tags) = 0;
  virtual StorageResult<ObjectInfo> SetAcl(const std::string& key,
                                           const std::optional<std::string>& version_id,
                                           const std::string& acl) = 0;

  // --- multipart uploads ---

  virtual StorageResult<UploadInfo> CreateUpload(const CreateUploadRequest& request) = 0;
  // kNoSuchUpload also when the key is another one. So for all below.
  virtual StorageResult<UploadInfo> GetUpload(const std::string& key,
                                              const std::string& upload_id) = 0;
  // Replaces a part of that number. part.number 1..kMaxPartNumber, else kInvalidArgument.
  virtual StorageStatus PutPart(const std::string& key, const std::string& upload_id,
                                const PartInfo& part, BodyWriter* body) = 0;
  virtual StorageResult<ListPartsResult> ListParts(const std::string& key,
                                                   const std::string& upload_id,
                                                   int part_number_marker, int max_parts) = 0;
  virtual StorageResult<ListUploadsResult> ListUploads(const ListUploadsRequest& request) = 0;
  // Makes the object out of the parts without copying them; parts not named are dropped. The etag
  // is computed. The upload stays as it was on error: kInvalidPart (none of that number, or another
  // etag or checksum), kInvalidPartOrder, kEntityTooSmall, kEntityTooLarge, kPreconditionFailed,
  // kInvalidArgument (no parts, another size).
  virtual StorageResult<PutResult> CompleteUpload(const CompleteRequest& request) = 0;
  virtual StorageStatus AbortUpload(const std::string& key, const std::string& upload_id) = 0;

  // --- the bucket's own settings ---

  virtual StorageResult<Versioning> GetVersioning() = 0;
  // kOff only while it was never enabled: kInvalidBucketState.
  virtual StorageStatus SetVersioning(Versioning versioning) = 0;
  // Documents kept as they are: "cors", "tagging", "acl", "location", ... kNoSuchDocument.
  virtual StorageResult<std::string> GetDocument(const std::string& name) = 0;
  virtual StorageStatus PutDocument(const std::string& name, const std::string& text) = 0;
  virtual StorageStatus DeleteDocument(const std::string& name) = 0;  // OK when there is none

  // --- upkeep ---

  // Everything that maintenance does when it comes round, now: checkpoint, sweep of bodies that
  // nobody refers to, a step of vacuum. For tests and before a clean stop.
  virtual StorageStatus Maintain() = 0;
  virtual BucketStats Stats() = 0;
};

}  // namespace sqlite_s3::server

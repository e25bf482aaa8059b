#pragma once
// BucketImpl: Bucket over one writer, a pool of readers, and the pins between them. Its methods are
// in bucket_impl.cc (life, settings), objects.cc, listing.cc, uploads.cc, body.cc and upkeep.cc.

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "server/storage/bucket.h"
#include "server/storage/bucket_set.h"
#include "server/storage/commit_queue.h"
#include "server/storage/pins.h"
#include "server/storage/rows.h"
#include "server/storage/schema.h"
#include "server/storage/session.h"

namespace sqlite_s3::server {

class BodyWriterImpl;

class BucketImpl final : public Bucket, public std::enable_shared_from_this<BucketImpl> {
 public:
  // `wake` is called, from any thread, when there is something for Maintain to do.
  static StorageResult<std::shared_ptr<BucketImpl>> Open(const std::string& path, std::string name,
                                                         const StorageOptions& options,
                                                         std::function<void()> wake);
  BucketImpl(std::string path, std::string name, const StorageOptions& options,
             std::function<void()> wake);
  ~BucketImpl() override;

  BucketInfo Info() const override { return info_; }
  bool read_only() const override { return options_.read_only; }

  std::unique_ptr<BodyWriter> NewBody() override;
  StorageResult<PutResult> Put(const PutRequest& request, BodyWriter* body) override;
  StorageResult<PutResult> PutBytes(const PutRequest& request, ByteSpan bytes) override;
  StorageResult<ObjectInfo> Head(const std::string& key, const ReadOptions& options) override;
  StorageResult<OpenedObject> Open(const std::string& key, const ReadOptions& options) override;
  StorageResult<DeleteResult> Delete(const DeleteRequest& request) override;
  std::vector<StorageResult<DeleteResult>> DeleteMany(
      const std::vector<DeleteRequest>& requests) override;
  StorageResult<CopyResult> Copy(const CopyRequest& request) override;
  StorageResult<ListResult> List(const ListRequest& request) override;
  StorageResult<ListVersionsResult> ListVersions(const ListVersionsRequest& request) override;
  StorageResult<ObjectInfo> SetTags(const std::string& key,
                                    const std::optional<std::string>& version_id,
                                    const NameValues& tags) override;
  StorageResult<ObjectInfo> SetAcl(const std::string& key,
                                   const std::optional<std::string>& version_id,
                                   const std::string& acl) override;
  StorageResult<UploadInfo> CreateUpload(const CreateUploadRequest& request) override;
  StorageResult<UploadInfo> GetUpload(const std::string& key,
                                      const std::string& upload_id) override;
  StorageStatus PutPart(const std::string& key, const std::string& upload_id, const PartInfo& part,
                        BodyWriter* body) override;
  StorageResult<ListPartsResult> ListParts(const std::string& key, const std::string& upload_id,
                                           int part_number_marker, int max_parts) override;
  StorageResult<ListUploadsResult> ListUploads(const ListUploadsRequest& request) override;
  StorageResult<PutResult> CompleteUpload(const CompleteRequest& request) override;
  StorageStatus AbortUpload(const std::string& key, const std::string& upload_id) override;
  StorageResult<Versioning> GetVersioning() override;
  StorageStatus SetVersioning(Versioning versioning) override;
  StorageResult<std::string> GetDocument(const std::string& name) override;
  StorageStatus PutDocument(const std::string& name, const std::string& text) override;
  StorageStatus DeleteDocument(const std::string& name) override;
  StorageStatus Maintain() override;
  BucketStats Stats() override;

  // --- for BucketSet and the bodies ---

  // Empties the bucket's name: kBucketNotEmpty, or `unlink` is called with no writer beside it and
  // every later write says kNoSuchBucket.
  StorageStatus Retire(const std::function<Status()>& unlink);
  // A write in a group commit; wakes maintenance when the WAL has grown or bodies wait for the
  // sweep.
  StorageStatus Write(size_t bytes, const CommitQueue::Operation& operation);
  Result<SessionPool::Lease> Reader() { return readers_.Get(); }
  int64_t NewContentId() { return next_content_.fetch_add(1, std::memory_order_relaxed); }
  Pins& pins() { return pins_; }
  void Wake() {
    if (wake_) {
      wake_();
    }
  }
  void SweepLater() {
    sweep_due_.store(true, std::memory_order_relaxed);
    Wake();
  }

 private:
  Status Start();
  Status OpenWriterSide();
  static Result<std::unique_ptr<Session>> OpenPooledReader(const void* self);
  StorageResult<PutResult> Publish(const PutRequest& request, BodyWriterImpl* body, ByteSpan bytes);
  StorageStatus Checkpoint();
  StorageStatus Sweep();
  StorageStatus SweepOne(bool* more);
  StorageStatus VacuumStep(bool* more);

  const std::string path_;
  const StorageOptions options_;
  const std::function<void()> wake_;
  BucketInfo info_;
  Layout layout_ = Layout::kOurs;  // kOurs unless read-only

  // The writer outlives the readers: the last connection to close writes the WAL back and removes
  // it, and one that can only read would leave it behind.
  std::unique_ptr<Session> writer_;  // none in read-only mode
  std::unique_ptr<CommitQueue> queue_;
  SessionPool readers_;
  Pins pins_;

  int64_t last_seq_ = 0;  // of the leader
  std::atomic<int64_t> next_content_{1};
  std::atomic<int> wal_pages_{0};
  std::atomic<bool> sweep_due_{true};
  std::atomic<bool> sweep_failed_{false};
  std::atomic<uint64_t> checkpoints_{0};
  std::atomic<uint64_t> swept_{0};
};

}  // namespace sqlite_s3::server

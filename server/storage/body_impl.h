#pragma once
// How bodies are written into and read from a bucket file.

#include <memory>
#include <string>
#include <vector>

#include "server/storage/bucket_impl.h"

namespace sqlite_s3::server {

class BodyWriterImpl final : public BodyWriter {
 public:
  explicit BodyWriterImpl(std::shared_ptr<BucketImpl> bucket) : bucket_(std::move(bucket)) {}
  ~BodyWriterImpl() override;
  StorageStatus Append(ByteSpan bytes) override;
  uint64_t size_bytes() const override { return stored_ + buffer_.size(); }

  const BucketImpl* bucket() const { return bucket_.get(); }
  bool usable() const { return !failed_ && !published_; }
  // Bytes that Store will write.
  size_t pending_bytes() const { return buffer_.size(); }
  // In the publishing operation: the rest, and the content's row. Returns its id, 0 for an empty
  // body. Changes nothing in the object: it may run again.
  Result<int64_t> Store(Session& session) const;
  // After that operation committed.
  void Published() { published_ = true; }
  // The content's id, taken now if need be, before Store.
  void TakeId();

 private:
  StorageStatus Flush();
  std::shared_ptr<BucketImpl> bucket_;
  Bytes buffer_;
  int64_t id_ = 0;
  uint64_t stored_ = 0;
  bool pinned_ = false;
  bool failed_ = false;
  bool published_ = false;
};

// INSERT of a small content.
Status InsertContent(Session& session, int64_t id, ByteSpan bytes);

// Opens the body of `row` with the reader `session`, which found it; nullptr when a write has
// removed it since: find the object again.
StorageResult<std::unique_ptr<BodyReader>> OpenBody(std::shared_ptr<BucketImpl> bucket,
                                                    Session& session, const ObjectRow& row,
                                                    Layout layout);

}  // namespace sqlite_s3::server

#include "server/storage/bucket_impl.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "server/storage/text.h"
#include "server/storage/versions.h"

namespace sqlite_s3::server {
namespace {

uint64_t FileBytes(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

}  // namespace

StorageResult<std::shared_ptr<BucketImpl>> BucketImpl::Open(const std::string& path,
                                                            std::string name,
                                                            const StorageOptions& options,
                                                            std::function<void()> wake) {
  auto bucket = std::make_shared<BucketImpl>(path, std::move(name), options, std::move(wake));
  Status status = bucket->Start();
  if (!status.ok()) {
    return status.WithContext("bucket '" + bucket->info_.name + "'");
  }
  return bucket;
}

BucketImpl::BucketImpl(std::string path, std::string name, const StorageOptions& options,
                       std::function<void()> wake)
    : path_(std::move(path)),
      options_(options),
      wake_(std::move(wake)),
      readers_(&BucketImpl::OpenPooledReader, this, std::max(1, options.max_readers)) {
  info_.name = std::move(name);
}

BucketImpl::~BucketImpl() {
  readers_.Close();
  queue_.reset();
  writer_.reset();
}

Result<std::unique_ptr<Session>> BucketImpl::OpenPooledReader(const void* self) {
  Layout layout;
  return OpenReader(static_cast<const BucketImpl*>(self)->path_, &layout);
}

Status BucketImpl::Start() {
  if (!options_.read_only) {
    RETURN_IF_ERROR(OpenWriterSide());
  } else {
    ASSIGN_OR_RETURN(auto reader, OpenReader(path_, &layout_));
  }
  ASSIGN_OR_RETURN(auto session, Reader());
  auto setting = [&](std::string_view name) -> Result<std::string> {
    SqlQuery query = session->Use("SELECT value FROM setting WHERE name = ?");
    ASSIGN_OR_RETURN(bool found, query.Bind(1, name).Step());
    return found ? std::string(query.Text(0)) : std::string();
  };
  ASSIGN_OR_RETURN(info_.owner, setting("owner"));
  ASSIGN_OR_RETURN(std::string created, setting("created_us"));
  std::from_chars(created.data(), created.data() + created.size(), info_.created_us);
  return Status::Ok();
}

Status BucketImpl::OpenWriterSide() {
  ASSIGN_OR_RETURN(writer_, OpenWriter(path_, options_));
  queue_ = std::make_unique<CommitQueue>(*writer_);
  Connection& connection = writer_->connection();
  ASSIGN_OR_RETURN(int64_t last,
                   connection.QueryInt("SELECT max(coalesce((SELECT max(id) FROM content), 0), "
                                       "coalesce((SELECT max(content) FROM unreferenced), 0), "
                                       "coalesce((SELECT max(content) FROM chunk), 0))"));
  next_content_ = last + 1;
  sqlite3_wal_hook(
      connection.get(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<BucketImpl*>(self)->wal_pages_.store(pages, std::memory_order_relaxed);
        return SQLITE_OK;
      },
      this);
  return Status::Ok();
}

StorageStatus BucketImpl::Write(size_t bytes, const CommitQueue::Operation& operation) {
  if (queue_ == nullptr) {
    return {Reason::kReadOnly, "bucket '" + info_.name + "' is read-only"};
  }
  StorageStatus status = queue_->Run(bytes, operation);
  if (wal_pages_.load(std::memory_order_relaxed) >= options_.checkpoint_pages) {
    Wake();
  }
  if (status.ok() && sweep_failed_.load(std::memory_order_relaxed) &&
      sweep_failed_.exchange(false, std::memory_order_relaxed)) {
    SweepLater();
  }
  return status;
}

StorageStatus BucketImpl::Retire(const std::function<Status()>& unlink) {
  if (queue_ == nullptr) {
    return {Reason::kReadOnly, "bucket '" + info_.name + "' is read-only"};
  }
  return queue_->RunAlone([&](Session& session) -> StorageStatus {
    for (const char* sql : {"SELECT 1 FROM object LIMIT 1", "SELECT 1 FROM old_version LIMIT 1",
                            "SELECT 1 FROM upload LIMIT 1"}) {
      ASSIGN_OR_RETURN(bool any, session.Use(sql).Step());
      if (any) {
        return {Reason::kBucketNotEmpty, "bucket '" + info_.name + "' is not empty"};
      }
    }
    // From here on the path may name another bucket's file: no connection is opened by it any more.
    RETURN_IF_STORAGE_ERROR(readers_.Freeze());
    RETURN_IF_STORAGE_ERROR(unlink());
    queue_->Stop({Reason::kNoSuchBucket, "bucket '" + info_.name + "' was deleted"});
    return {};
  });
}

StorageResult<Versioning> BucketImpl::GetVersioning() {
  ASSIGN_OR_RETURN(auto session, Reader());
  return ReadVersioning(*session);
}

StorageStatus BucketImpl::SetVersioning(Versioning versioning) {
  return Write(128, [&](Session& session) -> StorageStatus {
    ASSIGN_OR_RETURN(Versioning current, ReadVersioning(session));
    if (versioning == Versioning::kOff) {
      if (current == Versioning::kOff) {
        return {};
      }
      return {Reason::kInvalidBucketState, "versioning can be suspended, not turned off"};
    }
    return session.Use("REPLACE INTO setting VALUES ('versioning', ?)")
        .Bind(1, std::string_view(versioning == Versioning::kEnabled ? "Enabled" : "Suspended"))
        .Run();
  });
}

StorageResult<std::string> BucketImpl::GetDocument(const std::string& name) {
  ASSIGN_OR_RETURN(auto session, Reader());
  SqlQuery query = session->Use("SELECT value FROM document WHERE name = ?");
  ASSIGN_OR_RETURN(bool found, query.Bind(1, name).Step());
  if (!found) {
    return StorageStatus(Reason::kNoSuchDocument, "the bucket has no document '" + name + "'");
  }
  return std::string(query.Text(0));
}

StorageStatus BucketImpl::PutDocument(const std::string& name, const std::string& text) {
  if (!IsUtf8(name) || !IsUtf8(text)) {
    return {Reason::kInvalidArgument, "the document is not UTF-8"};
  }
  return Write(text.size() + 128, [&](Session& session) -> StorageStatus {
    return session.Use("REPLACE INTO document VALUES (?, ?)").Bind(1, name).Bind(2, text).Run();
  });
}

StorageStatus BucketImpl::DeleteDocument(const std::string& name) {
  return Write(128, [&](Session& session) -> StorageStatus {
    return session.Use("DELETE FROM document WHERE name = ?").Bind(1, name).Run();
  });
}

BucketStats BucketImpl::Stats() {
  BucketStats stats;
  stats.file_bytes = FileBytes(path_);
  stats.wal_bytes = FileBytes(path_ + "-wal");
  if (queue_ != nullptr) {
    stats.transactions = queue_->transactions();
    stats.operations = queue_->operations();
  }
  stats.checkpoints = checkpoints_.load();
  stats.swept_bodies = swept_.load();
  return stats;
}

}  // namespace sqlite_s3::server

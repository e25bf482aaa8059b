// Put, Get, Delete, Copy, tags and ACLs.

#include <utility>

#include "server/storage/body_impl.h"
#include "server/storage/bucket_impl.h"
#include "server/storage/text.h"
#include "server/storage/versions.h"

namespace sqlite_s3::server {
namespace {

// Rows and indexes of a small write, beside its body.
constexpr size_t kRowBytes = 1024;

PutResult ResultOf(const ObjectRow& row, bool versioned) {
  return {row.info.version_id, versioned, row.info.etag, row.info.modified_us, row.info.checksum};
}

// One column of a version: with the first statement when it is the latest, else with the second.
StorageStatus SetText(Session& session, const ObjectRow& row, const std::string& text,
                      const char* of_latest, const char* of_old) {
  SqlQuery update = session.Use(row.info.is_latest ? of_latest : of_old);
  update.BindOrNull(1, text).Bind(2, row.info.key);
  if (!row.info.is_latest) {
    update.Bind(3, row.seq);
  }
  return update.Run();
}

StorageStatus CheckCopySource(const CopySource& source, const ObjectInfo& info) {
  int64_t modified = info.modified_us / 1'000'000;
  auto matches = [&](const std::string& etag) { return etag == "*" || etag == info.etag; };
  // An etag that matches outweighs the date beside it (RFC 9110, section 13.2.2).
  bool failed = false;
  if (source.if_match) {
    failed = !matches(*source.if_match);
  } else if (source.if_unmodified_since_seconds) {
    failed = modified > *source.if_unmodified_since_seconds;
  }
  if (source.if_none_match) {
    failed = failed || matches(*source.if_none_match);
  } else if (source.if_modified_since_seconds) {
    failed = failed || modified <= *source.if_modified_since_seconds;
  }
  if (failed) {
    return {Reason::kPreconditionFailed, "the source '" + info.key + "' does not meet a condition"};
  }
  return {};
}

// FindVersion in one view of both tables: a version may move between them meanwhile.
StorageResult<ObjectRow> Find(Session& session, const std::string& key,
                              const std::optional<std::string>& version_id) {
  ReadTransaction transaction(session);
  if (version_id) {
    RETURN_IF_STORAGE_ERROR(transaction.Begin());
  }
  return FindVersion(session, key, version_id);
}

Result<std::vector<PartInfo>> ReadParts(Session& session, int64_t content) {
  std::vector<PartInfo> parts;
  SqlQuery query = session.Use(
      "SELECT number, size, etag, checksum_algorithm, checksum, checksum_type FROM content_part "
      "WHERE content = ? ORDER BY number LIMIT 10000");
  query.Bind(1, content);
  while (true) {
    ASSIGN_OR_RETURN(bool row, query.Step());
    if (!row) {
      return parts;
    }
    PartInfo& part = parts.emplace_back();
    part.number = static_cast<int>(query.Int(0));
    part.size_bytes = static_cast<uint64_t>(query.Int(1));
    part.etag = query.Text(2);
    part.checksum = {std::string(query.Text(3)), std::string(query.Text(4)),
                     std::string(query.Text(5))};
  }
}

}  // namespace

std::unique_ptr<BodyWriter> BucketImpl::NewBody() {
  return std::make_unique<BodyWriterImpl>(shared_from_this());
}

StorageResult<PutResult> BucketImpl::Put(const PutRequest& request, BodyWriter* body) {
  return Publish(request, static_cast<BodyWriterImpl*>(body), {});
}

StorageResult<PutResult> BucketImpl::PutBytes(const PutRequest& request, ByteSpan bytes) {
  if (bytes.size() <= kInlineBytes) {
    return Publish(request, nullptr, bytes);
  }
  BodyWriterImpl body(shared_from_this());
  RETURN_IF_STORAGE_ERROR(body.Append(bytes));
  return Publish(request, &body, {});
}

StorageResult<PutResult> BucketImpl::Publish(const PutRequest& request, BodyWriterImpl* body,
                                             ByteSpan bytes) {
  RETURN_IF_STORAGE_ERROR(CheckKey(request.key));
  RETURN_IF_STORAGE_ERROR(CheckAttributes(request.attributes));
  if (body != nullptr && (body->bucket() != this || !body->usable())) {
    return StorageStatus(Reason::kInternal, "this body cannot be published");
  }
  if (body != nullptr) {
    body->TakeId();
  }
  int64_t id = body == nullptr && !bytes.empty() ? NewContentId() : 0;
  ObjectRow row;
  row.info.key = request.key;
  row.info.attributes = request.attributes;
  row.info.etag = request.etag;
  row.info.checksum = request.checksum;
  row.info.size_bytes = body != nullptr ? body->size_bytes() : bytes.size();
  bool versioned = false;
  bool sweep = false;
  size_t size = kRowBytes + (body != nullptr ? body->pending_bytes() : bytes.size());
  StorageStatus status = Write(size, [&](Session& session) -> StorageStatus {
    ASSIGN_OR_RETURN(auto current, FindCurrent(session, request.key));
    RETURN_IF_STORAGE_ERROR(CheckConditions(request.conditions, current, request.key));
    if (body != nullptr) {
      ASSIGN_OR_RETURN(row.content, body->Store(session));
    } else if (id != 0) {
      row.content = id;
      RETURN_IF_STORAGE_ERROR(InsertContent(session, id, bytes));
    }
    Versions versions(session, options_.clock->WallMicros(), last_seq_);
    ASSIGN_OR_RETURN(versioned, versions.Install(row, current));
    sweep = versions.sweep_due();
    return {};
  });
  RETURN_IF_STORAGE_ERROR(status);
  if (body != nullptr) {
    body->Published();
  }
  if (sweep) {
    SweepLater();
  }
  return ResultOf(row, versioned);
}

StorageResult<ObjectInfo> BucketImpl::Head(const std::string& key, const ReadOptions& options) {
  ASSIGN_OR_RETURN(auto session, Reader());
  ReadTransaction transaction(*session);
  if (options.with_parts || options.version_id) {
    RETURN_IF_STORAGE_ERROR(transaction.Begin());
  }
  ASSIGN_OR_RETURN(ObjectRow row, FindVersion(*session, key, options.version_id));
  if (options.with_parts && row.info.part_count > 0) {
    ASSIGN_OR_RETURN(row.info.parts, ReadParts(*session, row.content));
  }
  return std::move(row.info);
}

StorageResult<OpenedObject> BucketImpl::Open(const std::string& key, const ReadOptions& options) {
  ASSIGN_OR_RETURN(auto session, Reader());
  // Each round that finds the body gone found a version that a later write has replaced: somebody
  // makes progress each time.
  while (true) {
    ASSIGN_OR_RETURN(ObjectRow row, Find(*session, key, options.version_id));
    ASSIGN_OR_RETURN(auto body, OpenBody(shared_from_this(), *session, row, layout_));
    if (body == nullptr) {
      ASSIGN_OR_RETURN(ObjectRow again, Find(*session, key, options.version_id));
      if (again.seq == row.seq && layout_ == Layout::kOurs && again.content == row.content) {
        return StorageStatus(Reason::kCorrupt, "'" + key + "' has no body");
      }
      continue;
    }
    if (options.with_parts && row.info.part_count > 0) {
      ASSIGN_OR_RETURN(row.info.parts, ReadParts(*session, row.content));
    }
    return OpenedObject{std::move(row.info), std::move(body)};
  }
}

StorageResult<DeleteResult> BucketImpl::Delete(const DeleteRequest& request) {
  return std::move(DeleteMany({request}).front());
}

std::vector<StorageResult<DeleteResult>> BucketImpl::DeleteMany(
    const std::vector<DeleteRequest>& requests) {
  std::vector<StorageResult<DeleteResult>> results;
  bool sweep = false;
  StorageStatus status = Write(kRowBytes * requests.size(), [&](Session& session) -> StorageStatus {
    results.clear();
    sweep = false;
    Versions versions(session, options_.clock->WallMicros(), last_seq_);
    for (const DeleteRequest& request : requests) {
      StorageStatus bad_key = CheckKey(request.key);
      StorageResult<DeleteResult> result =
          bad_key.ok() ? versions.Delete(request) : StorageResult<DeleteResult>(bad_key);
      switch (result.reason()) {
        case Reason::kDiskFull:
        case Reason::kBusy:
        case Reason::kCorrupt:
        case Reason::kInternal:
          return result.status();
        default:
          results.push_back(std::move(result));
      }
    }
    sweep = versions.sweep_due();
    return {};
  });
  if (!status.ok()) {
    return std::vector<StorageResult<DeleteResult>>(requests.size(), status);
  }
  if (sweep) {
    SweepLater();
  }
  return results;
}

StorageResult<CopyResult> BucketImpl::Copy(const CopyRequest& request) {
  RETURN_IF_STORAGE_ERROR(CheckKey(request.key));
  if (request.attributes) {
    RETURN_IF_STORAGE_ERROR(CheckAttributes(*request.attributes));
  }
  CopyResult result;
  bool sweep = false;
  StorageStatus status = Write(kRowBytes, [&](Session& session) -> StorageStatus {
    ASSIGN_OR_RETURN(ObjectRow row,
                     FindVersion(session, request.source.key, request.source.version_id));
    RETURN_IF_STORAGE_ERROR(CheckCopySource(request.source, row.info));
    ASSIGN_OR_RETURN(auto current, FindCurrent(session, request.key));
    RETURN_IF_STORAGE_ERROR(CheckConditions(request.conditions, current, request.key));
    result.source_version_id = row.info.version_id;
    NameValues tags = request.tags ? *request.tags : row.info.attributes.tags;
    if (request.attributes) {
      row.info.attributes = *request.attributes;
    } else if (request.storage_class) {
      row.info.attributes.storage_class = *request.storage_class;
    }
    row.info.attributes.tags = std::move(tags);
    row.info.attributes.owner = request.owner;
    row.info.attributes.acl = request.acl;
    row.info.key = request.key;
    if (row.content != 0) {
      RETURN_IF_STORAGE_ERROR(session
                                  .Use("INSERT INTO content_share VALUES (?, 1) ON CONFLICT "
                                       "(content) DO UPDATE SET extra = extra + 1")
                                  .Bind(1, row.content)
                                  .Run());
    }
    Versions versions(session, options_.clock->WallMicros(), last_seq_);
    ASSIGN_OR_RETURN(bool versioned, versions.Install(row, current));
    result.put = ResultOf(row, versioned);
    result.source_versioned = versioned;
    sweep = versions.sweep_due();
    return {};
  });
  RETURN_IF_STORAGE_ERROR(status);
  if (sweep) {
    SweepLater();
  }
  return result;
}

StorageResult<ObjectInfo> BucketImpl::SetTags(const std::string& key,
                                              const std::optional<std::string>& version_id,
                                              const NameValues& tags) {
  ObjectAttributes checked;
  checked.tags = tags;
  RETURN_IF_STORAGE_ERROR(CheckAttributes(checked));
  ObjectRow row;
  std::string json = NameValuesToJson(tags);
  StorageStatus status = Write(kRowBytes + json.size(), [&](Session& session) -> StorageStatus {
    ASSIGN_OR_RETURN(row, FindVersion(session, key, version_id));
    row.info.attributes.tags = tags;
    return SetText(session, row, json, "UPDATE object SET tags = ?1 WHERE key = ?2",
                   "UPDATE old_version SET tags = ?1 WHERE key = ?2 AND seq = ?3");
  });
  RETURN_IF_STORAGE_ERROR(status);
  return std::move(row.info);
}

StorageResult<ObjectInfo> BucketImpl::SetAcl(const std::string& key,
                                             const std::optional<std::string>& version_id,
                                             const std::string& acl) {
  ObjectAttributes checked;
  checked.acl = acl;
  RETURN_IF_STORAGE_ERROR(CheckAttributes(checked));
  ObjectRow row;
  StorageStatus status = Write(kRowBytes + acl.size(), [&](Session& session) -> StorageStatus {
    ASSIGN_OR_RETURN(row, FindVersion(session, key, version_id));
    row.info.attributes.acl = acl;
    return SetText(session, row, acl, "UPDATE object SET acl = ?1 WHERE key = ?2",
                   "UPDATE old_version SET acl = ?1 WHERE key = ?2 AND seq = ?3");
  });
  RETURN_IF_STORAGE_ERROR(status);
  return std::move(row.info);
}

}  // namespace sqlite_s3::server

// Multipart uploads.

#include <array>
#include <map>

#include "common/base/hash.h"
#include "server/storage/body_impl.h"
#include "server/storage/bucket_impl.h"
#include "server/storage/md5.h"
#include "server/storage/text.h"
#include "server/storage/versions.h"

namespace sqlite_s3::server {
namespace {

struct StoredPart {
  PartInfo info;
  int64_t content = 0;
};

Result<std::optional<UploadInfo>> FindUpload(Session& session, const std::string& key,
                                             const std::string& upload_id) {
  SqlQuery query =
      session.Use("SELECT initiated_us, want_algorithm, want_type, " SQLITE_S3_ATTRIBUTE_COLUMNS
                  " FROM upload WHERE key = ? AND upload_id = ?");
  ASSIGN_OR_RETURN(bool found, query.Bind(1, key).Bind(2, upload_id).Step());
  if (!found) {
    return std::optional<UploadInfo>();
  }
  UploadInfo info;
  info.key = key;
  info.upload_id = upload_id;
  info.initiated_us = query.Int(0);
  info.checksum_algorithm = query.Text(1);
  info.checksum_type = query.Text(2);
  info.attributes = ReadAttributes(query, 3);
  return std::optional(std::move(info));
}

StorageResult<UploadInfo> RequireUpload(Session& session, const std::string& key,
                                        const std::string& upload_id) {
  ASSIGN_OR_RETURN(auto upload, FindUpload(session, key, upload_id));
  if (!upload) {
    return StorageStatus(Reason::kNoSuchUpload, "no upload '" + upload_id + "' of '" + key + "'");
  }
  return *std::move(upload);
}

// Parts with numbers above `after`, at most `limit`.
Result<std::vector<StoredPart>> ReadUploadParts(Session& session, const std::string& upload_id,
                                                int after, int limit) {
  std::vector<StoredPart> parts;
  SqlQuery query = session.Use(
      "SELECT number, size, etag, checksum_algorithm, checksum, checksum_type, modified_us, "
      "content "
      "FROM upload_part WHERE upload_id = ? AND number > ? ORDER BY number LIMIT ?");
  query.Bind(1, upload_id).Bind(2, int64_t{after}).Bind(3, int64_t{limit});
  while (true) {
    ASSIGN_OR_RETURN(bool row, query.Step());
    if (!row) {
      return parts;
    }
    StoredPart& part = parts.emplace_back();
    part.info.number = static_cast<int>(query.Int(0));
    part.info.size_bytes = static_cast<uint64_t>(query.Int(1));
    part.info.etag = query.Text(2);
    part.info.checksum = {std::string(query.Text(3)), std::string(query.Text(4)),
                          std::string(query.Text(5))};
    part.info.modified_us = query.Int(6);
    part.content = query.Int(7);
  }
}

Status DropUpload(Session& session, const std::string& key, const std::string& upload_id) {
  RETURN_IF_ERROR(
      session.Use("DELETE FROM upload_part WHERE upload_id = ?").Bind(1, upload_id).Run());
  return session.Use("DELETE FROM upload WHERE key = ? AND upload_id = ?")
      .Bind(1, key)
      .Bind(2, upload_id)
      .Run();
}

struct Assembly {
  std::vector<const StoredPart*> parts;
  uint64_t size = 0;
  std::string etag;
};

// Which of the stored parts make the object; the rules of CompleteMultipartUpload. Pure.
StorageResult<Assembly> Assemble(const CompleteRequest& request,
                                 const std::vector<StoredPart>& stored) {
  if (request.parts.empty()) {
    return StorageStatus(Reason::kInvalidArgument, "an upload is not complete without parts");
  }
  std::map<int, const StoredPart*> by_number;
  for (const StoredPart& part : stored) {
    by_number[part.info.number] = &part;
  }
  Assembly assembly;
  Md5 md5;
  int last = 0;
  for (const CompletedPart& wanted : request.parts) {
    if (wanted.number <= last) {
      return StorageStatus(
          Reason::kInvalidPartOrder,
          "part " + std::to_string(wanted.number) + " is named after part " + std::to_string(last));
    }
    last = wanted.number;
  }
  for (const CompletedPart& wanted : request.parts) {
    std::string name = "part " + std::to_string(wanted.number);
    auto found = by_number.find(wanted.number);
    if (found == by_number.end() || found->second->info.etag != wanted.etag) {
      return StorageStatus(Reason::kInvalidPart, name + " was not uploaded with that etag");
    }
    const PartInfo& info = found->second->info;
    if (!wanted.checksum.value.empty() && (wanted.checksum.value != info.checksum.value ||
                                           wanted.checksum.algorithm != info.checksum.algorithm)) {
      return StorageStatus(Reason::kInvalidPart, name + " was uploaded with another checksum");
    }
    if (wanted.number != last && info.size_bytes < kMinPartBytes) {
      return StorageStatus(Reason::kEntityTooSmall,
                           name + " has " + std::to_string(info.size_bytes) +
                               " bytes; all but the last need " + std::to_string(kMinPartBytes));
    }
    assembly.size += info.size_bytes;
    assembly.parts.push_back(found->second);
    auto digest = HexDecode(info.etag);
    md5.Update(digest ? ByteSpan(*digest) : AsBytes(info.etag));
  }
  if (assembly.size > kMaxObjectBytes) {
    return StorageStatus(Reason::kEntityTooLarge, "the parts are more than an object can have");
  }
  if (request.size_bytes && *request.size_bytes != assembly.size) {
    return StorageStatus(Reason::kInvalidArgument,
                         "the parts have " + std::to_string(assembly.size) + " bytes");
  }
  assembly.etag = HexEncode(md5.Finish()) + "-" + std::to_string(assembly.parts.size());
  return assembly;
}

}  // namespace

StorageResult<UploadInfo> BucketImpl::CreateUpload(const CreateUploadRequest& request) {
  RETURN_IF_STORAGE_ERROR(CheckKey(request.key));
  RETURN_IF_STORAGE_ERROR(CheckAttributes(request.attributes));
  UploadInfo info{request.key,
                  {},
                  options_.clock->WallMicros(),
                  request.attributes,
                  request.checksum_algorithm,
                  request.checksum_type};
  // Begins with the time: uploads of a key are listed oldest first.
  ASSIGN_OR_RETURN(info.upload_id, NewVersionId(info.initiated_us));
  StorageStatus status = Write(1024, [&](Session& session) -> StorageStatus {
    BoundAttributes bound;
    SqlQuery query = session.Use(
        "INSERT INTO upload (key, upload_id, initiated_us, want_algorithm, "
        "want_type, " SQLITE_S3_ATTRIBUTE_COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
    query.Bind(1, info.key)
        .Bind(2, info.upload_id)
        .Bind(3, info.initiated_us)
        .BindOrNull(4, info.checksum_algorithm)
        .BindOrNull(5, info.checksum_type);
    BindAttributes(query, 6, info.attributes, bound);
    return query.Run();
  });
  RETURN_IF_STORAGE_ERROR(status);
  return info;
}

StorageResult<UploadInfo> BucketImpl::GetUpload(const std::string& key,
                                                const std::string& upload_id) {
  ASSIGN_OR_RETURN(auto session, Reader());
  return RequireUpload(*session, key, upload_id);
}

StorageStatus BucketImpl::PutPart(const std::string& key, const std::string& upload_id,
                                  const PartInfo& part, BodyWriter* body) {
  if (part.number < 1 || part.number > kMaxPartNumber) {
    return {Reason::kInvalidArgument, "part numbers are 1 to " + std::to_string(kMaxPartNumber)};
  }
  auto* writer = static_cast<BodyWriterImpl*>(body);
  if (writer != nullptr && (writer->bucket() != this || !writer->usable())) {
    return {Reason::kInternal, "this body cannot be published"};
  }
  if (writer != nullptr) {
    writer->TakeId();
  }
  bool sweep = false;
  size_t bytes = 1024 + (writer != nullptr ? writer->pending_bytes() : 0);
  StorageStatus status = Write(bytes, [&](Session& session) -> StorageStatus {
    RETURN_IF_STORAGE_ERROR(RequireUpload(session, key, upload_id).status());
    int64_t content = 0;
    if (writer != nullptr) {
      ASSIGN_OR_RETURN(content, writer->Store(session));
    }
    ASSIGN_OR_RETURN(auto old, ReadUploadParts(session, upload_id, part.number - 1, 1));
    Versions versions(session, 0, last_seq_);
    if (!old.empty() && old[0].info.number == part.number) {
      RETURN_IF_STORAGE_ERROR(versions.Release(old[0].content));
    }
    sweep = versions.sweep_due();
    return session
        .Use(
            "REPLACE INTO upload_part (upload_id, number, content, size, etag, "
            "checksum_algorithm, checksum, checksum_type, modified_us) "
            "VALUES (?, ?, nullif(?, 0), ?, ?, ?, ?, ?, ?)")
        .Bind(1, upload_id)
        .Bind(2, int64_t{part.number})
        .Bind(3, content)
        .Bind(4, static_cast<int64_t>(writer != nullptr ? writer->size_bytes() : 0))
        .Bind(5, part.etag)
        .BindOrNull(6, part.checksum.algorithm)
        .BindOrNull(7, part.checksum.value)
        .BindOrNull(8, part.checksum.type)
        .Bind(9, options_.clock->WallMicros())
        .Run();
  });
  RETURN_IF_STORAGE_ERROR(status);
  if (writer != nullptr) {
    writer->Published();
  }
  if (sweep) {
    SweepLater();
  }
  return {};
}

StorageResult<ListPartsResult> BucketImpl::ListParts(const std::string& key,
                                                     const std::string& upload_id,
                                                     int part_number_marker, int max_parts) {
  ASSIGN_OR_RETURN(auto session, Reader());
  ReadTransaction transaction(*session);
  RETURN_IF_STORAGE_ERROR(transaction.Begin());
  ListPartsResult result;
  ASSIGN_OR_RETURN(result.upload, RequireUpload(*session, key, upload_id));
  int limit = std::clamp(max_parts, 0, kMaxPartNumber);
  if (limit == 0) {
    return result;
  }
  ASSIGN_OR_RETURN(
      auto parts, ReadUploadParts(*session, upload_id, std::max(part_number_marker, 0), limit + 1));
  result.is_truncated = parts.size() > static_cast<size_t>(limit);
  if (result.is_truncated) {
    parts.pop_back();
    result.next_part_number_marker = parts.back().info.number;
  }
  for (StoredPart& part : parts) {
    result.parts.push_back(std::move(part.info));
  }
  return result;
}

StorageResult<PutResult> BucketImpl::CompleteUpload(const CompleteRequest& request) {
  // Nothing is copied: the object refers to the parts' bodies. What costs here is a row per part.
  int64_t id = NewContentId();
  PutResult result;
  bool sweep = false;
  StorageStatus status =
      Write(256 * request.parts.size() + 1024, [&](Session& session) -> StorageStatus {
        ASSIGN_OR_RETURN(UploadInfo upload, RequireUpload(session, request.key, request.upload_id));
        ASSIGN_OR_RETURN(auto stored,
                         ReadUploadParts(session, request.upload_id, 0, kMaxPartNumber));
        ASSIGN_OR_RETURN(Assembly assembly, Assemble(request, stored));
        ASSIGN_OR_RETURN(auto current, FindCurrent(session, request.key));
        RETURN_IF_STORAGE_ERROR(CheckConditions(request.conditions, current, request.key));

        RETURN_IF_STORAGE_ERROR(session.Use("INSERT INTO content VALUES (?, ?, ?, NULL)")
                                    .Bind(1, id)
                                    .Bind(2, static_cast<int64_t>(assembly.size))
                                    .Bind(3, static_cast<int64_t>(assembly.parts.size()))
                                    .Run());
        Versions versions(session, options_.clock->WallMicros(), last_seq_);
        size_t used = 0;
        for (const StoredPart& part : stored) {
          if (used == assembly.parts.size() || assembly.parts[used] != &part) {
            RETURN_IF_STORAGE_ERROR(versions.Release(part.content));
            continue;
          }
          ++used;
          RETURN_IF_STORAGE_ERROR(
              session.Use("INSERT INTO content_part VALUES (?, ?, nullif(?, 0), ?, ?, ?, ?, ?)")
                  .Bind(1, id)
                  .Bind(2, int64_t{part.info.number})
                  .Bind(3, part.content)
                  .Bind(4, static_cast<int64_t>(part.info.size_bytes))
                  .Bind(5, part.info.etag)
                  .BindOrNull(6, part.info.checksum.algorithm)
                  .BindOrNull(7, part.info.checksum.value)
                  .BindOrNull(8, part.info.checksum.type)
                  .Run());
        }
        ObjectRow row;
        row.content = id;
        row.info.key = request.key;
        row.info.size_bytes = assembly.size;
        row.info.etag = assembly.etag;
        row.info.part_count = static_cast<int>(assembly.parts.size());
        row.info.attributes = upload.attributes;
        row.info.checksum = request.checksum;
        ASSIGN_OR_RETURN(bool versioned, versions.Install(row, current));
        RETURN_IF_STORAGE_ERROR(DropUpload(session, request.key, request.upload_id));
        sweep = versions.sweep_due();
        result = {row.info.version_id, versioned, row.info.etag, row.info.modified_us,
                  row.info.checksum};
        return {};
      });
  RETURN_IF_STORAGE_ERROR(status);
  if (sweep) {
    SweepLater();
  }
  return result;
}

StorageStatus BucketImpl::AbortUpload(const std::string& key, const std::string& upload_id) {
  bool sweep = false;
  StorageStatus status = Write(1024, [&](Session& session) -> StorageStatus {
    RETURN_IF_STORAGE_ERROR(RequireUpload(session, key, upload_id).status());
    ASSIGN_OR_RETURN(auto parts, ReadUploadParts(session, upload_id, 0, kMaxPartNumber));
    Versions versions(session, 0, last_seq_);
    for (const StoredPart& part : parts) {
      RETURN_IF_STORAGE_ERROR(versions.Release(part.content));
    }
    sweep = versions.sweep_due();
    return DropUpload(session, key, upload_id);
  });
  RETURN_IF_STORAGE_ERROR(status);
  if (sweep) {
    SweepLater();
  }
  return {};
}

}  // namespace sqlite_s3::server

#include "server/storage/versions.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "common/base/hash.h"

namespace sqlite_s3::server {

Result<std::string> NewVersionId(int64_t seq) {
  std::array<uint8_t, 16> id{};
  for (size_t i = 0; i < 8; ++i) {
    id[i] = static_cast<uint8_t>(static_cast<uint64_t>(seq) >> (56 - 8 * i));
  }
  RETURN_IF_ERROR(FillRandom(std::span(id).subspan(8)));
  return HexEncode(id);
}

int64_t SeqOfVersionId(std::string_view version_id) {
  int64_t seq = 0;
  if (version_id.size() != 32) {
    return 0;
  }
  const char* end = version_id.data() + 16;
  auto [at, error] = std::from_chars(version_id.data(), end, seq, 16);
  return error == std::errc() && at == end ? seq : 0;
}

Result<std::optional<ObjectRow>> FindCurrent(Session& session, const std::string& key) {
  SqlQuery query = session.Use("SELECT " SQLITE_S3_OBJECT_COLUMNS " FROM object WHERE key = ?");
  ASSIGN_OR_RETURN(bool found, query.Bind(1, key).Step());
  if (!found) {
    return std::optional<ObjectRow>();
  }
  return std::optional(ReadObject(query, 0, true));
}

Result<std::optional<ObjectRow>> FindOld(Session& session, const std::string& key,
                                         const std::string& version_id) {
  bool null = version_id == kNullVersion;
  SqlQuery query =
      null ? session.Use("SELECT " SQLITE_S3_OBJECT_COLUMNS
                         " FROM old_version WHERE key = ?1 AND version_id = 'null'")
           : session.Use("SELECT " SQLITE_S3_OBJECT_COLUMNS
                         " FROM old_version WHERE key = ?1 AND seq = ?2 AND version_id = ?3");
  query.Bind(1, key);
  if (!null) {
    query.Bind(2, SeqOfVersionId(version_id)).Bind(3, version_id);
  }
  ASSIGN_OR_RETURN(bool found, query.Step());
  if (!found) {
    return std::optional<ObjectRow>();
  }
  ObjectRow row = ReadObject(query, 0, true);
  row.info.is_latest = false;
  return std::optional(std::move(row));
}

StorageResult<ObjectRow> FindVersion(Session& session, const std::string& key,
                                     const std::optional<std::string>& version_id) {
  ASSIGN_OR_RETURN(std::optional<ObjectRow> row, FindCurrent(session, key));
  if (!version_id) {
    if (!row) {
      return StorageStatus(Reason::kNoSuchKey, "no object '" + key + "'");
    }
    if (row->info.is_delete_marker) {
      return StorageStatus(Reason::kDeleteMarker, "'" + key + "' is deleted")
          .WithMarker(row->info.version_id, row->info.modified_us);
    }
    return *std::move(row);
  }
  if (!row || row->info.version_id != *version_id) {
    ASSIGN_OR_RETURN(row, FindOld(session, key, *version_id));
  }
  if (!row) {
    return StorageStatus(Reason::kNoSuchVersion,
                         "no version '" + *version_id + "' of '" + key + "'");
  }
  if (row->info.is_delete_marker) {
    return StorageStatus(Reason::kIsDeleteMarker,
                         "version '" + *version_id + "' of '" + key + "' is a delete marker")
        .WithMarker(row->info.version_id, row->info.modified_us);
  }
  return *std::move(row);
}

Result<Versioning> ReadVersioning(Session& session) {
  SqlQuery query = session.Use("SELECT value FROM setting WHERE name = 'versioning'");
  ASSIGN_OR_RETURN(bool found, query.Step());
  if (!found) {
    return Versioning::kOff;
  }
  return query.Text(0) == "Enabled" ? Versioning::kEnabled : Versioning::kSuspended;
}

StorageStatus CheckConditions(const WriteConditions& conditions,
                              const std::optional<ObjectRow>& current, const std::string& key) {
  bool exists = current && !current->info.is_delete_marker;
  if (conditions.if_match) {
    if (!exists) {
      return {Reason::kNoSuchKey, "If-Match on '" + key + "', which does not exist"};
    }
    if (*conditions.if_match != "*" && *conditions.if_match != current->info.etag) {
      return {Reason::kPreconditionFailed, "If-Match: '" + key + "' has another etag"};
    }
  }
  if (conditions.if_none_match && exists &&
      (*conditions.if_none_match == "*" || *conditions.if_none_match == current->info.etag)) {
    return {Reason::kPreconditionFailed, "If-None-Match: '" + key + "' exists"};
  }
  return {};
}

Status Versions::MoveToOld(const std::string& key) {
  return session_
      .Use("INSERT INTO old_version (" SQLITE_S3_OBJECT_COLUMNS ") SELECT " SQLITE_S3_OBJECT_COLUMNS
           " FROM object WHERE key = ?")
      .Bind(1, key)
      .Run();
}

Result<bool> Versions::Install(ObjectRow& row, const std::optional<ObjectRow>& current) {
  ASSIGN_OR_RETURN(Versioning versioning, ReadVersioning(session_));
  row.info.modified_us = now_us_;
  // Newer than all before it, also when the clock went back.
  row.seq = std::max({now_us_, last_seq_ + 1, current ? current->seq + 1 : 0});
  last_seq_ = row.seq;
  row.info.version_id = kNullVersion;
  if (versioning == Versioning::kEnabled) {
    ASSIGN_OR_RETURN(row.info.version_id, NewVersionId(row.seq));
  }
  if (current) {
    // There is one null version of a key at most: the new one takes its place, wherever it is.
    if (row.info.version_id == current->info.version_id) {
      RETURN_IF_ERROR(Release(current->content));
    } else {
      if (versioning == Versioning::kSuspended) {
        ASSIGN_OR_RETURN(auto null, FindOld(session_, row.info.key, kNullVersion));
        if (null) {
          RETURN_IF_ERROR(Remove(*null, false));
        }
      }
      RETURN_IF_ERROR(MoveToOld(row.info.key));
    }
  }
  BoundAttributes bound;
  SqlQuery insert = session_.Use("REPLACE INTO object (" SQLITE_S3_OBJECT_COLUMNS
                                 ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  BindObject(insert, row, bound);
  RETURN_IF_ERROR(insert.Run());
  return versioning != Versioning::kOff;
}

Status Versions::Remove(const ObjectRow& row, bool is_current) {
  const std::string& key = row.info.key;
  RETURN_IF_ERROR(Release(row.content));
  if (!is_current) {
    return session_.Use("DELETE FROM old_version WHERE key = ? AND seq = ?")
        .Bind(1, key)
        .Bind(2, row.seq)
        .Run();
  }
  RETURN_IF_ERROR(session_.Use("DELETE FROM object WHERE key = ?").Bind(1, key).Run());
  RETURN_IF_ERROR(session_
                      .Use("INSERT INTO object (" SQLITE_S3_OBJECT_COLUMNS
                           ") SELECT " SQLITE_S3_OBJECT_COLUMNS
                           " FROM old_version WHERE key = ? ORDER BY seq DESC LIMIT 1")
                      .Bind(1, key)
                      .Run());
  return session_
      .Use(
          "DELETE FROM old_version WHERE key = ?1 AND seq = (SELECT seq FROM object WHERE key = "
          "?1)")
      .Bind(1, key)
      .Run();
}

StorageResult<DeleteResult> Versions::Delete(const DeleteRequest& request) {
  DeleteResult result;
  ASSIGN_OR_RETURN(std::optional<ObjectRow> current, FindCurrent(session_, request.key));
  std::optional<ObjectRow> target = current;
  bool is_current = true;
  if (request.version_id) {
    result.versioned = true;
    result.version_id = *request.version_id;
    if (!current || current->info.version_id != *request.version_id) {
      is_current = false;
      ASSIGN_OR_RETURN(target, FindOld(session_, request.key, *request.version_id));
    }
  }
  if (target && !target->info.is_delete_marker) {
    const ObjectInfo& info = target->info;
    if ((request.if_match && *request.if_match != "*" && *request.if_match != info.etag) ||
        (request.if_match_size_bytes && *request.if_match_size_bytes != info.size_bytes) ||
        (request.if_match_modified_seconds &&
         *request.if_match_modified_seconds != info.modified_us / 1'000'000)) {
      return StorageStatus(Reason::kPreconditionFailed,
                           "'" + request.key + "' is not the one to be deleted");
    }
  }
  if (request.version_id) {
    if (target) {
      result.existed = true;
      result.is_delete_marker = target->info.is_delete_marker;
      RETURN_IF_ERROR(Remove(*target, is_current));
    }
    return result;
  }
  ASSIGN_OR_RETURN(Versioning versioning, ReadVersioning(session_));
  result.existed = current && !current->info.is_delete_marker;
  if (versioning == Versioning::kOff) {
    if (current) {
      RETURN_IF_ERROR(Remove(*current, true));
    }
    return result;
  }
  ObjectRow marker;
  marker.info.key = request.key;
  marker.info.is_delete_marker = true;
  ASSIGN_OR_RETURN(result.versioned, Install(marker, current));
  result.version_id = marker.info.version_id;
  result.is_delete_marker = true;
  return result;
}

Status Versions::Release(int64_t content) {
  if (content == 0) {
    return Status::Ok();
  }
  SqlQuery share = session_.Use("SELECT extra FROM content_share WHERE content = ?");
  ASSIGN_OR_RETURN(bool shared, share.Bind(1, content).Step());
  if (shared) {
    bool last = share.Int(0) <= 1;
    share.Reset();
    SqlQuery less =
        session_.Use(last ? "DELETE FROM content_share WHERE content = ?"
                          : "UPDATE content_share SET extra = extra - 1 WHERE content = ?");
    return less.Bind(1, content).Run();
  }
  RETURN_IF_ERROR(
      session_.Use("DELETE FROM content WHERE id = ? AND data IS NOT NULL").Bind(1, content).Run());
  if (session_.Changes() > 0) {
    return Status::Ok();
  }
  sweep_due_ = true;
  return session_.Use("INSERT OR IGNORE INTO unreferenced VALUES (?)").Bind(1, content).Run();
}

}  // namespace sqlite_s3::server

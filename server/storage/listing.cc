// List, ListVersions, ListUploads: keys in byte order, cut at delimiters. A common prefix costs one
// seek: the scan goes on behind it, however many keys it has.

#include <algorithm>

#include "server/storage/bucket_impl.h"
#include "server/storage/text.h"
#include "server/storage/versions.h"

namespace sqlite_s3::server {
namespace {

// `text` < every upper bound: SQLite sorts blobs after text, so an empty one is above all keys.
void BindUpper(SqlQuery& query, int index, std::string_view prefix, const std::string& upper) {
  if (prefix.empty()) {
    query.BindBlob(index, {});
  } else {
    query.Bind(index, upper);
  }
}

// Where a listing stands, and what it rolls up.
class Cursor {
 public:
  // `marker`: strictly after it. `inclusive`: from it on.
  Cursor(const std::string& prefix, const std::string& delimiter, const std::string& marker,
         bool inclusive)
      : prefix_(prefix),
        delimiter_(delimiter),
        lower_(prefix),
        upper_(prefix.empty() ? "" : AfterPrefix(prefix)) {
    if (marker >= prefix_ && !marker.empty()) {
      auto common = CommonPrefix(marker);
      lower_ = !common.empty() && !inclusive ? AfterPrefix(common)
               : inclusive                   ? marker
                                             : Next(marker);
    }
  }
  // The common prefix of `key`, empty if it has none.
  std::string_view CommonPrefix(std::string_view key) const {
    if (delimiter_.empty() || !key.starts_with(prefix_)) {
      return {};
    }
    size_t at = key.find(delimiter_, prefix_.size());
    return at == std::string_view::npos ? std::string_view()
                                        : key.substr(0, at + delimiter_.size());
  }
  void SkipTo(std::string lower) { lower_ = std::move(lower); }
  // Binds ?1 and ?2.
  void Bind(SqlQuery& query) const {
    query.Bind(1, lower_);
    BindUpper(query, 2, prefix_, upper_);
  }

 private:
  const std::string& prefix_;
  const std::string& delimiter_;
  std::string lower_;
  std::string upper_;
};

StorageStatus CheckList(const std::string& prefix, const std::string& delimiter) {
  // The end of a range is made by raising the last byte, which UTF-8 always leaves room for.
  if (!IsUtf8(prefix) || !IsUtf8(delimiter)) {
    return {Reason::kInvalidArgument, "the prefix or the delimiter is not UTF-8"};
  }
  return {};
}

int Limit(int wanted) { return std::clamp(wanted, 0, kMaxListEntries); }

// Walks the rows of `sql` (?1 <= key < ?2, key in column 0). on_row and on_prefix return false when
// the page is full.
template <typename OnRow, typename OnPrefix>
StorageStatus Walk(Session& session, const char* sql, Cursor& cursor, OnRow on_row,
                   OnPrefix on_prefix) {
  while (true) {
    SqlQuery query = session.Use(sql);
    cursor.Bind(query);
    while (true) {
      ASSIGN_OR_RETURN(bool row, query.Step());
      if (!row) {
        return {};
      }
      std::string_view common = cursor.CommonPrefix(query.Text(0));
      if (!common.empty()) {
        std::string prefix(common);
        if (!on_prefix(prefix)) {
          return {};
        }
        cursor.SkipTo(AfterPrefix(prefix));
        break;
      }
      if (!on_row(query)) {
        return {};
      }
    }
  }
}

}  // namespace

StorageResult<ListResult> BucketImpl::List(const ListRequest& request) {
  RETURN_IF_STORAGE_ERROR(CheckList(request.prefix, request.delimiter));
  ListResult result;
  int room = Limit(request.max_keys);
  if (room == 0) {
    return result;
  }
  Cursor cursor(request.prefix, request.delimiter, request.start_after, false);
  auto full = [&] {
    result.is_truncated = room == 0;
    return room-- == 0;
  };
  ASSIGN_OR_RETURN(auto session, Reader());
  RETURN_IF_STORAGE_ERROR(Walk(
      *session,
      "SELECT key, seq, version_id, modified_us, delete_marker, size, etag, content, parts, "
      "checksum_algorithm, checksum, checksum_type, storage_class, owner FROM object "
      "WHERE key >= ?1 AND key < ?2 AND NOT delete_marker ORDER BY key",
      cursor,
      [&](const SqlQuery& query) {
        if (full()) {
          return false;
        }
        result.objects.push_back(ReadObject(query, 0, false).info);
        result.next_marker = result.objects.back().key;
        return true;
      },
      [&](const std::string& prefix) {
        if (full()) {
          return false;
        }
        result.common_prefixes.push_back(prefix);
        result.next_marker = prefix;
        return true;
      }));
  if (!result.is_truncated) {
    result.next_marker.clear();
  }
  return result;
}

StorageResult<ListVersionsResult> BucketImpl::ListVersions(const ListVersionsRequest& request) {
  RETURN_IF_STORAGE_ERROR(CheckList(request.prefix, request.delimiter));
  ListVersionsResult result;
  int room = Limit(request.max_keys);
  if (room == 0) {
    return result;
  }
  auto full = [&] {
    result.is_truncated = room == 0;
    return room-- == 0;
  };
  auto add = [&](const SqlQuery& query, bool latest) {
    if (full()) {
      return false;
    }
    ObjectInfo& info = result.versions.emplace_back(ReadObject(query, 0, false).info);
    info.is_latest = latest;
    result.next_key_marker = info.key;
    result.next_version_id_marker = info.version_id;
    return true;
  };
  ASSIGN_OR_RETURN(auto session, Reader());
  ReadTransaction transaction(*session);
  RETURN_IF_STORAGE_ERROR(transaction.Begin());
  Cursor cursor(request.prefix, request.delimiter, request.key_marker, false);
  if (!request.version_id_marker.empty() && request.key_marker.starts_with(request.prefix) &&
      cursor.CommonPrefix(request.key_marker).empty()) {
    // The rest of the key that the last page ended in.
    ASSIGN_OR_RETURN(auto current, FindCurrent(*session, request.key_marker));
    int64_t seq = SeqOfVersionId(request.version_id_marker);
    if (current && current->info.version_id == request.version_id_marker) {
      seq = current->seq;
    } else if (request.version_id_marker == kNullVersion) {
      ASSIGN_OR_RETURN(auto null, FindOld(*session, request.key_marker, kNullVersion));
      seq = null ? null->seq : 0;
    }
    SqlQuery query = session->Use(
        "SELECT key, seq, version_id, modified_us, delete_marker, size, etag, content, parts, "
        "checksum_algorithm, checksum, checksum_type, storage_class, owner FROM old_version "
        "WHERE key = ?1 AND seq < ?2 ORDER BY seq DESC");
    query.Bind(1, request.key_marker).Bind(2, seq);
    while (true) {
      ASSIGN_OR_RETURN(bool row, query.Step());
      if (!row) {
        break;
      }
      if (!add(query, false)) {
        return result;
      }
    }
  }
  RETURN_IF_STORAGE_ERROR(Walk(
      *session,
      "SELECT key, seq, version_id, modified_us, delete_marker, size, etag, content, parts, "
      "checksum_algorithm, checksum, checksum_type, storage_class, owner, 1 FROM object "
      "WHERE key >= ?1 AND key < ?2 UNION ALL "
      "SELECT key, seq, version_id, modified_us, delete_marker, size, etag, content, parts, "
      "checksum_algorithm, checksum, checksum_type, storage_class, owner, 0 FROM old_version "
      "WHERE key >= ?1 AND key < ?2 ORDER BY 1, 2 DESC",
      cursor, [&](const SqlQuery& query) { return add(query, query.Int(kListColumns) != 0); },
      [&](const std::string& prefix) {
        if (full()) {
          return false;
        }
        result.common_prefixes.push_back(prefix);
        result.next_key_marker = prefix;
        result.next_version_id_marker.clear();
        return true;
      }));
  if (!result.is_truncated) {
    result.next_key_marker.clear();
    result.next_version_id_marker.clear();
  }
  return result;
}

StorageResult<ListUploadsResult> BucketImpl::ListUploads(const ListUploadsRequest& request) {
  RETURN_IF_STORAGE_ERROR(CheckList(request.prefix, request.delimiter));
  ListUploadsResult result;
  int room = Limit(request.max_uploads);
  if (room == 0) {
    return result;
  }
  auto full = [&] {
    result.is_truncated = room == 0;
    return room-- == 0;
  };
  // From the marker's own key on when there is an upload id too: its later uploads are not listed
  // yet.
  bool within = !request.upload_id_marker.empty() && !request.key_marker.empty();
  Cursor cursor(request.prefix, request.delimiter, request.key_marker, within);
  ASSIGN_OR_RETURN(auto session, Reader());
  RETURN_IF_STORAGE_ERROR(Walk(
      *session,
      "SELECT key, upload_id, initiated_us, want_algorithm, want_type, storage_class, owner "
      "FROM upload WHERE key >= ?1 AND key < ?2 ORDER BY key, upload_id",
      cursor,
      [&](const SqlQuery& query) {
        if (within && query.Text(0) == request.key_marker &&
            query.Text(1) <= request.upload_id_marker) {
          return true;
        }
        if (full()) {
          return false;
        }
        UploadInfo& upload = result.uploads.emplace_back();
        upload.key = query.Text(0);
        upload.upload_id = query.Text(1);
        upload.initiated_us = query.Int(2);
        upload.checksum_algorithm = query.Text(3);
        upload.checksum_type = query.Text(4);
        upload.attributes.storage_class = query.Text(5);
        upload.attributes.owner = query.Text(6);
        result.next_key_marker = upload.key;
        result.next_upload_id_marker = upload.upload_id;
        return true;
      },
      [&](const std::string& prefix) {
        if (full()) {
          return false;
        }
        result.common_prefixes.push_back(prefix);
        result.next_key_marker = prefix;
        result.next_upload_id_marker.clear();
        return true;
      }));
  if (!result.is_truncated) {
    result.next_key_marker.clear();
    result.next_upload_id_marker.clear();
  }
  return result;
}

}  // namespace sqlite_s3::server

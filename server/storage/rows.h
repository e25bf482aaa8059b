#pragma once
// Rows of `object`, `old_version` and `upload`, and the values that they hold.

#include <cstdint>
#include <string>
#include <string_view>

#include "server/storage/object.h"
#include "server/storage/session.h"

// Attributes are the same in objects and uploads; those of lists come first.
#define SQLITE_S3_ATTRIBUTE_COLUMNS                                               \
  "storage_class, owner, acl, content_type, content_encoding, content_language, " \
  "content_disposition, cache_control, expires, redirect, metadata, tags"
#define SQLITE_S3_OBJECT_COLUMNS                                                   \
  "key, seq, version_id, modified_us, delete_marker, size, etag, content, parts, " \
  "checksum_algorithm, checksum, checksum_type, " SQLITE_S3_ATTRIBUTE_COLUMNS

namespace sqlite_s3::server {

inline constexpr int kAttributeColumns = 12;
inline constexpr int kObjectColumns = 12 + kAttributeColumns;
// Up to `owner`: what a list shows.
inline constexpr int kListColumns = 14;

struct ObjectRow {
  ObjectInfo info;
  int64_t seq = 0;      // later versions of a key have higher ones
  int64_t content = 0;  // 0: none, the body is empty
};

// Text that lives as long as the statement it is bound to.
struct BoundAttributes {
  std::string metadata, tags;
};

// {"name": "value", ...}; empty for none.
std::string NameValuesToJson(const NameValues& values);
// Nothing of a text that is not such an object: the file may be anybody's.
NameValues NameValuesFromJson(std::string_view json);

// All text UTF-8, else kInvalidArgument: the JSON and the shell could not show it.
StorageStatus CheckAttributes(const ObjectAttributes& attributes);

ObjectAttributes ReadAttributes(const SqlQuery& query, int column);
// `bound` keeps the JSON; it and `attributes` must outlive the query.
void BindAttributes(SqlQuery& query, int index, const ObjectAttributes& attributes,
                    BoundAttributes& bound);

// From SQLITE_S3_OBJECT_COLUMNS at `column`; the first kListColumns only unless `full`.
ObjectRow ReadObject(const SqlQuery& query, int column, bool full);
void BindObject(SqlQuery& query, const ObjectRow& row, BoundAttributes& bound);

}  // namespace sqlite_s3::server

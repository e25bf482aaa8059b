// Files of s3ite's become ours: values, sizes, times, etags and metadata as they were.

#include "server/storage/body.h"
#include "server/storage/md5.h"
#include "server/storage/rows.h"
#include "server/storage/s3ite_time.h"
#include "server/storage/schema.h"

namespace sqlite_s3::server {
namespace {

class Migration {
 public:
  explicit Migration(Session& session) : session_(session) {}

  Status Objects(const char* sql) {
    SqlQuery rows = session_.Use(sql);
    while (true) {
      ASSIGN_OR_RETURN(bool row, rows.Step());
      if (!row) {
        return Status::Ok();
      }
      ByteSpan value = rows.Blob(4);
      ObjectRow object;
      object.info.key = rows.Text(0);
      object.info.modified_us = rows.Int(1);
      object.info.etag = rows.IsNull(2) ? Md5::Hex(value) : std::string(rows.Text(2));
      object.info.size_bytes = value.size();
      for (auto& [name, text] : NameValuesFromJson(rows.Text(3))) {
        bool prefixed = name.starts_with("x-amz-meta-");
        object.info.attributes.metadata.emplace_back(prefixed ? name.substr(11) : name, text);
      }
      object.seq = object.info.modified_us;
      ASSIGN_OR_RETURN(object.content, Store(value));
      BoundAttributes bound;
      SqlQuery insert = session_.Use("INSERT INTO object (" SQLITE_S3_OBJECT_COLUMNS
                                     ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
      BindObject(insert, object, bound);
      RETURN_IF_ERROR(insert.Run());
    }
  }

  // Their upload ids are UUIDs in 16 bytes; clients know them as text.
  Status Uploads() {
    RETURN_IF_ERROR(session_.Exec(
        "INSERT INTO upload (key, upload_id, initiated_us) SELECT key, lower("
        "substr(hex(upload_id), 1, 8) || '-' || substr(hex(upload_id), 9, 4) || '-' || "
        "substr(hex(upload_id), 13, 4) || '-' || substr(hex(upload_id), 17, 4) || '-' || "
        "substr(hex(upload_id), 21)), " SQLITE_S3_S3ITE_TIME " FROM multipart_upload"));
    SqlQuery rows = session_.Use(
        "SELECT lower("
        "substr(hex(upload_id), 1, 8) || '-' || substr(hex(upload_id), 9, 4) || '-' || "
        "substr(hex(upload_id), 13, 4) || '-' || substr(hex(upload_id), 17, 4) || '-' || "
        "substr(hex(upload_id), 21)), part_number, value, md5, " SQLITE_S3_S3ITE_TIME
        " FROM multipart_upload_part");
    while (true) {
      ASSIGN_OR_RETURN(bool row, rows.Step());
      if (!row) {
        return Status::Ok();
      }
      ByteSpan value = rows.Blob(2);
      std::string etag = rows.IsNull(3) ? Md5::Hex(value) : std::string(rows.Text(3));
      ASSIGN_OR_RETURN(int64_t content, Store(value));
      SqlQuery insert = session_.Use(
          "INSERT INTO upload_part (upload_id, number, content, size, etag, modified_us) "
          "VALUES (?, ?, nullif(?, 0), ?, ?, ?)");
      RETURN_IF_ERROR(insert.Bind(1, rows.Text(0))
                          .Bind(2, rows.Int(1))
                          .Bind(3, content)
                          .Bind(4, static_cast<int64_t>(value.size()))
                          .Bind(5, std::string_view(etag))
                          .Bind(6, rows.Int(4))
                          .Run());
    }
  }

 private:
  Result<int64_t> Store(ByteSpan value) {
    if (value.empty()) {
      return int64_t{0};
    }
    int64_t id = ++last_content_;
    SqlQuery content = session_.Use("INSERT INTO content VALUES (?, ?, 0, ?)");
    content.Bind(1, id).Bind(2, static_cast<int64_t>(value.size()));
    if (value.size() <= kInlineBytes) {
      content.BindBlob(3, value);
    }
    RETURN_IF_ERROR(content.Run());
    for (size_t at = 0; value.size() > kInlineBytes && at < value.size(); at += kChunkBytes) {
      RETURN_IF_ERROR(session_.Use("INSERT INTO chunk VALUES (?, ?, ?)")
                          .Bind(1, id)
                          .Bind(2, static_cast<int64_t>(at))
                          .BindBlob(3, value.subspan(at, std::min(kChunkBytes, value.size() - at)))
                          .Run());
    }
    return id;
  }

  Session& session_;
  int64_t last_content_ = 0;
};

}  // namespace

Status MigrateFromS3ite(Session& session, Layout layout) {
  RETURN_IF_ERROR(session.Exec(kSchemaSql));
  Migration migration(session);
  RETURN_IF_ERROR(migration.Objects(
      layout == Layout::kS3iteOneTable
          ? "SELECT key, " SQLITE_S3_S3ITE_TIME ", md5, metadata, value FROM data"
          : "SELECT m.key, " SQLITE_S3_S3ITE_TIME
            ", m.md5, m.metadata, d.value FROM metadata m JOIN data d ON d.key = m.key"));
  ASSIGN_OR_RETURN(int64_t uploads, session.connection().QueryInt(
                                        "SELECT count(*) FROM main.sqlite_schema WHERE name IN "
                                        "('multipart_upload', 'multipart_upload_part')"));
  if (uploads == 2) {
    RETURN_IF_ERROR(migration.Uploads());
  }
  // Children first: the foreign keys are theirs.
  return session.Exec(
      "DROP TABLE IF EXISTS multipart_upload_part; DROP TABLE IF EXISTS multipart_upload;"
      "DROP TABLE IF EXISTS metadata; DROP TABLE data;"
      "INSERT INTO setting SELECT 'created_us', coalesce(min(modified_us), 0) FROM object");
}

}  // namespace sqlite_s3::server

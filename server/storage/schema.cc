#include "server/storage/schema.h"

#include <sys/stat.h>

#include "server/storage/s3ite_time.h"

namespace sqlite_s3::server {
namespace {

constexpr int kBusyTimeoutMs = 5000;
// No value of ours is longer: a file that says otherwise gets an error, not the memory.
constexpr int kMaxValueBytes = 16 << 20;

Result<Connection> OpenConnection(const std::string& path, int flags) {
  ASSIGN_OR_RETURN(Connection connection, Connection::Open(path, flags, "", kBusyTimeoutMs));
  sqlite3* db = connection.get();
  // The file may be anybody's: its triggers, views and functions run nothing here.
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  RETURN_IF_ERROR(connection.Exec("PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY"));
  return connection;
}

#define S3ITE_OBJECT_VIEW(table)                                                                 \
  "CREATE TEMP VIEW object AS SELECT key, 1 AS seq, 'null' AS version_id, " SQLITE_S3_S3ITE_TIME \
  " AS modified_us, 0 AS delete_marker, size, md5 AS etag, key AS content, 0 AS parts, "         \
  "NULL AS checksum_algorithm, NULL AS checksum, NULL AS checksum_type, "                        \
  "NULL AS storage_class, NULL AS owner, NULL AS acl, NULL AS content_type, "                    \
  "NULL AS content_encoding, NULL AS content_language, NULL AS content_disposition, "            \
  "NULL AS cache_control, NULL AS expires, NULL AS redirect, "                                   \
  "replace(metadata, '\"x-amz-meta-', '\"') AS metadata, NULL AS tags FROM " table ";"

// Our tables as views over theirs: every read statement works on both. Uploads of theirs are not
// shown; nobody can finish them here.
constexpr char kS3iteViews[] =
    "CREATE TEMP VIEW content AS SELECT key AS id, length(value) AS size, 0 AS parts, value AS "
    "data "
    "FROM data;"
    "CREATE TEMP VIEW old_version AS SELECT * FROM object WHERE 0;"
    "CREATE TEMP VIEW setting AS SELECT '' AS name, '' AS value WHERE 0;"
    "CREATE TEMP VIEW document AS SELECT '' AS name, '' AS value WHERE 0;"
    "CREATE TEMP VIEW upload AS SELECT '' AS key, '' AS upload_id, 0 AS initiated_us, "
    "'' AS want_algorithm, '' AS want_type, '' AS storage_class, '' AS owner, '' AS acl, "
    "'' AS content_type, '' AS content_encoding, '' AS content_language, "
    "'' AS content_disposition, '' AS cache_control, '' AS expires, '' AS redirect, "
    "'' AS metadata, '' AS tags WHERE 0;";

Result<bool> HasTable(Connection& connection, const char* name) {
  std::string sql = "SELECT count(*) FROM main.sqlite_schema WHERE type='table' AND name='" +
                    std::string(name) + "'";
  ASSIGN_OR_RETURN(int64_t count, connection.QueryInt(sql.c_str()));
  return count > 0;
}

}  // namespace

#define ATTRIBUTES_SQL                                                                             \
  "  storage_class TEXT, owner TEXT, acl TEXT,\n"                                                  \
  "  content_type TEXT, content_encoding TEXT, content_language TEXT, content_disposition TEXT,\n" \
  "  cache_control TEXT, expires TEXT, redirect TEXT,\n"                                           \
  "  metadata TEXT,                        -- JSON: {\"name\": \"value\"} of x-amz-meta-name\n"    \
  "  tags TEXT,                            -- JSON, likewise\n"
#define VERSION_SQL                                                                     \
  "  key TEXT NOT NULL,\n"                                                              \
  "  seq INTEGER NOT NULL,                 -- higher: newer\n"                          \
  "  version_id TEXT NOT NULL,             -- 'null' when written without versioning\n" \
  "  modified_us INTEGER NOT NULL,         -- microseconds since 1970 UTC\n"            \
  "  delete_marker INTEGER NOT NULL,\n"                                                 \
  "  size INTEGER NOT NULL,\n"                                                          \
  "  etag TEXT,\n"                                                                      \
  "  content INTEGER,                      -- content.id; NULL: an empty body\n"        \
  "  parts INTEGER NOT NULL,               -- 0, or of how many it was uploaded\n"      \
  "  checksum_algorithm TEXT, checksum TEXT, checksum_type TEXT,\n" ATTRIBUTES_SQL

const char kSchemaSql[] =
    "CREATE TABLE setting (\n"
    "  name TEXT PRIMARY KEY NOT NULL,       -- created_us, owner, versioning\n"
    "  value TEXT NOT NULL\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE document (                 -- the bucket's configuration as it was sent\n"
    "  name TEXT PRIMARY KEY NOT NULL,\n"
    "  value TEXT NOT NULL\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE object (                   -- the current version of each key\n" VERSION_SQL
    "  PRIMARY KEY (key)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE old_version (              -- what versioning keeps of it\n" VERSION_SQL
    "  PRIMARY KEY (key, seq DESC)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE INDEX old_null_version ON old_version (key) WHERE version_id = 'null';\n"
    "CREATE TABLE content (                  -- a body; never changed, only removed\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  size INTEGER NOT NULL,\n"
    "  parts INTEGER NOT NULL,               -- > 0: see content_part\n"
    "  data BLOB                             -- NULL: in content_part or chunk\n"
    ") STRICT;\n"
    "CREATE TABLE content_part (             -- a body made of others\n"
    "  content INTEGER NOT NULL,\n"
    "  number INTEGER NOT NULL,\n"
    "  part INTEGER,                         -- content.id; NULL: an empty part\n"
    "  size INTEGER NOT NULL,\n"
    "  etag TEXT NOT NULL,\n"
    "  checksum_algorithm TEXT, checksum TEXT, checksum_type TEXT,\n"
    "  PRIMARY KEY (content, number)\n"
    ") STRICT, WITHOUT ROWID;\n"
    // With a rowid: a search in a WITHOUT ROWID table reads all of each row that it passes, here 1
    // MiB.
    "CREATE TABLE chunk (                    -- a large body in pieces\n"
    "  content INTEGER NOT NULL,\n"
    "  offset INTEGER NOT NULL,\n"
    "  data BLOB NOT NULL,\n"
    "  PRIMARY KEY (content, offset)\n"
    ") STRICT;\n"
    "CREATE TABLE content_share (            -- copies: how many objects more than one have it\n"
    "  content INTEGER PRIMARY KEY,\n"
    "  extra INTEGER NOT NULL\n"
    ") STRICT;\n"
    "CREATE TABLE unreferenced (             -- being uploaded, or to be swept\n"
    "  content INTEGER PRIMARY KEY\n"
    ") STRICT;\n"
    "CREATE TABLE upload (                   -- multipart uploads that are not complete\n"
    "  key TEXT NOT NULL,\n"
    "  upload_id TEXT NOT NULL,\n"
    "  initiated_us INTEGER NOT NULL,\n"
    "  want_algorithm TEXT, want_type TEXT,  -- the checksum asked for\n" ATTRIBUTES_SQL
    "  PRIMARY KEY (key, upload_id)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE upload_part (\n"
    "  upload_id TEXT NOT NULL,\n"
    "  number INTEGER NOT NULL,\n"
    "  content INTEGER,\n"
    "  size INTEGER NOT NULL,\n"
    "  etag TEXT NOT NULL,\n"
    "  checksum_algorithm TEXT, checksum TEXT, checksum_type TEXT,\n"
    "  modified_us INTEGER NOT NULL,\n"
    "  PRIMARY KEY (upload_id, number)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE VIEW objects AS\n"
    "  SELECT key, size, datetime(modified_us / 1000000, 'unixepoch') AS modified, content_type,\n"
    "         etag, metadata, tags\n"
    "  FROM object WHERE NOT delete_marker;\n"
    "CREATE VIEW versions AS\n"
    "  SELECT key, version_id, datetime(modified_us / 1000000, 'unixepoch') AS modified, size,\n"
    "         iif(delete_marker, 'delete marker', etag) AS etag, latest\n"
    "  FROM (SELECT *, 1 AS latest FROM object UNION ALL SELECT *, 0 FROM old_version)\n"
    "  ORDER BY key, seq DESC;\n"
    "CREATE VIEW bodies AS                   -- an object's bytes: data, by key, number, offset\n"
    "  SELECT o.key, 0 AS number, 0 AS offset, c.data\n"
    "    FROM object o JOIN content c ON c.id = o.content WHERE c.data IS NOT NULL\n"
    "  UNION ALL\n"
    "  SELECT o.key, 0, k.offset, k.data FROM object o JOIN chunk k ON k.content = o.content\n"
    "  UNION ALL\n"
    "  SELECT o.key, p.number, 0, c.data FROM object o JOIN content_part p USING (content)\n"
    "    JOIN content c ON c.id = p.part WHERE c.data IS NOT NULL\n"
    "  UNION ALL\n"
    "  SELECT o.key, p.number, k.offset, k.data FROM object o JOIN content_part p USING (content)\n"
    "    JOIN chunk k ON k.content = p.part;\n"
    "PRAGMA application_id = 1395872593;\n"
    "PRAGMA user_version = 1;\n";

static_assert(kApplicationId == 1395872593 && kSchemaVersion == 1);

Result<Layout> DetectLayout(Connection& connection) {
  ASSIGN_OR_RETURN(int64_t application, connection.QueryInt("PRAGMA application_id"));
  if (application == kApplicationId) {
    ASSIGN_OR_RETURN(int64_t version, connection.QueryInt("PRAGMA user_version"));
    if (version == kSchemaVersion) {
      return Layout::kOurs;
    }
    return UnimplementedError("the bucket has schema version " + std::to_string(version) +
                              ", hint: a newer sqlite-s3-server reads it");
  }
  ASSIGN_OR_RETURN(bool data, HasTable(connection, "data"));
  ASSIGN_OR_RETURN(bool metadata, HasTable(connection, "metadata"));
  if (data && metadata) {
    return Layout::kS3iteTwoTables;
  }
  if (data) {
    ASSIGN_OR_RETURN(
        int64_t columns,
        connection.QueryInt("SELECT count(*) FROM pragma_table_info('data') WHERE name "
                            "IN ('key', 'value', 'size', 'last_modified', 'md5')"));
    if (columns == 5) {
      return Layout::kS3iteOneTable;
    }
  }
  return FailedPreconditionError("the database is not a bucket");
}

Status CreateBucketFile(const std::string& path, const std::string& owner, int64_t created_us) {
  ASSIGN_OR_RETURN(Connection connection,
                   OpenConnection(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  RETURN_IF_ERROR(connection.Exec(
      "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous=FULL;"
      "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE"));
  RETURN_IF_ERROR(connection.Exec(kSchemaSql));
  Session session(std::move(connection));
  std::string created = std::to_string(created_us);
  RETURN_IF_ERROR(session.Use("INSERT INTO setting VALUES ('created_us', ?), ('owner', ?)")
                      .Bind(1, std::string_view(created))
                      .Bind(2, std::string_view(owner))
                      .Run());
  // Into the file itself: only that gets the bucket's name.
  return session.Exec("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
}

Result<std::unique_ptr<Session>> OpenWriter(const std::string& path,
                                            const StorageOptions& options) {
  ASSIGN_OR_RETURN(Connection connection, OpenConnection(path, SQLITE_OPEN_READWRITE));
  ASSIGN_OR_RETURN(std::string mode, connection.QueryText("PRAGMA journal_mode=WAL"));
  if (mode != "wal") {
    return FailedPreconditionError("'" + path + "' cannot be put into WAL mode, it stays in '" +
                                   mode + "'");
  }
  // Without room for its shared memory SQLite opens a database that can only be read, and would
  // stay so. Not to open it lets the next request try again.
  const Status writable = connection.Exec("BEGIN IMMEDIATE; COMMIT");
  if (!writable.ok() && sqlite3_db_readonly(connection.get(), "main") == 0) {
    return writable.code() == StatusCode::kPermissionDenied
               ? ResourceExhaustedError("cannot make '" + path + "-shm', hint: is the disk full?")
               : writable;
  }
  ASSIGN_OR_RETURN(Layout layout, DetectLayout(connection));
  // Only this connection checkpoints, and never while it commits: two that do can lose commits in
  // SQLite before 3.51.3 (sqlite.org/wal.html#walresetbug). Freed pages are not overwritten: the
  // deletion of a large object would write as much as the object.
  RETURN_IF_ERROR(
      connection.Exec("PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864;"
                      "PRAGMA secure_delete=OFF; PRAGMA cache_size=-8192;"
                      "PRAGMA foreign_keys=OFF"));
  RETURN_IF_ERROR(connection.Exec(options.synchronous == Synchronous::kFull
                                      ? "PRAGMA synchronous=FULL"
                                      : "PRAGMA synchronous=NORMAL"));
  auto session = std::make_unique<Session>(std::move(connection));
  if (layout != Layout::kOurs) {
    RETURN_IF_ERROR(session->Exec("BEGIN IMMEDIATE"));
    Status status = MigrateFromS3ite(*session, layout);
    if (!status.ok()) {
      (void)session->Exec("ROLLBACK");  // closing does it too
      return status.WithContext("cannot migrate '" + path + "'");
    }
    RETURN_IF_ERROR(session->Exec("COMMIT"));
  }
  sqlite3_limit(session->connection().get(), SQLITE_LIMIT_LENGTH, kMaxValueBytes);
  return session;
}

Result<std::unique_ptr<Session>> OpenReader(const std::string& path, Layout* layout) {
  auto opened = OpenConnection(path, SQLITE_OPEN_READONLY);
  Result<Layout> detected = opened.ok() ? DetectLayout(*opened) : opened.status();
  struct stat info {};
  if (!detected.ok() && detected.code() != StatusCode::kCorruption &&
      (::stat((path + "-wal").c_str(), &info) != 0 || info.st_size == 0)) {
    // A WAL-mode file on a read-only filesystem: there is no WAL, and nobody can write one.
    std::string uri = "file:";
    for (char c : path) {
      static constexpr char kHex[] = "0123456789ABCDEF";
      if (c == '%' || c == '?' || c == '#') {
        uri += {'%', kHex[c >> 4], kHex[c & 15]};
      } else {
        uri.push_back(c);
      }
    }
    if (::access(path.c_str(), W_OK) != 0) {
      opened = OpenConnection(uri + "?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
      detected = opened.ok() ? DetectLayout(*opened) : opened.status();
    }
  }
  if (!opened.ok()) {
    return opened.status();
  }
  if (!detected.ok()) {
    return detected.status();
  }
  *layout = *detected;
  RETURN_IF_ERROR(opened->Exec("PRAGMA cache_size=-1024"));
  if (*layout == Layout::kOurs) {
    sqlite3_limit(opened->get(), SQLITE_LIMIT_LENGTH, kMaxValueBytes);
  } else {
    RETURN_IF_ERROR(opened->Exec(*layout == Layout::kS3iteOneTable
                                     ? S3ITE_OBJECT_VIEW("data")
                                     : S3ITE_OBJECT_VIEW("metadata")));
    RETURN_IF_ERROR(opened->Exec(kS3iteViews));
  }
  RETURN_IF_ERROR(opened->Exec("PRAGMA query_only=ON"));
  return std::make_unique<Session>(std::move(*opened));
}

}  // namespace sqlite_s3::server

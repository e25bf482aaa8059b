#pragma once
// Bucket files as s3ite leaves them, of both its schemas: SQL that makes one.

namespace sqlite_s3::server {

// 'a' is "hello" with metadata n: v; 'big' is 3,000,000 zeros.
inline constexpr char kS3iteOneTableSql[] =
    "CREATE TABLE data(key TEXT PRIMARY KEY, value BLOB, size INTEGER NOT NULL, metadata "
    "TEXT, last_modified TEXT NOT NULL, md5 TEXT) STRICT, WITHOUT ROWID;"
    "INSERT INTO data VALUES ('a', CAST('hello' AS BLOB), 5, "
    "'{\"n\":\"v\"}', '2024-02-03T04:05:06.789Z', "
    "'5d41402abc4b2a76b9719d911017c592'), "
    "('big', zeroblob(3000000), 3000000, NULL, '2024-02-03T04:05:06.5Z', 'etag')";

// The same, and an upload of 'u' with its part 1, "part".
inline constexpr char kS3iteTwoTablesSql[] =
    "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
    "CREATE TABLE data(key TEXT PRIMARY KEY, value BLOB);"
    "CREATE TABLE metadata(key TEXT PRIMARY KEY, size INTEGER NOT NULL, metadata TEXT, "
    "last_modified TEXT NOT NULL, md5 TEXT, FOREIGN KEY(key) REFERENCES data(key) ON "
    "DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE multipart_upload(upload_id BLOB PRIMARY KEY, bucket TEXT, key TEXT, "
    "last_modified TEXT, access_key TEXT);"
    "CREATE TABLE multipart_upload_part(upload_id BLOB, last_modified TEXT, part_number "
    "INTEGER, value BLOB, size INTEGER, md5 TEXT, PRIMARY KEY(upload_id, part_number));"
    "INSERT INTO data VALUES ('a', 'hello'), ('big', zeroblob(3000000));"
    "INSERT INTO metadata VALUES ('a', 5, '{\"x-amz-meta-n\":\"v\"}', "
    "'2024-02-03T04:05:06.789Z', '5d41402abc4b2a76b9719d911017c592'), "
    "('big', 3000000, NULL, '2024-02-03 04:05:06.5 +00:00:00', 'etag');"
    "INSERT INTO multipart_upload VALUES (x'00112233445566778899aabbccddeeff', 'old', "
    "'u', '2024-02-03T04:05:06Z', '');"
    "INSERT INTO multipart_upload_part VALUES (x'00112233445566778899aabbccddeeff', "
    "'2024-02-03T04:05:06Z', 1, 'part', 4, 'pe')";

}  // namespace sqlite_s3::server

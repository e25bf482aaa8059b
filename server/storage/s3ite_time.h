#pragma once
// How s3ite writes times, "2024-02-03T04:05:06.789Z" or "2024-02-03 04:05:06.789 +00:00:00" in the
// column last_modified: SQL that makes microseconds since 1970 UTC of it, 0 of anything else.

#define SQLITE_S3_S3ITE_TIME                                                                \
  "coalesce(CAST(strftime('%s', substr(last_modified, 1, 19)) AS INTEGER), 0) * 1000000 + " \
  "CAST(round(CAST('0' || substr(last_modified, 20, 7) AS REAL) * 1000000) AS INTEGER)"

#pragma once
// What a bucket stores and what it is asked: plain values, no behaviour. Times are microseconds
// since 1970 UTC; etags have no quotes; text is UTF-8.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/bytes.h"

namespace sqlite_s3::server {

// S3's limits.
inline constexpr size_t kMaxKeyBytes = 1024;
inline constexpr int kMaxPartNumber = 10'000;
inline constexpr uint64_t kMinPartBytes = uint64_t{5} << 20;    // all but the last
inline constexpr uint64_t kMaxPutBytes = uint64_t{5} << 30;     // one body: PUT or one part
inline constexpr uint64_t kMaxObjectBytes = uint64_t{5} << 40;  // by parts
inline constexpr int kMaxListEntries = 1000;

// The version id of what was written while versioning was off or suspended.
inline constexpr char kNullVersion[] = "null";

using NameValues = std::vector<std::pair<std::string, std::string>>;

// x-amz-checksum-*: all three empty when there is none.
struct Checksum {
  std::string algorithm;  // "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"
  std::string value;      // base64 as on the wire; of a composite one with its "-N"
  std::string type;       // "FULL_OBJECT" or "COMPOSITE"
  bool operator==(const Checksum&) const = default;
};

// What a client says about an object. Empty: not said.
struct ObjectAttributes {
  std::string content_type;
  std::string content_encoding;
  std::string content_language;
  std::string content_disposition;
  std::string cache_control;
  std::string expires;   // as sent
  std::string redirect;  // x-amz-website-redirect-location
  NameValues metadata;   // x-amz-meta- names without that prefix, each name once
  NameValues tags;
  std::string storage_class;  // empty: STANDARD
  std::string acl;            // canned name or document
  std::string owner;
  bool operator==(const ObjectAttributes&) const = default;
};

struct PartInfo {
  int number = 0;
  uint64_t size_bytes = 0;
  std::string etag;
  Checksum checksum;
  int64_t modified_us = 0;  // of parts of an upload; 0 once it is complete
};

struct ObjectInfo {
  std::string key;
  std::string version_id = kNullVersion;
  bool is_latest = true;
  bool is_delete_marker = false;  // then size, etag and attributes say nothing
  uint64_t size_bytes = 0;
  std::string etag;  // hex MD5; of N parts hex MD5 of their MD5s with "-N"
  int64_t modified_us = 0;
  Checksum checksum;
  ObjectAttributes attributes;
  int part_count = 0;           // 0: not made of parts
  std::vector<PartInfo> parts;  // only when asked for
};

enum class Versioning : uint8_t { kOff, kEnabled, kSuspended };

struct BucketInfo {
  std::string name;
  int64_t created_us = 0;
  std::string owner;
};

// ---------------------------------------------------------------------------------------------
// Requests and their results
// ---------------------------------------------------------------------------------------------

// Checked inside the transaction that writes, against the current version (a delete marker counts
// as no object).
struct WriteConditions {
  // An etag, or "*". Another etag: kPreconditionFailed; no object: kNoSuchKey.
  std::optional<std::string> if_match;
  // If-None-Match: "*" (any object: kPreconditionFailed), or an etag that must not be the current.
  std::optional<std::string> if_none_match;
};

struct PutRequest {
  std::string key;
  ObjectAttributes attributes;
  std::string etag;
  Checksum checksum;
  WriteConditions conditions;
};

struct PutResult {
  std::string version_id;  // kNullVersion when versioning is off or suspended
  bool versioned = false;  // say x-amz-version-id
  std::string etag;
  int64_t modified_us = 0;
  Checksum checksum;
};

// No object at all satisfies the conditions of a delete.
struct DeleteRequest {
  std::string key;
  std::optional<std::string> version_id;  // absent: the current one, or add a marker
  std::optional<std::string> if_match;
  std::optional<uint64_t> if_match_size_bytes;
  std::optional<int64_t> if_match_modified_seconds;
};

struct DeleteResult {
  bool versioned = false;         // say x-amz-version-id
  std::string version_id;         // removed, or the marker that was made
  bool is_delete_marker = false;  // a marker was made, or the removed version was one
  bool existed = false;           // something was removed or hidden
};

struct CopySource {
  std::string key;
  std::optional<std::string> version_id;
  std::optional<std::string> if_match;
  std::optional<std::string> if_none_match;
  std::optional<int64_t> if_modified_since_seconds;
  std::optional<int64_t> if_unmodified_since_seconds;
};

struct CopyRequest {
  CopySource source;
  std::string key;
  std::optional<ObjectAttributes> attributes;  // absent: those of the source, but owner and acl
  std::optional<NameValues> tags;              // absent: those of the source
  std::optional<std::string> storage_class;    // with `attributes` absent
  std::string owner;
  std::string acl;
  WriteConditions conditions;
};

struct CopyResult {
  PutResult put;
  std::string source_version_id;
  bool source_versioned = false;  // say x-amz-copy-source-version-id
};

// S3's order: keys byte by byte. Everything is strictly after the markers; a common prefix that the
// marker begins with has been listed already.
struct ListRequest {
  std::string prefix;
  std::string delimiter;    // empty: none
  std::string start_after;  // marker, start-after or what next_marker said
  int max_keys = kMaxListEntries;
};

struct ListResult {
  std::vector<ObjectInfo> objects;  // without metadata and parts
  std::vector<std::string> common_prefixes;
  bool is_truncated = false;
  std::string next_marker;  // of a truncated one: the last key or prefix in it
};

struct ListVersionsRequest {
  std::string prefix;
  std::string delimiter;
  std::string key_marker;
  std::string version_id_marker;  // only with key_marker
  int max_keys = kMaxListEntries;
};

struct ListVersionsResult {
  std::vector<ObjectInfo> versions;  // by key, then newest first; delete markers among them
  std::vector<std::string> common_prefixes;
  bool is_truncated = false;
  std::string next_key_marker;
  std::string next_version_id_marker;
};

struct CreateUploadRequest {
  std::string key;
  ObjectAttributes attributes;
  std::string checksum_algorithm;
  std::string checksum_type;
};

struct UploadInfo {
  std::string key;
  std::string upload_id;
  int64_t initiated_us = 0;
  ObjectAttributes attributes;
  std::string checksum_algorithm;
  std::string checksum_type;
};

struct ListUploadsRequest {
  std::string prefix;
  std::string delimiter;
  std::string key_marker;
  std::string upload_id_marker;  // only with key_marker
  int max_uploads = kMaxListEntries;
};

struct ListUploadsResult {
  std::vector<UploadInfo> uploads;  // by key, then oldest first; without attributes but owner and
                                    // storage class
  std::vector<std::string> common_prefixes;
  bool is_truncated = false;
  std::string next_key_marker;
  std::string next_upload_id_marker;
};

struct ListPartsResult {
  UploadInfo upload;
  std::vector<PartInfo> parts;  // by number
  bool is_truncated = false;
  int next_part_number_marker = 0;
};

struct CompletedPart {
  int number = 0;
  std::string etag;
  Checksum checksum;  // value empty: not compared
};

struct CompleteRequest {
  std::string key;
  std::string upload_id;
  std::vector<CompletedPart> parts;
  WriteConditions conditions;
  // The object's checksum; whoever speaks HTTP computes it from ListParts, or has it from the
  // client.
  Checksum checksum;
  std::optional<uint64_t> size_bytes;  // x-amz-mp-object-size: another sum is kInvalidArgument
};

}  // namespace sqlite_s3::server

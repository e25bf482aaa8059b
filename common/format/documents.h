#pragma once
// The JSON objects of a replica: replica.json, timelines, marks, image manifests. Each carries
// "format": 1; a reader refuses a newer one and says so. Parsers treat input as hostile: bounded
// size and depth, every field checked, kCorruption naming the key and the field. The last member,
// "digest", covers all bytes before it, so that damage inside a value is found too. Fields that a
// reader does not know are ignored. Pure functions; thread-safe; nothing throws.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/hash.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace sqlite_s3 {

inline constexpr int kFormatVersion = 1;
inline constexpr uint64_t kMaxDocumentBytes = 16 << 20;

// REQUIRES for Format*: the values obey the rules that Parse* checks (docs/FORMAT.md), else the
// text is one that Parse* refuses.

struct ReplicaDocument {  // replica.json: created once, never changed
  DatabaseId database_id;
  uint32_t page_size = 0;
  ChecksumKey checksum_key;
  int64_t created_us = 0;
  bool operator==(const ReplicaDocument&) const = default;
};

enum class TimelineReason { kFirst, kDiskBehindBucket, kFork, kRestored };
struct TimelineDocument {  // timelines/{tl}.json: created once (if-absent), never changed
  TimelineId timeline;
  TimelineId parent;  // 0 for the first
  Txid parent_txid;   // the state the line starts from; its first TXID is parent_txid + 1
  TimelineReason reason = TimelineReason::kFirst;
  // True when the parent's commits after parent_txid are no longer anybody's: "latest" follows this
  // line. False for a fork: both lines live.
  bool supersedes_parent = false;
  WriterId writer;
  int64_t created_us = 0;
  bool operator==(const TimelineDocument&) const = default;
};

struct MarkDocument {  // marks/{name}.json
  std::string name;
  TimelineId timeline;
  Txid txid;
  int64_t created_us = 0;
  bool operator==(const MarkDocument&) const = default;
};

struct ImagePartInfo {
  uint32_t number = 0;  // of the key
  uint64_t size_bytes = 0;
  Digest digest;
  uint32_t page_count = 0;  // pages held
  bool operator==(const ImagePartInfo&) const = default;
};
struct ImageManifest {  // {tl}/image/{txid}/manifest.json: written last, if-absent
  DatabaseId database_id;
  TimelineId timeline;
  Txid txid;
  int64_t commit_time_us = 0;  // of the TXID
  int64_t created_us = 0;
  uint32_t page_size = 0;
  uint32_t page_count = 0;
  uint64_t db_checksum = 0;
  uint32_t sqlite_version = 0;
  uint64_t nonce = 0;  // of the parts' keys
  std::vector<ImagePartInfo> parts;
  uint64_t hashes_size_bytes =
      0;  // page_count x 8 bytes, LE, hash of page 1, 2, ...; 0 for lock-byte
  Digest hashes_digest;
  bool operator==(const ImageManifest&) const = default;
};

std::string FormatReplicaDocument(const ReplicaDocument& d);
Result<ReplicaDocument> ParseReplicaDocument(std::string_view json, std::string_view key);
std::string FormatTimelineDocument(const TimelineDocument& d);
Result<TimelineDocument> ParseTimelineDocument(std::string_view json, std::string_view key);
std::string FormatMarkDocument(const MarkDocument& d);
Result<MarkDocument> ParseMarkDocument(std::string_view json, std::string_view key);
std::string FormatImageManifest(const ImageManifest& m);
Result<ImageManifest> ParseImageManifest(std::string_view json, std::string_view key);

const char* TimelineReasonName(TimelineReason reason);

}  // namespace sqlite_s3

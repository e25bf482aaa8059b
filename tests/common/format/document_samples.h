#pragma once
// One document of each kind that obeys every rule, for tests and golden files.

#include <string>

#include "common/base/hash.h"
#include "common/format/documents.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3::format_testing {

inline ReplicaDocument SampleReplica() {
  ReplicaDocument d;
  d.database_id = SampleHeader().database_id;
  d.page_size = 4096;
  for (uint8_t i = 0; i < 32; ++i) {
    d.checksum_key.bytes[i] = i;
  }
  d.created_us = kNow;
  return d;
}

inline TimelineDocument SampleTimeline() {
  return {.timeline = {2},
          .parent = {1},
          .parent_txid = {0xfe},
          .reason = TimelineReason::kDiskBehindBucket,
          .supersedes_parent = true,
          .writer = {0x1122334455667788},
          .created_us = kNow + 1};
}

inline MarkDocument SampleMark() {
  return {.name = "before-v2", .timeline = {2}, .txid = {0xff}, .created_us = kNow + 2};
}

inline ImageManifest SampleManifest() {
  ImageManifest m;
  m.database_id = SampleHeader().database_id;
  m.timeline = {2};
  m.txid = {0xff};
  m.commit_time_us = kNow + 2;
  m.created_us = kNow + 3;
  m.page_size = 4096;
  m.page_count = 1000;
  m.db_checksum = 0x8877665544332211;
  m.sqlite_version = 3'040'001;
  m.nonce = 0x00c0ffee00c0ffee;
  m.parts = {{0, 5000, DigestOf(0x11), 600}, {1, 3000, DigestOf(0x22), 400}};
  m.hashes_size_bytes = 8000;
  m.hashes_digest = DigestOf(0x33);
  return m;
}

// `text` of a document, changed before the digest: the same with the digest that fits.
inline std::string ResealedDocument(std::string text) {
  size_t at = text.rfind(",\n  \"digest\": \"");
  if (at == std::string::npos) {
    return text;
  }
  std::string covered = text.substr(0, at);
  return covered + ",\n  \"digest\": \"" + FormatDigest(ComputeDigest(AsBytes(covered))) +
         "\"\n}\n";
}

}  // namespace sqlite_s3::format_testing

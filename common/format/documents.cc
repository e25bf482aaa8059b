#include "common/format/documents.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/time.h"
#include "common/format/document_json.h"
#include "common/format/image_part.h"
#include "common/format/keys.h"
#include "common/format/segment.h"

namespace sqlite_s3 {
namespace {

constexpr TimelineReason kReasons[] = {TimelineReason::kFirst, TimelineReason::kDiskBehindBucket,
                                       TimelineReason::kFork, TimelineReason::kRestored};

std::string Hex64(uint64_t value) { return fmt::format("{:016x}", value); }

void CheckParts(DocumentReader& in, const ImageManifest& m) {
  uint64_t pages = 0;
  int64_t previous = -1;
  for (const ImagePartInfo& part : m.parts) {
    in.Require(int64_t{part.number} > previous, "parts", "numbers must ascend");
    previous = part.number;
    in.Require(part.size_bytes > 0 && part.size_bytes <= kMaxImagePartBytes, "parts",
               "impossible size");
    in.Require(part.page_count > 0, "parts", "a part without pages");
    pages += part.page_count;
  }
  uint64_t lock_byte_pages = m.page_count >= LockBytePage(m.page_size) ? 1 : 0;
  in.Require(pages + lock_byte_pages == m.page_count, "parts",
             "their pages do not make up the image");
}

}  // namespace

const char* TimelineReasonName(TimelineReason reason) {
  switch (reason) {
    case TimelineReason::kFirst:
      return "first";
    case TimelineReason::kDiskBehindBucket:
      return "disk-behind-bucket";
    case TimelineReason::kFork:
      return "fork";
    case TimelineReason::kRestored:
      return "restored";
  }
  return "unknown";
}

std::string FormatReplicaDocument(const ReplicaDocument& d) {
  DocumentJson json = NewDocument("replica");
  json["database_id"] = FormatDatabaseId(d.database_id);
  json["page_size"] = d.page_size;
  json["checksum_key"] = HexEncode(d.checksum_key.bytes);
  json["created"] = FormatTimeUtc(d.created_us);
  return SealDocument(json);
}

Result<ReplicaDocument> ParseReplicaDocument(std::string_view json, std::string_view key) {
  return ReadDocument<ReplicaDocument>(json, key, "replica", [](DocumentReader& in) {
    ReplicaDocument d;
    d.database_id = in.DatabaseIdField("database_id");
    d.page_size = in.U32("page_size");
    d.checksum_key = in.ChecksumKeyField("checksum_key");
    d.created_us = in.Time("created");
    in.Require(IsValidPageSize(d.page_size), "page_size", "not a page size");
    return d;
  });
}

std::string FormatTimelineDocument(const TimelineDocument& d) {
  DocumentJson json = NewDocument("timeline");
  json["timeline"] = FormatTimeline(d.timeline);
  json["parent"] = FormatTimeline(d.parent);
  json["parent_txid"] = FormatTxid(d.parent_txid);
  json["reason"] = TimelineReasonName(d.reason);
  json["supersedes_parent"] = d.supersedes_parent;
  json["writer"] = FormatWriterId(d.writer);
  json["created"] = FormatTimeUtc(d.created_us);
  return SealDocument(json);
}

Result<TimelineDocument> ParseTimelineDocument(std::string_view json, std::string_view key) {
  return ReadDocument<TimelineDocument>(json, key, "timeline", [key](DocumentReader& in) {
    TimelineDocument d;
    d.timeline = in.Timeline("timeline");
    d.parent = in.Timeline("parent");
    d.parent_txid = in.TxidField("parent_txid");
    std::string reason = in.Text("reason");
    auto known = std::ranges::find_if(
        kReasons, [&](TimelineReason r) { return reason == TimelineReasonName(r); });
    if (known != std::end(kReasons)) {
      d.reason = *known;
    }
    d.supersedes_parent = in.Bool("supersedes_parent");
    d.writer = in.Writer("writer");
    d.created_us = in.Time("created");
    in.Require(known != std::end(kReasons), "reason", "unknown");
    in.Require(d.timeline.value != 0, "timeline", "must not be 0");
    in.Require(d.parent < d.timeline, "parent", "must be older than the timeline");
    in.Require(d.parent.value != 0 || !d.parent_txid, "parent_txid", "given without a parent");
    in.Require(d.reason != TimelineReason::kFirst || d.parent.value == 0, "parent",
               "given for a first timeline");
    auto named = keys::ParseTimelineFile(key);
    in.Require(!named || *named == d.timeline, "timeline", "does not fit the key");
    return d;
  });
}

std::string FormatMarkDocument(const MarkDocument& d) {
  DocumentJson json = NewDocument("mark");
  json["name"] = d.name;
  json["timeline"] = FormatTimeline(d.timeline);
  json["txid"] = FormatTxid(d.txid);
  json["created"] = FormatTimeUtc(d.created_us);
  return SealDocument(json);
}

Result<MarkDocument> ParseMarkDocument(std::string_view json, std::string_view key) {
  return ReadDocument<MarkDocument>(json, key, "mark", [key](DocumentReader& in) {
    MarkDocument d;
    d.name = in.Text("name");
    d.timeline = in.Timeline("timeline");
    d.txid = in.TxidField("txid");
    d.created_us = in.Time("created");
    in.Require(keys::ValidateMarkName(d.name).ok(), "name", "not a mark's name");
    in.Require(d.timeline.value != 0, "timeline", "must not be 0");
    in.Require(static_cast<bool>(d.txid), "txid", "must not be 0");
    auto named = keys::ParseMark(key);
    in.Require(!named || *named == d.name, "name", "does not fit the key");
    return d;
  });
}

std::string FormatImageManifest(const ImageManifest& m) {
  DocumentJson json = NewDocument("image");
  json["database_id"] = FormatDatabaseId(m.database_id);
  json["timeline"] = FormatTimeline(m.timeline);
  json["txid"] = FormatTxid(m.txid);
  json["commit_time"] = FormatTimeUtc(m.commit_time_us);
  json["created"] = FormatTimeUtc(m.created_us);
  json["page_size"] = m.page_size;
  json["page_count"] = m.page_count;
  json["db_checksum"] = Hex64(m.db_checksum);
  json["sqlite_version"] = m.sqlite_version;
  json["nonce"] = Hex64(m.nonce);
  json["parts"] = DocumentJson::array();
  for (const ImagePartInfo& part : m.parts) {
    json["parts"].push_back({{"number", part.number},
                             {"size", part.size_bytes},
                             {"digest", FormatDigest(part.digest)},
                             {"pages", part.page_count}});
  }
  json["hashes_size"] = m.hashes_size_bytes;
  json["hashes_digest"] = FormatDigest(m.hashes_digest);
  return SealDocument(json);
}

Result<ImageManifest> ParseImageManifest(std::string_view json, std::string_view key) {
  return ReadDocument<ImageManifest>(json, key, "image", [key](DocumentReader& in) {
    ImageManifest m;
    m.database_id = in.DatabaseIdField("database_id");
    m.timeline = in.Timeline("timeline");
    m.txid = in.TxidField("txid");
    m.commit_time_us = in.Time("commit_time");
    m.created_us = in.Time("created");
    m.page_size = in.U32("page_size");
    m.page_count = in.U32("page_count");
    m.db_checksum = in.Hex("db_checksum");
    m.sqlite_version = in.U32("sqlite_version");
    m.nonce = in.Hex("nonce");
    in.EachOf("parts", [&](DocumentReader& part) {
      m.parts.push_back({.number = part.U32("number"),
                         .size_bytes = part.U64("size"),
                         .digest = part.DigestField("digest"),
                         .page_count = part.U32("pages")});
    });
    m.hashes_size_bytes = in.U64("hashes_size");
    m.hashes_digest = in.DigestField("hashes_digest");
    in.Require(m.timeline.value != 0, "timeline", "must not be 0");
    in.Require(static_cast<bool>(m.txid), "txid", "must not be 0");
    in.Require(m.page_count > 0 && m.page_count <= kMaxPageCount, "page_count", "impossible");
    in.Require(m.hashes_size_bytes == uint64_t{m.page_count} * 8, "hashes_size",
               "must be 8 bytes per page");
    in.Require(IsValidPageSize(m.page_size), "page_size", "not a page size");
    if (in.ok()) {
      CheckParts(in, m);
    }
    auto named = keys::ParseImageManifest(key);
    in.Require(!named || (named->timeline == m.timeline && named->txid == m.txid), "txid",
               "does not fit the key");
    return m;
  });
}

}  // namespace sqlite_s3

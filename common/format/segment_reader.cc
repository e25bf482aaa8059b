#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "common/format/keys.h"
#include "common/format/segment.h"
#include "common/format/segment_rules.h"

namespace sqlite_s3 {
namespace {

// Where the known sections lie.
struct Sections {
  ByteSpan commits;
  ByteSpan pages;
  ByteSpan statements;  // empty: none
};

Status Corrupt(std::string what) { return CorruptionError(std::move(what)); }

template <size_t N>
std::array<uint8_t, N> ReadArray(ByteReader& in) {
  std::array<uint8_t, N> out{};
  ByteSpan raw = in.Raw(N);
  std::copy(raw.begin(), raw.end(), out.begin());
  return out;
}

// What every version must keep: the magic and the version stand first.
Status CheckVersion(ByteSpan bytes) {
  ByteReader in(bytes);
  ByteSpan magic = in.Raw(sizeof(kSegmentMagic));
  uint16_t version = in.U16();
  if (!in.ok() || !std::equal(magic.begin(), magic.end(), kSegmentMagic)) {
    return Corrupt("not a segment");
  }
  if (version > kSegmentVersion) {
    return UnimplementedError(
        fmt::format("segment of format version {}, this program reads up to {}, hint: use a newer "
                    "version of it",
                    version, kSegmentVersion));
  }
  if (version == 0) {
    return Corrupt("segment of format version 0");
  }
  return Status::Ok();
}

SegmentHeader ReadHeader(ByteReader& in) {
  SegmentHeader h;
  (void)in.Raw(sizeof(kSegmentMagic) + sizeof(kSegmentVersion));  // checked before
  h.kind = static_cast<SegmentKind>(in.U8());
  uint8_t page_size_log2 = in.U8();
  h.page_size = page_size_log2 < 32 ? uint32_t{1} << page_size_log2 : 0;
  h.sqlite_version = in.U32();
  h.timeline.value = in.U32();
  h.database_id.bytes = ReadArray<16>(in);
  h.first_txid.value = in.U64();
  h.writer.value = in.U64();
  h.predecessor.bytes = ReadArray<16>(in);
  h.start_checksum = in.U64();
  h.start_page_count = in.U32();
  h.commit_count = in.U32();
  h.end.salt1 = in.U32();
  h.end.salt2 = in.U32();
  h.end.frame = in.U32();
  h.end.cksum1 = in.U32();
  h.end.cksum2 = in.U32();
  h.key_id = in.U16();
  return h;
}

// `body`: everything between the header and the digest.
Result<Sections> ReadSections(ByteSpan body) {
  size_t table_size = body.empty() ? 0 : body.back();
  if (table_size + 1 > body.size()) {
    return Corrupt("section table is not whole");
  }
  ByteSpan sections = body.first(body.size() - 1 - table_size);
  ByteReader table(body.subspan(sections.size(), table_size));
  ByteReader content(sections);
  Sections out;
  bool have_commits = false;
  bool have_pages = false;
  int previous = 0;
  while (table.remaining() > 0) {
    uint8_t id = table.U8();
    uint64_t size_bytes = table.Varint();
    int order = id & ~kOptionalSection;
    if (!table.ok() || order <= previous) {
      return Corrupt("section table is malformed");
    }
    previous = order;
    if (size_bytes > content.remaining()) {
      return Corrupt(fmt::format("section {} is not whole", order));
    }
    ByteSpan section = content.Raw(static_cast<size_t>(size_bytes));
    if (id == kSectionCommits) {
      out.commits = section;
      have_commits = true;
    } else if (id == kSectionPages) {
      out.pages = section;
      have_pages = true;
    } else if (id == kSectionStatements) {
      out.statements = section;
    } else if ((id & kOptionalSection) == 0) {
      return UnimplementedError(fmt::format(
          "segment with section {}, unknown here, hint: use a newer version of the program",
          order));
    }
  }
  if (!have_commits || !have_pages || content.remaining() != 0) {
    return Corrupt("sections do not make up the object");
  }
  return out;
}

Status ReadPages(ByteReader& in, CommitRecord& record) {
  uint64_t count = in.Varint();
  if (!in.ok() || count > in.remaining()) {  // a page takes a byte or more
    return Corrupt(fmt::format("impossible number of pages {}", count));
  }
  record.pages.reserve(static_cast<size_t>(count));
  uint64_t page = 0;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t delta = in.Varint();
    if (!in.ok() || delta == 0 || delta > kMaxPageCount - page) {
      return Corrupt(fmt::format("bad page number after page {}", page));
    }
    page += delta;
    record.pages.push_back(static_cast<PageNumber>(page));
  }
  return Status::Ok();
}

Status ReadParts(ByteReader& in, CommitRecord& record) {
  uint64_t count = in.Varint();
  if (!in.ok() || count > in.remaining() / kMinPartRefBytes) {
    return Corrupt(fmt::format("impossible number of parts {}", count));
  }
  record.parts.reserve(static_cast<size_t>(count));
  for (uint64_t i = 0; i < count; ++i) {
    PartRef part;
    part.nonce = in.U64();
    uint64_t number = in.Varint();
    part.size_bytes = in.Varint();
    part.digest.bytes = ReadArray<16>(in);
    uint64_t chunks = in.Varint();
    if (!in.ok() || number > std::numeric_limits<uint32_t>::max() ||
        chunks > std::numeric_limits<uint32_t>::max()) {
      return Corrupt("a part is malformed");
    }
    part.number = static_cast<uint32_t>(number);
    part.chunk_count = static_cast<uint32_t>(chunks);
    record.parts.push_back(part);
  }
  return Status::Ok();
}

// Reads records one after the other; keeps what the next one is relative to.
class TableReader {
 public:
  TableReader(const SegmentHeader& header, const Sections& sections)
      : page_size_(header.page_size),
        in_(sections.commits),
        data_(sections.pages),
        page_count_(header.start_page_count) {}

  Status Next(CommitRecord& record, ByteSpan& chunks) {
    // Wraps instead of overflowing; the rules refuse whatever is not a time.
    time_us_ += static_cast<uint64_t>(in_.SignedVarint());
    record.time_us = static_cast<int64_t>(time_us_);
    record.flags = in_.U8();
    uint64_t page_count = page_count_ + static_cast<uint64_t>(in_.SignedVarint());
    uint64_t frames = in_.Varint();
    record.db_checksum = in_.U64();
    if (!in_.ok()) {
      return Corrupt("commit table is malformed");
    }
    if (page_count > kMaxPageCount || frames > std::numeric_limits<uint32_t>::max()) {
      return Corrupt("impossible page count or number of WAL frames");
    }
    page_count_ = page_count;
    record.page_count = static_cast<uint32_t>(page_count);
    record.wal_frames = static_cast<uint32_t>(frames);
    RETURN_IF_ERROR(ReadPages(in_, record));
    uint64_t data_bytes = 0;
    bool in_parts = (record.flags & kCommitInParts) != 0;
    if (in_parts) {
      RETURN_IF_ERROR(ReadParts(in_, record));
    } else {
      data_bytes = in_.Varint();
    }
    if (!in_.ok() || data_bytes > data_.remaining()) {
      return Corrupt("page data is not whole");
    }
    if (std::string broken = BrokenRecordRule(record, page_size_); !broken.empty()) {
      return Corrupt(std::move(broken));
    }
    chunks = data_.Raw(static_cast<size_t>(data_bytes));
    return CheckChunks(chunks, in_parts ? 0 : ChunkCount(record.pages.size(), page_size_));
  }

  Status AtEnd() const {
    if (in_.remaining() != 0 || data_.remaining() != 0) {
      return Corrupt("bytes after the last commit");
    }
    return Status::Ok();
  }

 private:
  uint32_t page_size_;
  ByteReader in_;
  ByteReader data_;
  uint64_t time_us_ = 0;
  uint64_t page_count_;
};

Status CheckKey(const SegmentHeader& h, std::string_view key) {
  bool fits = true;
  if (auto log = keys::ParseLogSegment(key)) {
    fits = h.kind == SegmentKind::kLog && log->timeline == h.timeline && log->first == h.first_txid;
  } else if (auto rollup = keys::ParseRollup(key)) {
    fits = h.kind == SegmentKind::kRollup && rollup->timeline == h.timeline &&
           rollup->first == h.first_txid && rollup->last == h.last_txid();
  }
  if (!fits) {
    return Corrupt(fmt::format("a segment of timeline {} from TXID {} lies under a foreign key",
                               FormatTimeline(h.timeline), FormatTxid(h.first_txid)));
  }
  return Status::Ok();
}

Status Parse(ByteSpan bytes, std::string_view key, Segment& out) {
  RETURN_IF_ERROR(CheckVersion(bytes));
  if (bytes.size() < kSegmentHeaderBytes + 1 + kDigestBytes) {
    return Corrupt("segment is not whole");
  }
  if (bytes.size() > kMaxSegmentBytes) {
    return Corrupt(
        fmt::format("segment of {} bytes, at most {} are allowed", bytes.size(), kMaxSegmentBytes));
  }
  std::optional<Digest> digest = SegmentDigest(bytes);
  if (!digest) {
    return Corrupt("the digest at the end does not fit the bytes");
  }
  out.digest = *digest;
  ByteSpan covered = bytes.first(bytes.size() - kDigestBytes);
  ByteReader in(covered);
  out.header = ReadHeader(in);
  if (std::string broken = BrokenHeaderRule(out.header); !broken.empty()) {
    return Corrupt(std::move(broken));
  }
  if (out.header.key_id != 0) {
    return UnimplementedError(fmt::format(
        "encrypted segment (key {}), hint: use a newer version of the program", out.header.key_id));
  }
  ASSIGN_OR_RETURN(Sections sections, ReadSections(covered.subspan(kSegmentHeaderBytes)));
  uint32_t count = out.header.commit_count;
  if (count == 0 || count > sections.commits.size() / kMinRecordBytes) {
    return Corrupt(fmt::format("impossible number of commits {}", count));
  }
  RETURN_IF_ERROR(CheckKey(out.header, key));
  out.commits.resize(count);
  out.chunk_data.resize(count);
  TableReader table(out.header, sections);
  for (uint32_t i = 0; i < count; ++i) {
    if (Status s = table.Next(out.commits[i], out.chunk_data[i]); !s.ok()) {
      return s.WithContext("commit " + FormatTxid({out.header.first_txid.value + i}));
    }
  }
  out.statements = sections.statements;
  out.object_size_bytes = bytes.size();
  return table.AtEnd();
}

}  // namespace

std::optional<Digest> SegmentDigest(ByteSpan object) {
  if (object.size() < kDigestBytes) {
    return std::nullopt;
  }
  Digest digest = ComputeDigest(object.first(object.size() - kDigestBytes));
  ByteSpan stored = object.last(kDigestBytes);
  bool fits = std::equal(stored.begin(), stored.end(), digest.bytes.begin());
  return fits ? std::optional(digest) : std::nullopt;
}

Result<Segment> ParseSegment(Bytes bytes, std::string_view key) {
  Segment segment;
  segment.bytes = std::move(bytes);  // first: the spans made below point into it
  if (Status s = Parse(segment.bytes, key, segment); !s.ok()) {
    return s.WithContext(key);
  }
  return segment;
}

Result<Segment> ParseSegmentTable(Bytes bytes, std::string_view key) {
  ASSIGN_OR_RETURN(Segment segment, ParseSegment(std::move(bytes), key));
  segment.chunk_data = {};
  segment.statements = {};
  segment.bytes = {};
  return segment;
}

}  // namespace sqlite_s3

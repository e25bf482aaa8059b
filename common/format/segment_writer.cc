#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "common/format/segment.h"
#include "common/format/segment_rules.h"

namespace sqlite_s3 {
namespace {

// Two sections of an id and a length of at most 4 bytes each, the table's size, the digest; and the
// statements, where there are any.
constexpr size_t kTailBytes = 2 * 5 + 1 + kDigestBytes;
constexpr size_t kStatementsTailBytes = 5;
constexpr size_t kMinGrowthBytes = 16 << 10;

void WriteHeader(const SegmentHeader& h, ByteWriter& out) {
  for (uint8_t b : kSegmentMagic) {
    out.U8(b);
  }
  out.U16(kSegmentVersion);
  out.U8(static_cast<uint8_t>(h.kind));
  out.U8(static_cast<uint8_t>(std::countr_zero(h.page_size)));
  out.U32(h.sqlite_version);
  out.U32(h.timeline.value);
  out.Raw(h.database_id.bytes);
  out.U64(h.first_txid.value);
  out.U64(h.writer.value);
  out.Raw(h.predecessor.bytes);
  out.U64(h.start_checksum);
  out.U32(h.start_page_count);
  out.U32(h.commit_count);
  out.U32(h.end.salt1);
  out.U32(h.end.salt2);
  out.U32(h.end.frame);
  out.U32(h.end.cksum1);
  out.U32(h.end.cksum2);
  out.U16(static_cast<uint16_t>(h.key_id));
}

}  // namespace

SegmentBuilder::SegmentBuilder(const SegmentHeader& header)
    : header_(header), prev_page_count_(header.start_page_count) {
  header_.commit_count = 0;
}

Status SegmentBuilder::Add(const CommitRecord& record, ByteSpan chunks) {
  header_.commit_count = count_ + 1;  // so that the rule sees whether the TXID still fits
  std::string broken = BrokenHeaderRule(header_);
  header_.commit_count = count_;
  if (broken.empty()) {
    broken = BrokenRecordRule(record, header_.page_size);
  }
  if (!broken.empty()) {
    return InvalidArgumentError(fmt::format("commit {}: {}", FormatTxid(next_txid()), broken));
  }
  bool in_parts = (record.flags & kCommitInParts) != 0;
  uint32_t chunk_count = in_parts ? 0 : ChunkCount(record.pages.size(), header_.page_size);
  if (Status s = CheckChunks(chunks, chunk_count); !s.ok()) {
    return InvalidArgumentError(fmt::format("commit {}: {}", FormatTxid(next_txid()), s.message()));
  }
  size_t worst = 64 + record.pages.size() * 5 + record.parts.size() * 48 + chunks.size();
  if (size_bytes() + worst > kMaxSegmentBytes || count_ == std::numeric_limits<uint32_t>::max()) {
    return ResourceExhaustedError(fmt::format(
        "commit {} does not fit the segment any more, hint: cut it, or put its pages into parts",
        FormatTxid(next_txid())));
  }

  ByteWriter table(table_);
  // Times and page counts of neighbours are close: the difference is one to three bytes.
  table.SignedVarint(record.time_us - prev_time_us_);
  table.U8(record.flags);
  table.SignedVarint(int64_t{record.page_count} - int64_t{prev_page_count_});
  table.Varint(record.wal_frames);
  table.U64(record.db_checksum);
  table.Varint(record.pages.size());
  PageNumber previous = 0;
  for (PageNumber page : record.pages) {
    table.Varint(page - previous);
    previous = page;
  }
  if (in_parts) {
    table.Varint(record.parts.size());
    for (const PartRef& part : record.parts) {
      table.U64(part.nonce);
      table.Varint(part.number);
      table.Varint(part.size_bytes);
      table.Raw(part.digest.bytes);
      table.Varint(part.chunk_count);
    }
  } else {
    table.Varint(chunks.size());
  }
  if (data_.capacity() - data_.size() < chunks.size()) {
    // Doubling would hold twice a segment of several MiB in somebody else's process.
    data_.reserve(data_.size() + chunks.size() + std::max(data_.size() / 4, kMinGrowthBytes));
  }
  ByteWriter(data_).Raw(chunks);
  ++count_;
  header_.commit_count = count_;
  prev_page_count_ = record.page_count;
  prev_time_us_ = record.time_us;
  return Status::Ok();
}

uint32_t SegmentBuilder::commit_count() const { return count_; }

size_t SegmentBuilder::size_bytes() const {
  return kSegmentHeaderBytes + table_.size() + data_.size() + kTailBytes;
}

Txid SegmentBuilder::next_txid() const { return {header_.first_txid.value + count_}; }

Result<SegmentBuilder::Finished> SegmentBuilder::Finish(const WalPosition& end,
                                                        ByteSpan statements) {
  if (count_ == 0) {
    return InvalidArgumentError("a segment without commits");
  }
  if (size_bytes() + kStatementsTailBytes + statements.size() > kMaxSegmentBytes) {
    return ResourceExhaustedError("the statements do not fit the segment any more");
  }
  header_.end = end;
  Finished finished;
  finished.header = header_;
  Bytes& bytes = finished.bytes;
  ByteWriter out(bytes);
  WriteHeader(header_, out);
  bytes.reserve(size_bytes() + kStatementsTailBytes + statements.size());
  out.Raw(table_);
  out.Raw(data_);
  out.Raw(statements);
  size_t section_table = bytes.size();
  out.U8(kSectionCommits);
  out.Varint(table_.size());
  out.U8(kSectionPages);
  out.Varint(data_.size());
  if (!statements.empty()) {
    out.U8(kSectionStatements);
    out.Varint(statements.size());
  }
  out.U8(static_cast<uint8_t>(bytes.size() - section_table));
  finished.digest = ComputeDigest(bytes);
  out.Raw(finished.digest.bytes);
  table_ = {};
  data_ = {};
  count_ = 0;
  return finished;
}

}  // namespace sqlite_s3

#pragma once
// A segment: one object with one or more consecutive commits; the unit of upload, the only commit
// point, and the link of the chain. Offsets are in docs/FORMAT.md; this header has the meaning.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace sqlite_s3 {

// The identity of a WAL prefix (facts: fileformat2 section 4.4): after `frame` frames of the WAL
// with these salts, the running checksum is (cksum1, cksum2). frame 0 = nothing of this WAL.
struct WalPosition {
  uint32_t salt1 = 0;
  uint32_t salt2 = 0;
  uint32_t frame = 0;
  uint32_t cksum1 = 0;
  uint32_t cksum2 = 0;
  bool operator==(const WalPosition&) const = default;
};

inline constexpr uint16_t kSegmentVersion = 1;
inline constexpr uint32_t kMaxPageCount = 0xFFFFFFFE;  // SQLite's own limit (fileformat2, 1.3)
inline constexpr uint32_t kMinPageSize = 512;
inline constexpr uint32_t kMaxPageSize = 65536;
enum class SegmentKind : uint8_t { kLog = 1, kRollup = 2 };

// What a commit record says about itself.
enum CommitFlag : uint8_t {
  kCommitOrigin = 1,  // the first of a replica: no pages; the state is the image of this TXID
  kCommitResync = 2,  // what differed after a gap, as one restore point
  kCommitMerged = 4,  // several commits merged under overload
  kCommitTimeUpperBound = 8,  // time_us is when it was captured, not when it was made
  kCommitWholePages = 16,     // no page has a base: the capture could not be sure of one
  kCommitInParts = 32,        // the page data lies in part objects named by the record
};

// Pages of one commit too big for the segment lie in {tl}/part/{nonce}-{n}, uploaded before it.
struct PartRef {
  uint64_t nonce = 0;
  uint32_t number = 0;
  uint64_t size_bytes = 0;
  Digest digest;
  uint32_t chunk_count = 0;
  bool operator==(const PartRef&) const = default;
};

struct CommitRecord {
  int64_t time_us = 0;      // since 1970 UTC; 0..kMaxTimeMicros
  uint8_t flags = 0;        // CommitFlag bits
  uint32_t page_count = 0;  // database size after the commit, in pages; > 0
  uint32_t wal_frames = 0;  // frames it took in the WAL; 0 for origin and resync
  // Strictly ascending, each <= page_count, never the lock-byte page.
  std::vector<PageNumber> pages;
  uint64_t db_checksum = 0;    // of the whole database after this commit
  std::vector<PartRef> parts;  // only with kCommitInParts
  bool operator==(const CommitRecord&) const = default;
};

struct SegmentHeader {
  SegmentKind kind = SegmentKind::kLog;
  uint32_t sqlite_version = 0;  // sqlite3_libversion_number() of the writer
  uint32_t page_size = 0;       // bytes
  DatabaseId database_id;
  TimelineId timeline;
  Txid first_txid;
  uint32_t commit_count = 0;  // >= 1
  WriterId writer;
  Digest predecessor;  // of the segment before, also across timelines; all zero for the first
  uint32_t start_page_count = 0;  // state before the first commit
  uint64_t start_checksum = 0;
  WalPosition end;      // where the WAL stood after the last commit; frame 0 = unknown
  uint32_t key_id = 0;  // 0 = not encrypted; at most 65535
  Txid last_txid() const { return {first_txid.value + commit_count - 1}; }
  bool operator==(const SegmentHeader&) const = default;
};

// --- page data -----------------------------------------------------------------------------------
// The pages of a commit are coded in chunks of PagesPerChunk(page_size) pages in the order of
// CommitRecord::pages (the last one shorter). A chunk is one zstd frame over the new versions,
// concatenated; its prefix (ZSTD_CCtx_refPrefix) is the previous versions of those of its pages
// that have a base, concatenated in the same order. A page has a base iff the commit lacks
// kCommitWholePages and its number is <= the page count before the commit.
inline constexpr uint32_t kChunkBytes = 1 << 20;  // raw bytes of a chunk: 256 pages of 4 KiB
constexpr uint32_t PagesPerChunk(uint32_t page_size) { return kChunkBytes / page_size; }
constexpr uint32_t ChunkCount(size_t pages, uint32_t page_size) {
  return static_cast<uint32_t>((pages + PagesPerChunk(page_size) - 1) / PagesPerChunk(page_size));
}
inline bool PageHasBase(PageNumber page, uint32_t page_count_before, uint8_t commit_flags) {
  return (commit_flags & kCommitWholePages) == 0 && page <= page_count_before;
}

// Compresses chunks. Keeps its context between calls; one thread at a time.
class ChunkEncoder {
 public:
  explicit ChunkEncoder(int level);  // zstd level 1..19
  ~ChunkEncoder();
  ChunkEncoder(const ChunkEncoder&) = delete;
  ChunkEncoder& operator=(const ChunkEncoder&) = delete;
  // Appends the chunk (its length as a varint, then the zstd frame) to `out`. `pages` is the new
  // versions, concatenated, 1..kChunkBytes bytes; `bases` the previous versions, may be empty.
  Status Append(ByteSpan pages, ByteSpan bases, Bytes& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Decompresses chunks from hostile input: output size is fixed by the caller, window bounded.
class ChunkDecoder {
 public:
  ChunkDecoder();
  ~ChunkDecoder();
  ChunkDecoder(const ChunkDecoder&) = delete;
  ChunkDecoder& operator=(const ChunkDecoder&) = delete;
  // Takes the next chunk off `in` (length varint + frame) and fills exactly `pages`. kCorruption if
  // the chunk is not whole, or does not decode to exactly pages.size() bytes.
  Status Next(ByteReader& in, ByteSpan bases, std::span<uint8_t> pages);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether `chunks` is exactly `count` whole chunks by their lengths; nothing is decoded. What lies
// in a part object is checked with this and its chunk_count. kCorruption.
Status CheckChunks(ByteSpan chunks, uint32_t count);

// --- writing -------------------------------------------------------------------------------------
// Collects commits and makes the object. One thread at a time.
class SegmentBuilder {
 public:
  // `header`: everything but commit_count and end.
  explicit SegmentBuilder(const SegmentHeader& header);
  // `chunks`: the page data as ChunkEncoder made it (ChunkCount(...) chunks); empty when the record
  // has parts or no pages. kInvalidArgument when the record breaks a rule of the format (unsorted
  // pages, page beyond page_count, lock-byte page, parts without the flag, ...): an illegal segment
  // is never written. kResourceExhausted when the segment would pass kMaxSegmentBytes. The builder
  // is unchanged after an error.
  Status Add(const CommitRecord& record, ByteSpan chunks);
  uint32_t commit_count() const;
  size_t size_bytes() const;  // of the object so far, within a few bytes
  Txid next_txid() const;     // of the next commit to be added
  // REQUIRES: at least one commit. The builder is spent afterwards. `end`: see SegmentHeader.
  // `statements`: the section as EncodeStatements made it; empty: there is none.
  struct Finished {
    Bytes bytes;
    Digest digest;  // what the successor names as predecessor; see Segment::digest
    SegmentHeader header;
  };
  Result<Finished> Finish(const WalPosition& end, ByteSpan statements = {});

 private:
  SegmentHeader header_;
  Bytes table_;
  Bytes data_;
  uint32_t count_ = 0;
  uint32_t prev_page_count_ = 0;
  int64_t prev_time_us_ = 0;
};

// --- reading -------------------------------------------------------------------------------------
// A parsed segment. Every record was checked against the rules of the format before any is shown.
struct Segment {
  SegmentHeader header;
  std::vector<CommitRecord> commits;
  std::vector<ByteSpan> chunk_data;  // per commit, into `bytes`; empty for parts
  ByteSpan statements;               // into `bytes`, for ParseStatements; empty: none
  // Of the object: the digest of all bytes but the last 16, which are this digest. Not
  // ComputeDigest(whole object); SegmentDigest() has it.
  Digest digest;
  Bytes bytes;  // owns what chunk_data points to; move only as a whole
  uint64_t object_size_bytes = 0;
};

inline constexpr uint64_t kMaxSegmentBytes = uint64_t{256} << 20;

// The digest a segment carries in its last 16 bytes, if it fits all bytes before; nothing
// otherwise. For "is what lies under this key what I sent": compare with Finished::digest.
std::optional<Digest> SegmentDigest(ByteSpan object);

// Takes a whole object. kCorruption naming `key` and what is wrong; kUnimplemented for a newer
// format version, or for an encrypted segment (key_id != 0).
Result<Segment> ParseSegment(Bytes bytes, std::string_view key);
// The same checks, also on a whole object; only header, commits and digest are kept, as for lists
// and plans: chunk_data, statements and bytes are empty.
Result<Segment> ParseSegmentTable(Bytes bytes, std::string_view key);

}  // namespace sqlite_s3

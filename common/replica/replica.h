#pragma once
// One replica as a whole, over any ObjectStore: open or create it, list its timelines, marks and
// images, find the head, follow the chain. The meeting place of format and store, shared by agent
// and restore. Reading only checks and never repairs. Not thread-safe unless said.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/format/documents.h"
#include "common/format/segment.h"
#include "common/store/object_store.h"

namespace sqlite_s3 {

// What a segment says, without its pages: what plans and lists are made of.
struct SegmentSummary {
  std::string key;
  SegmentHeader header;
  Digest digest;
  uint64_t size_bytes = 0;
  std::vector<CommitRecord> commits;
};

// The end of a timeline: the last segment that exists, and the state after its last commit.
struct Head {
  TimelineId timeline;
  Txid txid;                 // == parent_txid of the timeline when it has no segment yet
  Digest digest;             // of the segment that holds txid (perhaps on a parent timeline)
  WriterId writer;           // who wrote that segment
  int64_t commit_time_us = 0;
  uint32_t page_count = 0;
  uint64_t db_checksum = 0;
  WalPosition wal;           // frame 0 when not of this timeline
  std::string segment_key;   // empty: the replica has no segment at all
};

class Replica {
 public:
  // `store` must outlive the replica.
  explicit Replica(ObjectStore& store) : store_(store) {}

  // Reads replica.json. kNotFound when there is no replica (and "hint: ..."), kUnimplemented when it
  // is of a newer format.
  Status Open();
  // Creates replica.json and timeline 1 if absent. kAlreadyExists when a replica is there.
  Status Create(const ReplicaDocument& document, WriterId writer);

  const ReplicaDocument& document() const { return document_; }
  ObjectStore& store() { return store_; }

  // All timelines in ascending order; checked: parents exist and are older, TXIDs fit.
  Result<std::vector<TimelineDocument>> ListTimelines();
  // The line that "latest" means: the only leaf that no other line supersedes. kFailedPrecondition
  // listing them when several live ("hint: choose with --timeline").
  static Result<TimelineId> LatestTimeline(const std::vector<TimelineDocument>& timelines);
  // (timeline, last TXID of it that belongs to the history of `timeline`), oldest first; the last
  // entry is `timeline` itself with its TXID absent (open end).
  struct Ancestor {
    TimelineId timeline;
    Txid first;                // first TXID of the line
    std::optional<Txid> last;  // where the next line leaves it
  };
  static Result<std::vector<Ancestor>> Ancestry(const std::vector<TimelineDocument>& timelines,
                                                TimelineId timeline);

  // The head of `timeline`, by LIST from `after` (a TXID known to exist; cheap when close to the head).
  Result<Head> FindHead(const std::vector<TimelineDocument>& timelines, TimelineId timeline,
                        Txid after = {});

  // The chain from the segment that holds `from` up to the one that holds `to` (absent: the head), in
  // order, over the ancestry of `timeline`; roll-ups win over the small segments they replace.
  // Every link is checked: TXIDs dense, predecessor digests, page counts and checksums carried over,
  // database id, page size, timeline. kCorruption naming the key and the best TXID before the damage;
  // kNotFound naming the gap. Only tables are kept: pages are fetched again when applied.
  // On error, if `good` is given, it receives the part of the chain before the damage.
  Result<std::vector<SegmentSummary>> ReadChain(const std::vector<TimelineDocument>& timelines,
                                                TimelineId timeline, Txid from,
                                                std::optional<Txid> to,
                                                std::vector<SegmentSummary>* good = nullptr);
  // The whole segment, digest and place checked against `expected`.
  Result<Segment> ReadSegment(const SegmentSummary& expected);
  Result<Segment> ReadSegment(TimelineId timeline, Txid first);
  // Bytes of a part, checked. Thread-safe if the store is.
  Result<Bytes> ReadPart(TimelineId timeline, const PartRef& part);

  // Images with a manifest, ascending by TXID. A damaged manifest is skipped and named in `problems`.
  Result<std::vector<ImageManifest>> ListImages(TimelineId timeline,
                                                std::vector<std::string>* problems = nullptr);
  // Reads and checks the page hashes of an image (page_count entries).
  Result<std::vector<uint64_t>> ReadImageHashes(const ImageManifest& image);

  Result<std::vector<MarkDocument>> ListMarks();
  Result<MarkDocument> ReadMark(const std::string& name);  // kNotFound lists nothing
  // Creates the mark; kAlreadyExists when the name is taken by another TXID, OK when by the same.
  Status WriteMark(const MarkDocument& mark);

 private:
  ObjectStore& store_;
  ReplicaDocument document_;
};

}  // namespace sqlite_s3

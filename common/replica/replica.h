#pragma once
// One replica as a whole, over any ObjectStore: open or create it, list its timelines, marks and
// images, find the head, follow the chain. The meeting place of format and store, shared by agent
// and restore. Reading only checks and never repairs. Not thread-safe unless said.
//
// Errors of reading are the store's, and: kCorruption for bytes that are not what they must be,
// kNotFound for an object that is not there, kUnimplemented for a newer format. All name the key.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
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
  // The last commit that belongs to the history asked for: before header.last_txid() where a child
  // line leaves its parent in the middle of a segment. `commits` ends with it.
  Txid last_txid;
  std::vector<CommitRecord> commits;
};

// What stopped a chain or a plan: more than a Status can say, for exit codes and ways out.
struct Damage {
  std::string key;            // the object; empty: nothing was damaged
  bool missing = false;       // it is not there (a gap); else its bytes are wrong
  std::optional<Txid> best;   // the last restore point before it that can be reached, if any
  std::optional<Txid> image;  // it belongs to the image of this TXID: an older image may do
};

// The end of a timeline: the last segment that exists, and the state after its last commit.
struct Head {
  TimelineId timeline;
  Txid txid;        // == parent_txid of the timeline when it has no segment yet
  Digest digest;    // of the segment that holds txid (perhaps on a parent timeline)
  WriterId writer;  // who wrote that segment
  int64_t commit_time_us = 0;
  uint32_t page_count = 0;
  uint64_t db_checksum = 0;
  WalPosition wal;          // frame 0 when not of this timeline
  std::string segment_key;  // empty: the replica has no segment at all
};

class Replica {
 public:
  // `store` must outlive the replica.
  explicit Replica(ObjectStore& store) : store_(store) {}
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // How many objects ReadChain, PlanRestore and ListImages fetch at once, on threads of their own
  // (all signals blocked) that end before the call returns. 1, the default, starts no thread.
  void set_parallelism(int objects) { parallelism_ = objects; }
  int parallelism() const { return parallelism_; }
  // Segments that a plan or chain read are kept up to about this many bytes, and ReadSegment hands
  // them out (once) without a second fetch. 0, the default, keeps nothing.
  void set_keep_bytes(uint64_t bytes) { keep_limit_bytes_ = bytes; }

  // Reads replica.json. kNotFound when there is no replica (and "hint: ..."), kUnimplemented when
  // it is of a newer format.
  Status Open();
  // Creates timeline 1, then replica.json: a replica exists when that does, so that a crash between
  // the two leaves nothing a second try could not complete. kAlreadyExists when a replica is there.
  Status Create(const ReplicaDocument& document, WriterId writer);

  const ReplicaDocument& document() const { return document_; }
  ObjectStore& store() { return store_; }

  // All timelines in ascending order; checked: parents exist and are older.
  Result<std::vector<TimelineDocument>> ListTimelines();
  // The line that "latest" means: the only leaf that no other line supersedes. kFailedPrecondition
  // listing them when several live ("hint: choose with --timeline").
  static Result<TimelineId> LatestTimeline(const std::vector<TimelineDocument>& timelines);
  // (timeline, last TXID of it that belongs to the history of `timeline`), oldest first; the last
  // entry is `timeline` itself with its TXID absent (open end). Lines that were left before their
  // first commit are not in it (a line may name a parent and a TXID of that parent's own parent).
  // kNotFound when there is no such timeline.
  struct Ancestor {
    TimelineId timeline;
    Txid first;                // first TXID of the line
    std::optional<Txid> last;  // where the next line leaves it
  };
  static Result<std::vector<Ancestor>> Ancestry(const std::vector<TimelineDocument>& timelines,
                                                TimelineId timeline);

  // The head of `timeline`, by LIST from near `after` (a TXID known to exist, or none): a few LISTs
  // however long the log is, and one GET. Does not look for gaps before the head: ReadChain does.
  // A line without commits of its own has its parent's state at parent_txid; kNotFound if that is
  // missing. An empty replica has TXID 0 and an empty segment_key.
  Result<Head> FindHead(const std::vector<TimelineDocument>& timelines, TimelineId timeline,
                        Txid after = {});

  // The chain from the segment that holds `from` up to the one that holds `to` (absent: the head),
  // in order, over the ancestry of `timeline`; roll-ups win over the small segments they replace.
  // Every link is checked: TXIDs dense, predecessor digests, page counts and checksums carried
  // over, database id, page size, timeline. (The segment after a roll-up names a digest that went
  // with the small segments: there the state alone, page count and checksum, links the two.) Empty
  // when `from` is just past the head and `to` is absent. kCorruption naming the key and the best
  // TXID before the damage; kNotFound naming the gap, or `to` when the log ends before it. On
  // error, if given, `good` receives the part of the chain before the damage, and `damage` what
  // stopped it.
  Result<std::vector<SegmentSummary>> ReadChain(const std::vector<TimelineDocument>& timelines,
                                                TimelineId timeline, Txid from,
                                                std::optional<Txid> to,
                                                std::vector<SegmentSummary>* good = nullptr,
                                                Damage* damage = nullptr);
  // The whole segment, digest and place checked against `expected`. Thread-safe if the store is.
  Result<Segment> ReadSegment(const SegmentSummary& expected);
  Result<Segment> ReadSegment(TimelineId timeline, Txid first);
  // Bytes of a part, checked. Thread-safe if the store is.
  Result<Bytes> ReadPart(TimelineId timeline, const PartRef& part);

  // Images with a manifest, ascending by TXID. A damaged manifest is skipped and named in
  // `problems`; one that cannot be fetched is an error.
  Result<std::vector<ImageManifest>> ListImages(TimelineId timeline,
                                                std::vector<std::string>* problems = nullptr);
  // Reads and checks the page hashes of an image (page_count entries).
  Result<std::vector<uint64_t>> ReadImageHashes(const ImageManifest& image);
  // Bytes of part `part` of the image, checked. Thread-safe if the store is.
  Result<Bytes> ReadImagePart(const ImageManifest& image, const ImagePartInfo& part);
  // The same with nothing but the size checked: for who checks the pages themselves.
  Result<Bytes> ReadImagePartUnchecked(const ImageManifest& image, const ImagePartInfo& part);

  // Ascending by name. A damaged mark is skipped and named in `problems`.
  Result<std::vector<MarkDocument>> ListMarks(std::vector<std::string>* problems = nullptr);
  Result<MarkDocument> ReadMark(const std::string& name);
  // Creates the mark; kAlreadyExists when the name is taken by another TXID, OK when by the same.
  Status WriteMark(const MarkDocument& mark);

  // Keeps a checked segment for ReadSegment, if set_keep_bytes leaves room. Thread-safe.
  void Keep(const std::string& key, Segment segment);

 private:
  // Fetches and checks one object of known size and digest; kCorruption naming the key.
  Result<Bytes> ReadChecked(const std::string& key, uint64_t size_bytes, const Digest& digest);
  Result<Bytes> ReadSized(const std::string& key, uint64_t size_bytes);
  Result<Head> HeadFromParent(const std::vector<TimelineDocument>& timelines,
                              const TimelineDocument& line);
  std::optional<Segment> TakeKept(const std::string& key);

  ObjectStore& store_;
  ReplicaDocument document_;
  int parallelism_ = 1;
  uint64_t keep_limit_bytes_ = 0;
  std::mutex kept_mutex_;  // guards the two below
  std::unordered_map<std::string, Segment> kept_;
  uint64_t kept_bytes_ = 0;
};

}  // namespace sqlite_s3

#pragma once
// SegmentEncoder: turns captured commits into segments, carrying the database checksum from commit
// to commit with the page hashes of the table (never with hashes of bases, which downtime can
// spoil).
//
// Thread-safety: none; the engine's worker owns it.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/ship/page_hashes.h"
#include "agent/ship/statement_inbox.h"
#include "agent/ship/wal_capture.h"
#include "common/base/hash.h"
#include "common/format/segment.h"

namespace sqlite_s3 {

// Where a history stands after its last encoded commit.
struct HistoryState {
  Txid txid;
  Digest digest;  // of the last finished segment
  uint32_t page_count = 0;
  uint64_t checksum = 0;
};

class SegmentEncoder {
 public:
  struct Config {
    uint32_t page_size = 0;
    uint32_t sqlite_version = 0;
    DatabaseId database_id;
    TimelineId timeline;
    WriterId writer;
    ChecksumKey checksum_key;
    int level = 3;
    uint64_t part_bytes = 4 << 20;
    // Statements are wanted when there is an inbox; it must outlive the encoder.
    StatementInbox* inbox = nullptr;
    StatementDetail detail = StatementDetail::kText;
    std::string exclude;  // ShipOptions::statements_exclude
    uint64_t sqlite_build = 0;
  };
  // Stores one part of a commit under construction; called in order.
  using PartSink = std::function<Status(const PartRef& ref, Bytes bytes)>;
  // Fills `content` with pages[index], and `base` with its previous version; sets *has_base to
  // false when there is none to be trusted (then none of the commit's is used).
  struct StreamedCommit {
    int64_t time_us = 0;
    uint8_t flags = 0;
    uint32_t page_count = 0;
    uint32_t wal_frames = 0;
    WalPosition end;
    std::optional<WalPosition> wal_before;  // CapturedCommit's
    std::vector<PageNumber> pages;
    // Known already, by hashing the whole database: then the table is left alone.
    std::optional<uint64_t> checksum;
  };
  using PageReader =
      std::function<Status(size_t index, std::span<uint8_t> content, std::span<uint8_t> base)>;

  SegmentEncoder(const Config& config, const HistoryState& start, PageHashes& hashes);

  // The first commit of a replica: its state is an image.
  Status AddOrigin(int64_t time_us, uint32_t page_count, uint64_t checksum, const WalPosition& end);
  Status Add(const CapturedCommit& commit);
  // A commit whose pages are read one by one, in bounded memory; goes to parts when it is large.
  // `with_bases`: read previous versions of pages within the size before.
  Status AddStreamed(const StreamedCommit& commit, bool with_bases, const PageReader& read,
                     const PartSink& parts);

  // Commits come slowly: there is time for a few bytes less.
  void SetUnhurried(bool unhurried) { unhurried_ = unhurried; }

  // Gives back what only encoding needs, until then.
  void Rest() { scratch_.reset(); }

  bool empty() const { return !builder_ || builder_->commit_count() == 0; }
  uint32_t commit_count() const { return builder_ ? builder_->commit_count() : 0; }
  uint64_t size_bytes() const { return builder_ ? builder_->size_bytes() : 0; }
  const HistoryState& state() const { return state_; }
  const WalPosition& end() const { return end_; }
  const PageHasher& hasher() const { return hasher_; }

  // Ends the segment: logs its page hashes, then gives its bytes. The hashes come first: once the
  // bytes can leave, a restart must be able to find the table that fits them.
  Result<SegmentBuilder::Finished> Cut();

 private:
  struct Scratch {
    explicit Scratch(int level);
    ChunkEncoder hurried;
    ChunkEncoder unhurried;  // kUnhurriedLevels above it
    Bytes pages, bases, chunks;
  };
  Scratch& Use();
  SegmentBuilder& Builder();
  // `told`: where the application may have told the commit's statements; frame 0: it cannot have.
  Status AddRecord(const CommitRecord& record, ByteSpan chunks, const WalPosition& end,
                   const CapturedPlace& told);
  Bytes EncodeTold();
  Status DropTruncatedPages(uint32_t page_count, uint64_t* checksum);
  Status CheckBase(PageNumber page, ByteSpan base);
  Status HashPage(PageNumber page, ByteSpan content, uint64_t* checksum);

  Config config_;
  HistoryState state_;
  WalPosition end_;
  PageHashes& hashes_;
  PageHasher hasher_;
  StatementDescriber describer_;
  bool unhurried_ = false;
  std::optional<SegmentBuilder> builder_;
  std::vector<CapturedPlace> places_;  // of the builder's commits; frame 0: none
  std::unique_ptr<Scratch> scratch_;   // reused; none at rest
};

// Folds `later` into `earlier`: one restore point, the state after `later`. For declared overload.
void MergeCommits(CapturedCommit& earlier, CapturedCommit later);

}  // namespace sqlite_s3

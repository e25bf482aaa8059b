#pragma once
// History: builds a replica, commit by commit, and remembers the whole database at every TXID: what
// a restore must give back. Writes through the format's own builders to any store.
//
//   MemoryStore store("x");
//   History h(store);
//   h.Origin(10);                        // TXID 1, with its image
//   for (int i = 0; i < 20; ++i) h.CommitRandom();
//   h.Cut();                             // the commits so far are in the store
//   EXPECT_EQ(restored, h.ImageAt(Txid{7}));
//
// Errors of the store or the format fail the test at once (they throw). One thread.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/format/documents.h"
#include "common/format/segment.h"
#include "common/store/object_store.h"

namespace sqlite_s3 {

class History {
 public:
  struct Options {
    uint32_t page_size = 512;
    uint64_t seed = 1;
    int64_t start_us = 1'760'000'000'000'000;
    int64_t step_us = 1'000'000;  // from commit to commit, unless said otherwise
    int zstd_level = 1;
    uint32_t image_part_pages = 16;
    uint32_t image_frame_pages = 8;
  };
  using Pages = std::map<PageNumber, Bytes>;
  struct Commit {
    std::optional<int64_t> time_us;
    uint8_t flags = 0;            // kCommitWholePages, kCommitResync, ...
    bool in_parts = false;        // one chunk a part object
    bool wrong_checksum = false;  // its record says another database than it makes
  };

  // Creates the replica and timeline 1, nothing else.
  explicit History(ObjectStore& store) : History(store, Options()) {}
  History(ObjectStore& store, const Options& options);
  // Goes on with a replica that somebody else created, and in which nothing was written yet.
  History(ObjectStore& store, const Options& options, const ReplicaDocument& document);

  // TXID 1 of kCommitOrigin, in a segment of its own, and its image. `database`: whole pages.
  Txid Origin(const Bytes& database);
  Txid Origin(uint32_t page_count);  // of random content
  // Zeros but for `pages`; a large database costs little memory.
  Txid OriginOfZeros(uint32_t page_count, const Pages& pages);

  // One commit, held back until Cut(). Pages of numbers <= page_count, not the lock-byte page.
  Txid AddCommit(const Pages& pages, uint32_t page_count, const Commit& how);
  Txid AddCommit(const Pages& pages, uint32_t page_count) {
    return AddCommit(pages, page_count, Commit());
  }
  // Changes some pages a little or wholly; grows or shrinks the database now and then.
  Txid CommitRandom(const Commit& how);
  Txid CommitRandom() { return CommitRandom(Commit()); }
  // Uploads the commits since the last cut as one segment; returns its key ("" if there is none).
  std::string Cut();
  // n random commits in segments of random lengths, all uploaded.
  void Grow(int commits, int max_per_segment = 5);

  // An image of `txid` (of this line's history), in several parts, some pages out of order.
  ImageManifest MakeImage(Txid txid);
  void MakeMark(const std::string& name, Txid txid);
  // All uploaded commits first..last (whole segments) of this line again, as one roll-up.
  std::string RollUp(Txid first, Txid last);
  // The next commits go to a new line that starts from `parent_txid` of this one.
  TimelineId Branch(Txid parent_txid, bool supersedes);

  // --- what must come back: of the line's history, parents included
  TimelineId timeline() const { return timeline_; }
  Txid txid() const { return states_.rbegin()->first; }
  uint32_t PageCountAt(Txid txid) const { return At(txid).page_count; }
  uint64_t ChecksumAt(Txid txid) const { return At(txid).checksum; }
  int64_t TimeAt(Txid txid) const { return At(txid).time_us; }
  Bytes ImageAt(Txid txid) const;
  // Absent page (never written, lock-byte): zeros.
  Bytes PageAt(Txid txid, PageNumber page) const;

  const ReplicaDocument& document() const { return document_; }
  ObjectStore& store() { return store_; }
  // Keys of the segments written so far, on all lines, in order.
  const std::vector<std::string>& segment_keys() const { return segment_keys_; }

 private:
  using Page = std::shared_ptr<const Bytes>;
  struct State {
    std::vector<Page> pages;  // page 1 first; null = zeros
    uint32_t page_count = 0;
    uint64_t checksum = 0;
    int64_t time_us = 0;
  };
  struct Pending {
    CommitRecord record;
    Bytes chunks;
  };

  const State& At(Txid txid) const { return states_.at(txid); }
  Bytes RandomPage();
  uint32_t Random(uint32_t below);
  SegmentHeader NextHeader() const;
  Txid FinishOrigin();

  ObjectStore& store_;
  Options options_;
  ReplicaDocument document_;
  PageHasher hasher_;
  WriterId writer_{0x77};
  std::mt19937_64 random_;
  TimelineId timeline_{1};
  uint32_t last_timeline_ = 1;
  std::map<Txid, State> states_;
  std::map<Txid, Pending> commits_;        // of this line and its parents, for roll-ups
  std::map<Txid, Digest> predecessor_of_;  // by the first TXID of a segment
  std::vector<Pending> pending_;
  Txid pending_first_;
  Digest head_digest_;
  std::map<Txid, Digest> digest_by_last_;  // segment digests by last TXID, this line's history
  std::vector<std::string> segment_keys_;
  uint64_t next_nonce_ = 1;
};

}  // namespace sqlite_s3

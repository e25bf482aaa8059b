#pragma once
// ChainWalker: reads the log of a history forward, one segment at a time, and checks every link.
// The mechanism under Replica::ReadChain, FindHead and PlanRestore, which stop it at different
// places. One thread; fetches ahead on others as Replica::set_parallelism says.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/replica/ordered_fetch.h"
#include "common/replica/replica.h"

namespace sqlite_s3 {

struct WalkedSegment {
  std::string key;
  Segment segment;
  Txid last_txid;  // see SegmentSummary
};

class ChainWalker {
 public:
  // `replica` must outlive the walker. Starts with the segment that holds `from` (> 0), on the
  // history that `ancestry` describes.
  ChainWalker(Replica& replica, std::vector<Replica::Ancestor> ancestry, Txid from);

  // The next segment, or nothing at the head. After an error: no further call.
  Result<std::optional<WalkedSegment>> Next();

  // What the last error was about; `best` is the last TXID handed out, or absent if there was none.
  const Damage& damage() const { return damage_; }
  // The TXID that the next segment must begin with (before the first call: must hold).
  Txid position() const { return next_; }

 private:
  struct Candidate {
    std::string key;
    Txid first;
    Txid rollup_last;  // 0: a segment of the log
    uint64_t size_bytes = 0;
  };
  struct Link {                    // the state that the next segment must start from
    std::optional<Digest> digest;  // absent after a roll-up
    uint32_t page_count = 0;
    uint64_t checksum = 0;
  };

  const Replica::Ancestor& line() const { return ancestry_[line_index_]; }
  // Lists the line from the segment that holds next_.
  Status EnterLine();
  Status ListMore();
  Status FillAhead();
  Result<bool> GoesOnUnlisted(Txid first);
  Status ListRollups();
  Status CheckPlace(const Candidate& at, const Segment& segment);
  Status CheckLink(const Candidate& at, const Segment& segment);
  Status Gap(const std::string& key);
  Status Corrupt(const std::string& key, const std::string& what);

  Replica& replica_;
  std::vector<Replica::Ancestor> ancestry_;
  Txid next_;
  size_t line_index_ = 0;
  bool entered_ = false;
  bool listed_all_ = false;
  std::string list_after_;
  std::vector<Candidate> rollups_;  // of the line, none inside another, ascending
  size_t next_rollup_ = 0;          // first one not yet merged into known_
  std::deque<Candidate> known_;     // ahead of next_, in order
  size_t fetching_ = 0;             // how many of known_ are in fetch_
  std::unique_ptr<OrderedFetch<Segment>> fetch_;
  std::optional<Link> link_;
  std::optional<Txid> best_;
  Damage damage_;
};

// The whole object under `key`, parsed. kNotFound, kCorruption naming the key.
Result<Segment> FetchSegment(ObjectStore& store, const std::string& key);
// kCorruption naming `key` unless the header is that of a segment of this replica and timeline that
// begins with `first`.
Status CheckSegmentPlace(const ReplicaDocument& replica, TimelineId timeline, Txid first,
                         const SegmentHeader& header, const std::string& key);

// The last first TXID of a log segment of `timeline` that is >= `at_least`, absent if there is
// none: a few LISTs however long the log is.
Result<std::optional<Txid>> FindLastLogSegment(ObjectStore& store, TimelineId timeline,
                                               Txid at_least);

}  // namespace sqlite_s3

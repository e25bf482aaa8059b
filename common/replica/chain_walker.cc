#include "common/replica/chain_walker.h"

#include <algorithm>
#include <utility>

#include "common/format/keys.h"

namespace sqlite_s3 {
namespace {

constexpr int kListPage = 1000;
// What the segments fetched ahead may weigh together.
constexpr uint64_t kAheadBytes = 64 << 20;
// A segment is found by the TXIDs inside it by listing from a little before: one second of commits
// at a usual rate. Wrong guesses cost one more LIST each.
constexpr uint64_t kFirstLookBack = 256;

std::string Describe(Txid first, Txid last) { return FormatTxid(first) + ".." + FormatTxid(last); }

std::string KeyBefore(TimelineId timeline, Txid first) {
  return first.value > 1 ? keys::LogSegment(timeline, first.Prev()) : std::string();
}

}  // namespace

Result<Segment> FetchSegment(ObjectStore& store, const std::string& key) {
  auto bytes = store.Get(key, kMaxSegmentBytes);
  if (bytes.code() == StatusCode::kResourceExhausted) {
    return CorruptionError(key + ": is larger than a segment may be");
  }
  RETURN_IF_ERROR(bytes.status().WithContext("read " + key));
  return ParseSegment(std::move(*bytes), key);
}

Status CheckSegmentPlace(const ReplicaDocument& replica, TimelineId timeline, Txid first,
                         const SegmentHeader& header, const std::string& key) {
  const auto corrupt = [&](const std::string& what) { return CorruptionError(key + ": " + what); };
  if (header.database_id != replica.database_id) {
    return corrupt("is a segment of database " + FormatDatabaseId(header.database_id));
  }
  if (header.page_size != replica.page_size) {
    return corrupt("has page size " + std::to_string(header.page_size) + ", the replica has " +
                   std::to_string(replica.page_size));
  }
  if (header.timeline != timeline) {
    return corrupt("is a segment of timeline " + FormatTimeline(header.timeline));
  }
  if (header.first_txid != first) {
    return corrupt("begins with TXID " + FormatTxid(header.first_txid));
  }
  if (header.first_txid.value == 1 && header.predecessor != Digest{}) {
    return corrupt("is the first segment, but names a predecessor");
  }
  return Status::Ok();
}

ChainWalker::ChainWalker(Replica& replica, std::vector<Replica::Ancestor> ancestry, Txid from)
    : replica_(replica), ancestry_(std::move(ancestry)), next_(from) {
  while (line_index_ + 1 < ancestry_.size() && line().last && *line().last < next_) {
    ++line_index_;
  }
}

Status ChainWalker::Gap(const std::string& key) {
  damage_ = {key, /*missing=*/true, best_, std::nullopt};
  return NotFoundError("the log has a gap: " + key + " is missing");
}

Status ChainWalker::Corrupt(const std::string& key, const std::string& what) {
  damage_ = {key, /*missing=*/false, best_, std::nullopt};
  return CorruptionError(key + ": " + what);
}

Status ChainWalker::ListRollups() {
  rollups_.clear();
  next_rollup_ = 0;
  ASSIGN_OR_RETURN(auto objects, ListAll(replica_.store(), keys::RollupPrefix(line().timeline)));
  std::vector<Candidate> all;
  for (const ObjectInfo& object : objects) {
    const auto key = keys::ParseRollup(object.key);
    if (key && key->last >= next_ && (!line().last || key->first <= *line().last)) {
      all.push_back({object.key, key->first, key->last, object.size_bytes});
    }
  }
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return a.first != b.first ? a.first < b.first : a.rollup_last > b.rollup_last;
  });
  for (Candidate& c : all) {
    if (rollups_.empty() || c.rollup_last > rollups_.back().rollup_last) {
      rollups_.push_back(std::move(c));
    }
  }
  return Status::Ok();
}

Status ChainWalker::EnterLine() {
  entered_ = true;
  listed_all_ = false;
  known_.clear();
  fetching_ = 0;
  fetch_ = std::make_unique<OrderedFetch<Segment>>(replica_.parallelism(), kAheadBytes);
  RETURN_IF_ERROR(ListRollups());
  if (!rollups_.empty() && rollups_.front().first <= next_) {
    list_after_ = keys::LogSegment(line().timeline, rollups_.front().rollup_last);
    return ListMore();
  }
  // The log is listed by first TXID, and next_ may lie inside a segment: look back until one begins
  // at or before it.
  for (uint64_t back = kFirstLookBack;; back = back > (uint64_t{1} << 58) ? back : back * 16) {
    const Txid start{next_.value > back ? next_.value - back : 1};
    list_after_ = KeyBefore(line().timeline, start);
    listed_all_ = false;
    known_.clear();
    next_rollup_ = 0;
    RETURN_IF_ERROR(ListMore());
    if (start <= line().first || (!known_.empty() && known_.front().first <= next_)) {
      break;
    }
  }
  while (!listed_all_ && !known_.empty() && known_.back().first <= next_) {
    RETURN_IF_ERROR(ListMore());
  }
  while (known_.size() > 1 && known_[1].first <= next_) {
    known_.pop_front();
  }
  return Status::Ok();
}

Status ChainWalker::ListMore() {
  ASSIGN_OR_RETURN(auto page,
                   replica_.store().List(keys::LogPrefix(line().timeline), list_after_, kListPage));
  const auto add_rollups_up_to = [&](std::optional<Txid> first) {
    while (next_rollup_ < rollups_.size() && (!first || rollups_[next_rollup_].first <= *first)) {
      known_.push_back(rollups_[next_rollup_++]);
    }
  };
  for (const ObjectInfo& object : page) {
    if (object.key <= list_after_) {
      return CorruptionError("LIST of " + keys::LogPrefix(line().timeline) + " went back to " +
                             object.key);
    }
    list_after_ = object.key;
    const auto key = keys::ParseLogSegment(object.key);
    if (!key) {
      continue;  // not ours
    }
    if (line().last && key->first > *line().last) {
      page.clear();  // what follows belongs to the line that was left
      break;
    }
    add_rollups_up_to(key->first);
    const bool replaced = next_rollup_ > 0 && key->first <= rollups_[next_rollup_ - 1].rollup_last;
    if (!replaced) {
      known_.push_back({object.key, key->first, Txid{}, object.size_bytes});
    }
  }
  if (page.empty()) {
    listed_all_ = true;
    add_rollups_up_to(std::nullopt);
  }
  return Status::Ok();
}

// A LIST may be older than what it lists, and the end of the log is where it would not be noticed.
// The next key is known: it is asked for.
Result<bool> ChainWalker::GoesOnUnlisted(Txid first) {
  const std::string key = keys::LogSegment(line().timeline, first);
  const auto next = replica_.store().Head(key);
  if (next.code() == StatusCode::kNotFound) {
    return false;
  }
  RETURN_IF_ERROR(next.status().WithContext("look for " + key));
  known_.push_back({key, first, Txid{}, next->size_bytes});
  return true;
}

Status ChainWalker::FillAhead() {
  const size_t window =
      replica_.parallelism() > 1 ? static_cast<size_t>(replica_.parallelism()) * 2 : 1;
  while (fetching_ < window) {
    while (fetching_ == known_.size() && !listed_all_) {
      RETURN_IF_ERROR(ListMore());
    }
    if (fetching_ == known_.size()) {
      break;
    }
    const Candidate& c = known_[fetching_++];
    fetch_->Push([&store = replica_.store(), key = c.key] { return FetchSegment(store, key); },
                 c.size_bytes);
  }
  return Status::Ok();
}

Status ChainWalker::CheckPlace(const Candidate& at, const Segment& segment) {
  const SegmentHeader& h = segment.header;
  Status placed = CheckSegmentPlace(replica_.document(), line().timeline, at.first, h, at.key);
  if (!placed.ok()) {
    damage_ = {at.key, /*missing=*/false, best_, std::nullopt};
    return placed;
  }
  const bool is_rollup = at.rollup_last.value != 0;
  if ((h.kind == SegmentKind::kRollup) != is_rollup ||
      (is_rollup && h.last_txid() != at.rollup_last)) {
    return Corrupt(at.key,
                   "is not what its key says: holds " + Describe(h.first_txid, h.last_txid()));
  }
  return Status::Ok();
}

Status ChainWalker::CheckLink(const Candidate& at, const Segment& segment) {
  if (!link_) {
    return Status::Ok();
  }
  const SegmentHeader& h = segment.header;
  if (link_->digest && h.predecessor != *link_->digest) {
    return Corrupt(at.key, "its predecessor is not the segment that holds TXID " +
                               FormatTxid(next_.Prev()) + ": one of the two was replaced");
  }
  if (h.start_page_count != link_->page_count || h.start_checksum != link_->checksum) {
    return Corrupt(at.key, "does not start from the state after TXID " + FormatTxid(next_.Prev()));
  }
  return Status::Ok();
}

Result<std::optional<WalkedSegment>> ChainWalker::Next() {
  const bool first_step = !best_.has_value();
  if (line().last && next_ > *line().last) {
    ++line_index_;  // the last line has no end, so there is a next one
    entered_ = false;
  }
  if (!entered_) {
    RETURN_IF_ERROR(EnterLine());
  }
  RETURN_IF_ERROR(FillAhead());
  if (known_.empty()) {
    if (line().last) {
      return Gap(keys::LogSegment(line().timeline, next_));
    }
    ASSIGN_OR_RETURN(const bool more, GoesOnUnlisted(next_));
    return more ? Next() : std::optional<WalkedSegment>();
  }
  const Candidate at = known_.front();
  if (at.first > next_) {
    return Gap(keys::LogSegment(line().timeline, next_));
  }
  if (at.first < next_ && !first_step) {
    return Corrupt(
        at.key, "overlaps the segment before it, which goes to TXID " + FormatTxid(next_.Prev()));
  }
  auto fetched = fetch_->Pop();
  known_.pop_front();
  --fetching_;
  if (fetched.code() == StatusCode::kNotFound) {
    return Gap(at.key);
  }
  if (!fetched.ok()) {
    if (fetched.code() == StatusCode::kCorruption) {
      damage_ = {at.key, /*missing=*/false, best_, std::nullopt};
    }
    return fetched.status();
  }
  RETURN_IF_ERROR(CheckPlace(at, *fetched));
  WalkedSegment walked{at.key, std::move(*fetched), Txid{}};
  const SegmentHeader& h = walked.segment.header;
  if (h.last_txid() <
      next_) {  // the first step: the last one to begin before `from` ends before it
    if (known_.empty() && listed_all_ && !line().last) {
      ASSIGN_OR_RETURN(const bool more, GoesOnUnlisted(h.last_txid().Next()));
      return more ? Next() : std::optional<WalkedSegment>();
    }
    return Gap(keys::LogSegment(line().timeline, h.last_txid().Next()));
  }
  RETURN_IF_ERROR(CheckLink(at, walked.segment));

  walked.last_txid = line().last ? std::min(h.last_txid(), *line().last) : h.last_txid();
  const CommitRecord& end = walked.segment.commits[walked.last_txid.value - h.first_txid.value];
  link_ = Link{std::nullopt, end.page_count, end.db_checksum};
  if (h.kind == SegmentKind::kLog) {
    link_->digest = walked.segment.digest;
  }
  next_ = walked.last_txid.Next();
  best_ = walked.last_txid;
  return std::optional<WalkedSegment>(std::move(walked));
}

Result<std::optional<Txid>> FindLastLogSegment(ObjectStore& store, TimelineId timeline,
                                               Txid at_least) {
  std::optional<Txid> last;
  std::string after = KeyBefore(timeline, at_least);
  while (true) {
    ASSIGN_OR_RETURN(auto page, store.List(keys::LogPrefix(timeline), after, kListPage));
    if (page.empty()) {
      return last;
    }
    if (page.back().key <= after) {
      return CorruptionError("LIST of " + keys::LogPrefix(timeline) + " went back to " +
                             page.back().key);
    }
    after = page.back().key;
    const auto front = keys::ParseLogSegment(page.front().key);
    const auto back = keys::ParseLogSegment(page.back().key);
    for (const ObjectInfo& object : page) {
      if (const auto key = keys::ParseLogSegment(object.key)) {
        last = key->first;
      }
    }
    if (page.size() < kListPage || !front || !back) {
      continue;
    }
    // A full page: the head may be far. Leap ahead by more and more, then by halves.
    const uint64_t span = back->first.value - front->first.value;
    bool growing = true;
    for (uint64_t leap = span * 8; leap > span;) {
      bool there = false;
      if (last->value <= UINT64_MAX - leap) {
        const std::string from = keys::LogSegment(timeline, {last->value + leap});
        ASSIGN_OR_RETURN(auto probe, store.List(keys::LogPrefix(timeline), from, 1));
        const auto key = probe.empty() ? std::nullopt : keys::ParseLogSegment(probe.front().key);
        if (key && probe.front().key > from) {
          there = true;
          last = key->first;
          after = probe.front().key;
        }
      }
      growing = growing && there && leap <= UINT64_MAX / 8;
      leap = growing ? leap * 8 : leap / 2;
    }
  }
}

}  // namespace sqlite_s3

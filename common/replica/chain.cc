// The part of Replica that reads the log.

#include <algorithm>
#include <utility>

#include "common/format/keys.h"
#include "common/replica/chain_walker.h"
#include "common/replica/replica.h"

namespace sqlite_s3 {
namespace {

// See kFirstLookBack in chain_walker.cc.
constexpr uint64_t kHeadLookBack = 256;
// Records and their page lists, beside the bytes.
constexpr uint64_t kRecordBytes = 160;

uint64_t WeightOf(const Segment& s) { return s.bytes.size() + s.commits.size() * kRecordBytes; }

Head HeadAt(const Segment& segment, const std::string& key, Txid txid) {
  const SegmentHeader& h = segment.header;
  const CommitRecord& record = segment.commits[txid.value - h.first_txid.value];
  Head head;
  head.timeline = h.timeline;
  head.txid = txid;
  head.digest = segment.digest;
  head.writer = h.writer;
  head.commit_time_us = record.time_us;
  head.page_count = record.page_count;
  head.db_checksum = record.db_checksum;
  if (txid == h.last_txid()) {
    head.wal = h.end;
  }
  head.segment_key = key;
  return head;
}

}  // namespace

void Replica::Keep(const std::string& key, Segment segment) {
  const uint64_t weight = WeightOf(segment);
  std::lock_guard lock(kept_mutex_);
  if (kept_bytes_ + weight <= keep_limit_bytes_ && kept_.emplace(key, std::move(segment)).second) {
    kept_bytes_ += weight;
  }
}

std::optional<Segment> Replica::TakeKept(const std::string& key) {
  std::lock_guard lock(kept_mutex_);
  const auto it = kept_.find(key);
  if (it == kept_.end()) {
    return std::nullopt;
  }
  std::optional<Segment> segment = std::move(it->second);
  kept_.erase(it);
  kept_bytes_ -= WeightOf(*segment);
  return segment;
}

Result<Segment> Replica::ReadSegment(const SegmentSummary& expected) {
  std::optional<Segment> kept = TakeKept(expected.key);
  if (!kept) {
    auto fetched = FetchSegment(store_, expected.key);
    if (fetched.code() == StatusCode::kNotFound) {
      return NotFoundError("the log has a gap: " + expected.key + " is missing");
    }
    RETURN_IF_ERROR(fetched.status());
    kept = std::move(*fetched);
  }
  if (kept->digest != expected.digest) {
    return CorruptionError(expected.key + ": was replaced since it was listed");
  }
  return std::move(*kept);
}

Result<Segment> Replica::ReadSegment(TimelineId timeline, Txid first) {
  const std::string key = keys::LogSegment(timeline, first);
  ASSIGN_OR_RETURN(Segment segment, FetchSegment(store_, key));
  RETURN_IF_ERROR(CheckSegmentPlace(document_, timeline, first, segment.header, key));
  return segment;
}

Result<Head> Replica::HeadFromParent(const std::vector<TimelineDocument>& timelines,
                                     const TimelineDocument& line) {
  Head head;
  if (line.parent_txid.value != 0) {
    ASSIGN_OR_RETURN(auto ancestry, Ancestry(timelines, line.parent));
    ChainWalker walker(*this, std::move(ancestry), line.parent_txid);
    ASSIGN_OR_RETURN(std::optional<WalkedSegment> at, walker.Next());
    if (!at) {
      return NotFoundError("timeline " + std::to_string(line.timeline.value) +
                           " starts from TXID " + FormatTxid(line.parent_txid) + " of timeline " +
                           std::to_string(line.parent.value) + ", which is missing");
    }
    head = HeadAt(at->segment, at->key, line.parent_txid);
    head.wal = {};  // where the parent's writer stood says nothing of this line's database
  }
  head.timeline = line.timeline;
  return head;
}

Result<Head> Replica::FindHead(const std::vector<TimelineDocument>& timelines, TimelineId timeline,
                               Txid after) {
  const auto line = std::find_if(timelines.begin(), timelines.end(),
                                 [&](const auto& t) { return t.timeline == timeline; });
  if (line == timelines.end()) {
    return NotFoundError("there is no timeline " + std::to_string(timeline.value));
  }
  const Txid first = line->parent_txid.Next();
  const Txid near =
      after.value > first.value + kHeadLookBack ? Txid{after.value - kHeadLookBack} : first;
  ASSIGN_OR_RETURN(std::optional<Txid> last, FindLastLogSegment(store_, timeline, near));
  if (!last && near > first) {
    ASSIGN_OR_RETURN(last, FindLastLogSegment(store_, timeline, first));
  }
  // The small segments of a roll-up expire in any order: a key before the true head may be the last
  // one left of them, and taking it for the head would fork the history.
  std::optional<keys::RollupKey> rollup;
  ASSIGN_OR_RETURN(auto rollups, ListAll(store_, keys::RollupPrefix(timeline)));
  for (const ObjectInfo& object : rollups) {
    const auto key = keys::ParseRollup(object.key);
    if (key && (!rollup || key->last > rollup->last)) {
      rollup = key;
    }
  }
  std::optional<Segment> segment;
  std::string key;
  if (last) {
    key = keys::LogSegment(timeline, *last);
    ASSIGN_OR_RETURN(segment, FetchSegment(store_, key));
    RETURN_IF_ERROR(CheckSegmentPlace(document_, timeline, *last, segment->header, key));
  }
  if (rollup && (!segment || segment->header.last_txid() < rollup->last)) {
    key = keys::Rollup(timeline, rollup->first, rollup->last);
    ASSIGN_OR_RETURN(segment, FetchSegment(store_, key));
    RETURN_IF_ERROR(CheckSegmentPlace(document_, timeline, rollup->first, segment->header, key));
  }
  // A LIST may be older than what it lists. The next key is known.
  for (;;) {
    const Txid next = segment ? segment->header.last_txid().Next() : first;
    const std::string after_it = keys::LogSegment(timeline, next);
    auto unlisted = FetchSegment(store_, after_it);
    if (unlisted.code() == StatusCode::kNotFound) {
      break;
    }
    RETURN_IF_ERROR(unlisted.status());
    RETURN_IF_ERROR(CheckSegmentPlace(document_, timeline, next, unlisted->header, after_it));
    key = after_it;
    segment = std::move(*unlisted);
  }
  if (!segment) {
    return HeadFromParent(timelines, *line);
  }
  return HeadAt(*segment, key, segment->header.last_txid());
}

Result<std::vector<SegmentSummary>> Replica::ReadChain(
    const std::vector<TimelineDocument>& timelines, TimelineId timeline, Txid from,
    std::optional<Txid> to, std::vector<SegmentSummary>* good, Damage* damage) {
  if (from.value == 0 || (to && *to < from)) {
    return InvalidArgumentError("a chain goes from a TXID > 0 to one not before it");
  }
  ASSIGN_OR_RETURN(auto ancestry, Ancestry(timelines, timeline));
  ChainWalker walker(*this, std::move(ancestry), from);
  std::vector<SegmentSummary> chain;
  Status error;
  while (!to || walker.position() <= *to) {
    auto walked = walker.Next();
    if (!walked.ok()) {
      error = walked.status();
      break;
    }
    if (!walked->has_value()) {
      if (to) {
        error = NotFoundError("the log ends at TXID " + FormatTxid(walker.position().Prev()) +
                              ", before " + FormatTxid(*to));
      }
      break;
    }
    WalkedSegment& w = **walked;
    const SegmentHeader& h = w.segment.header;
    SegmentSummary summary{
        w.key, h, w.segment.digest, w.segment.object_size_bytes, w.last_txid, w.segment.commits};
    summary.commits.resize(w.last_txid.value - h.first_txid.value + 1);
    if (keep_limit_bytes_ > 0) {
      Keep(w.key, std::move(w.segment));
    }
    chain.push_back(std::move(summary));
  }
  if (error.ok()) {
    return chain;
  }
  if (!walker.damage().key.empty()) {
    error =
        Status(error.code(),
               error.message() +
                   (chain.empty()
                        ? "; nothing of the chain from TXID " + FormatTxid(from) + " is restorable"
                        : "; the best TXID before it is " + FormatTxid(chain.back().last_txid)));
  }
  if (good) {
    *good = std::move(chain);
  }
  if (damage) {
    *damage = walker.damage();
  }
  return error;
}

}  // namespace sqlite_s3

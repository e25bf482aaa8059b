#include "tests/support/history.h"

#include <algorithm>
#include <utility>

#include "common/format/keys.h"
#include "tests/support/must.h"

namespace sqlite_s3 {
namespace {

ReplicaDocument RandomReplica(const History::Options& options) {
  std::mt19937_64 random(options.seed);
  ReplicaDocument document;
  for (uint8_t& b : document.database_id.bytes) {
    b = static_cast<uint8_t>(random());
  }
  for (uint8_t& b : document.checksum_key.bytes) {
    b = static_cast<uint8_t>(random());
  }
  document.page_size = options.page_size;
  document.created_us = options.start_us;
  return document;
}

}  // namespace

History::History(ObjectStore& store, const Options& options)
    : History(store, options, RandomReplica(options)) {
  Must(store.Put(keys::Replica(), AsBytes(FormatReplicaDocument(document_))).status());
  TimelineDocument first;
  first.timeline = timeline_;
  first.writer = writer_;
  first.created_us = options.start_us;
  Must(store.Put(keys::TimelineFile(timeline_), AsBytes(FormatTimelineDocument(first))).status());
}

History::History(ObjectStore& store, const Options& options, const ReplicaDocument& document)
    : store_(store),
      options_(options),
      document_(document),
      hasher_(document.checksum_key),
      random_(options.seed) {
  options_.page_size = document.page_size;
  State empty;
  empty.time_us = options.start_us - options.step_us;
  states_[Txid{0}] = std::move(empty);
}

uint32_t History::Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

Bytes History::RandomPage() {
  Bytes page(options_.page_size);
  for (size_t i = 0; i + 8 <= page.size(); i += 8) {
    StoreLe64(page.data() + i, i % 64 == 0 ? random_() : i);  // half way compressible
  }
  return page;
}

Txid History::Origin(uint32_t page_count) {
  Bytes database;
  for (PageNumber n = 1; n <= page_count; ++n) {
    const Bytes page =
        n == LockBytePage(options_.page_size) ? Bytes(options_.page_size) : RandomPage();
    database.insert(database.end(), page.begin(), page.end());
  }
  return Origin(database);
}

Txid History::Origin(const Bytes& database) {
  State& state = states_[Txid{1}];
  state.page_count = static_cast<uint32_t>(database.size() / options_.page_size);
  state.time_us = options_.start_us;
  for (PageNumber n = 1; n <= state.page_count; ++n) {
    const auto begin = database.begin() + static_cast<ptrdiff_t>(n - 1) * options_.page_size;
    if (n == LockBytePage(options_.page_size)) {
      state.pages.push_back(nullptr);
      continue;
    }
    state.pages.push_back(std::make_shared<const Bytes>(begin, begin + options_.page_size));
    state.checksum ^= hasher_.Hash(n, *state.pages.back());
  }
  return FinishOrigin();
}

Txid History::OriginOfZeros(uint32_t page_count, const Pages& pages) {
  State& state = states_[Txid{1}];
  state.page_count = page_count;
  state.time_us = options_.start_us;
  const auto zeros = std::make_shared<const Bytes>(options_.page_size);
  for (PageNumber n = 1; n <= page_count; ++n) {
    const auto given = pages.find(n);
    const bool lock_page = n == LockBytePage(options_.page_size);
    state.pages.push_back(lock_page              ? nullptr
                          : given == pages.end() ? zeros
                                                 : std::make_shared<const Bytes>(given->second));
    state.checksum ^= lock_page ? 0 : hasher_.Hash(n, *state.pages.back());
  }
  return FinishOrigin();
}

Txid History::FinishOrigin() {
  const State& state = states_[Txid{1}];
  CommitRecord record;
  record.time_us = state.time_us;
  record.flags = kCommitOrigin;
  record.page_count = state.page_count;
  record.db_checksum = state.checksum;
  pending_first_ = Txid{1};
  pending_.push_back({record, {}});
  Cut();
  MakeImage(Txid{1});
  return Txid{1};
}

Bytes History::PageAt(Txid txid, PageNumber page) const {
  const State& state = At(txid);
  const Page& p = state.pages.at(page - 1);
  return p ? *p : Bytes(options_.page_size);
}

Bytes History::ImageAt(Txid txid) const {
  const State& state = At(txid);
  Bytes image(size_t{state.page_count} * options_.page_size);
  for (size_t i = 0; i < state.pages.size(); ++i) {
    if (state.pages[i]) {
      std::copy(state.pages[i]->begin(), state.pages[i]->end(),
                image.begin() + static_cast<ptrdiff_t>(i * options_.page_size));
    }
  }
  return image;
}

Txid History::AddCommit(const Pages& pages, uint32_t page_count, const Commit& how) {
  const auto& [last_txid, before] = *states_.rbegin();
  const PageNumber lock_page = LockBytePage(options_.page_size);
  CommitRecord record;
  record.time_us = how.time_us.value_or(before.time_us + options_.step_us);
  record.flags = static_cast<uint8_t>(how.flags | (how.in_parts ? kCommitInParts : 0));
  record.page_count = page_count;
  record.wal_frames = (how.flags & kCommitResync) ? 0 : static_cast<uint32_t>(pages.size());

  State after = before;
  after.time_us = record.time_us;
  after.page_count = page_count;
  for (size_t i = page_count; i < before.pages.size(); ++i) {
    if (before.pages[i]) {
      after.checksum ^= hasher_.Hash(static_cast<PageNumber>(i + 1), *before.pages[i]);
    }
  }
  after.pages.resize(page_count);

  Bytes chunks;
  Bytes content;
  Bytes bases;
  ChunkEncoder encoder(options_.zstd_level);
  const auto flush = [&] {
    if (content.empty()) {
      return;
    }
    Must(encoder.Append(content, bases, chunks));
    content.clear();
    bases.clear();
    if (how.in_parts) {
      PartRef part;
      part.nonce = next_nonce_;
      part.number = static_cast<uint32_t>(record.parts.size());
      part.size_bytes = chunks.size();
      part.digest = ComputeDigest(chunks);
      part.chunk_count = 1;
      Must(store_.Put(keys::Part(timeline_, part.nonce, part.number), chunks).status());
      record.parts.push_back(part);
      chunks.clear();
    }
  };
  for (const auto& [number, page] : pages) {
    if (number == lock_page || number > page_count || page.size() != options_.page_size) {
      throw std::runtime_error("history: a commit cannot hold this page");
    }
    record.pages.push_back(number);
    content.insert(content.end(), page.begin(), page.end());
    if (PageHasBase(number, before.page_count, record.flags)) {
      const Bytes base = PageAt(last_txid, number);
      bases.insert(bases.end(), base.begin(), base.end());
    }
    if (record.pages.size() % PagesPerChunk(options_.page_size) == 0) {
      flush();
    }
    Page& slot = after.pages[number - 1];
    if (slot) {
      after.checksum ^= hasher_.Hash(number, *slot);
    }
    slot = std::make_shared<const Bytes>(page);
    after.checksum ^= hasher_.Hash(number, page);
  }
  flush();
  ++next_nonce_;
  record.db_checksum = after.checksum ^ (how.wrong_checksum ? 1 : 0);

  const Txid txid = last_txid.Next();
  states_[txid] = std::move(after);
  if (pending_.empty()) {
    pending_first_ = txid;
  }
  pending_.push_back({std::move(record), std::move(chunks)});
  return txid;
}

Txid History::CommitRandom(const Commit& how) {
  const State& before = states_.rbegin()->second;
  const PageNumber lock_page = LockBytePage(options_.page_size);
  uint32_t page_count = before.page_count;
  const uint32_t dice = Random(10);
  if (dice < 3) {
    page_count += 1 + Random(4);
  } else if (dice == 3 && page_count > 4) {
    page_count -= 1 + Random(page_count / 4);
  }
  Pages pages;
  for (PageNumber n = before.page_count + 1; n <= page_count; ++n) {
    if (n != lock_page) {
      pages[n] = RandomPage();
    }
  }
  for (uint32_t i = 1 + Random(4); i > 0; --i) {
    const PageNumber n = 1 + Random(page_count);
    if (n == lock_page) {
      continue;
    }
    if (n > before.page_count || Random(4) == 0) {
      pages[n] = RandomPage();
    } else {
      Bytes page = pages.contains(n) ? pages[n] : PageAt(txid(), n);
      page[Random(options_.page_size)] ^= static_cast<uint8_t>(1 + Random(255));
      pages[n] = std::move(page);
    }
  }
  return AddCommit(pages, page_count, how);
}

SegmentHeader History::NextHeader() const {
  SegmentHeader header;
  header.sqlite_version = 3040001;
  header.page_size = options_.page_size;
  header.database_id = document_.database_id;
  header.timeline = timeline_;
  header.first_txid = pending_first_;
  header.writer = writer_;
  header.predecessor = head_digest_;
  const State& before = At(pending_first_.Prev());
  header.start_page_count = before.page_count;
  header.start_checksum = before.checksum;
  return header;
}

std::string History::Cut() {
  if (pending_.empty()) {
    return "";
  }
  SegmentBuilder builder(NextHeader());
  predecessor_of_[pending_first_] = head_digest_;
  for (Pending& p : pending_) {
    Must(builder.Add(p.record, p.chunks));
    commits_[builder.next_txid().Prev()] = std::move(p);
  }
  pending_.clear();
  auto finished = Must(builder.Finish({}));
  head_digest_ = finished.digest;
  digest_by_last_[finished.header.last_txid()] = finished.digest;
  std::string key = keys::LogSegment(timeline_, finished.header.first_txid);
  Must(store_.Put(key, finished.bytes).status());
  segment_keys_.push_back(key);
  return key;
}

void History::Grow(int commits, int max_per_segment) {
  while (commits > 0) {
    const int n =
        std::min(commits, 1 + static_cast<int>(Random(static_cast<uint32_t>(max_per_segment))));
    for (int i = 0; i < n; ++i) {
      CommitRandom();
    }
    Cut();
    commits -= n;
  }
}

void History::MakeMark(const std::string& name, Txid txid) {
  const MarkDocument mark{name, timeline_, txid, At(txid).time_us};
  Must(store_.Put(keys::Mark(name), AsBytes(FormatMarkDocument(mark))).status());
}

std::string History::RollUp(Txid first, Txid last) {
  SegmentHeader header = NextHeader();
  header.kind = SegmentKind::kRollup;
  header.first_txid = first;
  header.predecessor = predecessor_of_.at(first);
  header.start_page_count = At(first.Prev()).page_count;
  header.start_checksum = At(first.Prev()).checksum;
  SegmentBuilder builder(header);
  for (Txid txid = first; txid <= last; txid = txid.Next()) {
    Must(builder.Add(commits_.at(txid).record, commits_.at(txid).chunks));
  }
  std::string key = keys::Rollup(timeline_, first, last);
  Must(store_.Put(key, Must(builder.Finish({})).bytes).status());
  return key;
}

TimelineId History::Branch(Txid parent_txid, bool supersedes) {
  Cut();
  TimelineDocument line;
  line.timeline = TimelineId{++last_timeline_};
  line.parent = timeline_;
  line.parent_txid = parent_txid;
  line.reason = supersedes ? TimelineReason::kRestored : TimelineReason::kFork;
  line.supersedes_parent = supersedes;
  line.writer = writer_;
  line.created_us = At(parent_txid).time_us;
  Must(store_.Put(keys::TimelineFile(line.timeline), AsBytes(FormatTimelineDocument(line)))
           .status());
  head_digest_ = digest_by_last_.lower_bound(parent_txid)->second;
  states_.erase(states_.upper_bound(parent_txid), states_.end());
  commits_.erase(commits_.upper_bound(parent_txid), commits_.end());
  // Only the segment that holds parent_txid may name a TXID past it.
  digest_by_last_.erase(digest_by_last_.lower_bound(parent_txid), digest_by_last_.end());
  digest_by_last_[parent_txid] = head_digest_;
  timeline_ = line.timeline;
  return timeline_;
}

}  // namespace sqlite_s3

#include "agent/ship/segment_encoder.h"

#include <algorithm>

namespace sqlite_s3 {
namespace {

// An insert with two indexes takes 8 bytes less at level 6 than at 3, and 15 us more.
constexpr int kUnhurriedLevels = 3;
constexpr int kMaxLevel = 19;

}  // namespace

SegmentEncoder::SegmentEncoder(const Config& config, const HistoryState& start, PageHashes& hashes)
    : config_(config),
      state_(start),
      hashes_(hashes),
      hasher_(config.checksum_key),
      describer_(config.detail, config.exclude) {}

SegmentEncoder::Scratch::Scratch(int level)
    : hurried(level), unhurried(std::min(level + kUnhurriedLevels, kMaxLevel)) {}

SegmentEncoder::Scratch& SegmentEncoder::Use() {
  if (!scratch_) {
    scratch_ = std::make_unique<Scratch>(config_.level);
  }
  return *scratch_;
}

SegmentBuilder& SegmentEncoder::Builder() {
  if (!builder_) {
    SegmentHeader h;
    h.sqlite_version = config_.sqlite_version;
    h.page_size = config_.page_size;
    h.database_id = config_.database_id;
    h.timeline = config_.timeline;
    h.first_txid = state_.txid.Next();
    h.writer = config_.writer;
    h.predecessor = state_.digest;
    h.start_page_count = state_.page_count;
    h.start_checksum = state_.checksum;
    builder_.emplace(h);
  }
  return *builder_;
}

namespace {

CommitPlace PlaceAt(const WalPosition& position) {
  return {position.salt1, position.salt2, position.frame};
}

CapturedPlace PlaceOf(const WalPosition& end, const std::optional<WalPosition>& wal_before) {
  CapturedPlace place{PlaceAt(end), {}};
  if (wal_before) {
    place.wal_before = PlaceAt(*wal_before);
  }
  return place;
}

}  // namespace

Status SegmentEncoder::AddRecord(const CommitRecord& record, ByteSpan chunks,
                                 const WalPosition& end, const CapturedPlace& told) {
  RETURN_IF_ERROR(Builder().Add(record, chunks));
  if (config_.inbox != nullptr) {
    places_.push_back(told);
  }
  state_.txid = state_.txid.Next();
  state_.page_count = record.page_count;
  state_.checksum = record.db_checksum;
  end_ = end;
  return Status::Ok();
}

Status SegmentEncoder::AddOrigin(int64_t time_us, uint32_t page_count, uint64_t checksum,
                                 const WalPosition& end) {
  CommitRecord record;
  record.time_us = time_us;
  record.flags = kCommitOrigin | kCommitTimeUpperBound;
  record.page_count = page_count;
  record.db_checksum = checksum;
  return AddRecord(record, {}, end, {});
}

Status SegmentEncoder::DropTruncatedPages(uint32_t page_count, uint64_t* checksum) {
  if (page_count >= state_.page_count) {
    return Status::Ok();
  }
  const PageNumber lock_page = LockBytePage(config_.page_size);
  return hashes_.ForRange(page_count + 1, state_.page_count, [&](PageNumber page, uint64_t hash) {
    *checksum ^= page == lock_page ? 0 : hash;
  });
}

Status SegmentEncoder::HashPage(PageNumber page, ByteSpan content, uint64_t* checksum) {
  if (page <= state_.page_count) {
    ASSIGN_OR_RETURN(uint64_t old_hash, hashes_.Get(page));
    *checksum ^= old_hash;
  }
  uint64_t hash = hasher_.Hash(page, content);
  *checksum ^= hash;
  return hashes_.Set(page, hash, state_.txid.Next());
}

namespace {

ByteSpan Join(Bytes& all, ByteSpan more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

// A page of the file that is not what was shipped: somebody writes to the file behind SQLite's
// back. Nobody could decode what is encoded with it.
Status SegmentEncoder::CheckBase(PageNumber page, ByteSpan base) {
  ASSIGN_OR_RETURN(const uint64_t shipped, hashes_.Get(page));
  if (hasher_.Hash(page, base) == shipped) {
    return Status::Ok();
  }
  return CorruptionError("page " + std::to_string(page) +
                         " of the database file is not what it was, and no commit changed it");
}

Status SegmentEncoder::Add(const CapturedCommit& commit) {
  Scratch& scratch = Use();
  CommitRecord record;
  record.time_us = commit.time_us;
  record.page_count = commit.page_count;
  record.wal_frames = commit.wal_frames;
  record.flags = static_cast<uint8_t>((commit.time_is_upper_bound ? kCommitTimeUpperBound : 0) |
                                      (commit.merged > 0 ? kCommitMerged : 0));
  bool all_based = !commit.whole_pages;
  for (const CapturedPage& page : commit.pages) {
    all_based = all_based && (page.base || page.number > state_.page_count);
  }
  if (!all_based) {
    record.flags |= kCommitWholePages;
  }
  for (const CapturedPage& page : commit.pages) {  // before the table is touched
    if (page.base_was_read && PageHasBase(page.number, state_.page_count, record.flags)) {
      RETURN_IF_ERROR(CheckBase(page.number, page.base.bytes()));
    }
  }
  uint64_t checksum = state_.checksum;
  RETURN_IF_ERROR(DropTruncatedPages(commit.page_count, &checksum));
  record.pages.reserve(commit.pages.size());
  scratch.chunks.clear();
  const uint32_t per_chunk = PagesPerChunk(config_.page_size);
  for (size_t first = 0; first < commit.pages.size(); first += per_chunk) {
    size_t last = std::min<size_t>(first + per_chunk, commit.pages.size());
    scratch.pages.clear();
    scratch.bases.clear();
    ByteSpan pages;
    ByteSpan bases;
    for (size_t i = first; i < last; ++i) {
      const CapturedPage& page = commit.pages[i];
      record.pages.push_back(page.number);
      RETURN_IF_ERROR(HashPage(page.number, page.content.bytes(), &checksum));
      const bool based = PageHasBase(page.number, state_.page_count, record.flags);
      if (last - first == 1) {  // most commits are of one page: no need to join them
        pages = page.content.bytes();
        bases = based ? page.base.bytes() : ByteSpan();
        break;
      }
      pages = Join(scratch.pages, page.content.bytes());
      bases = based ? Join(scratch.bases, page.base.bytes()) : ByteSpan(scratch.bases);
    }
    ChunkEncoder& chunks = unhurried_ ? scratch.unhurried : scratch.hurried;
    RETURN_IF_ERROR(chunks.Append(pages, bases, scratch.chunks));
  }
  record.db_checksum = checksum;
  return AddRecord(record, scratch.chunks, commit.end,
                   commit.merged == 0 ? PlaceOf(commit.end, commit.wal_before) : CapturedPlace());
}

Status SegmentEncoder::AddStreamed(const StreamedCommit& commit, bool with_bases,
                                   const PageReader& read, const PartSink& parts) {
  Scratch& scratch = Use();
  CommitRecord record;
  record.time_us = commit.time_us;
  record.flags = commit.flags;
  record.page_count = commit.page_count;
  record.wal_frames = commit.wal_frames;
  record.pages = commit.pages;
  if (!with_bases) {
    record.flags |= kCommitWholePages;
  }
  uint64_t checksum = state_.checksum;
  if (!commit.checksum) {
    RETURN_IF_ERROR(DropTruncatedPages(commit.page_count, &checksum));
  }

  uint64_t nonce = 0;
  uint8_t random[8];
  RETURN_IF_ERROR(FillRandom(random));
  nonce = LoadLe64(random);
  Bytes chunks;
  uint32_t chunk_count = 0;
  auto flush = [&]() -> Status {
    PartRef ref;
    ref.nonce = nonce;
    ref.number = static_cast<uint32_t>(record.parts.size());
    ref.size_bytes = chunks.size();
    ref.digest = ComputeDigest(chunks);
    ref.chunk_count = chunk_count;
    record.parts.push_back(ref);
    chunk_count = 0;
    Bytes full;
    full.swap(chunks);
    return parts(ref, std::move(full));
  };

  const uint32_t per_chunk = PagesPerChunk(config_.page_size);
  const size_t page_size = config_.page_size;
  for (size_t first = 0; first < commit.pages.size(); first += per_chunk) {
    size_t last = std::min<size_t>(first + per_chunk, commit.pages.size());
    scratch.pages.resize((last - first) * page_size);
    scratch.bases.clear();
    for (size_t i = first; i < last; ++i) {
      std::span<uint8_t> content(&scratch.pages[(i - first) * page_size], page_size);
      std::span<uint8_t> base;
      if (PageHasBase(commit.pages[i], state_.page_count, record.flags)) {
        scratch.bases.resize(scratch.bases.size() + page_size);
        base = std::span<uint8_t>(scratch.bases).last(page_size);
      }
      RETURN_IF_ERROR(read(i, content, base));
      if (!base.empty()) {
        RETURN_IF_ERROR(CheckBase(commit.pages[i], base));
      }
      if (!commit.checksum) {
        RETURN_IF_ERROR(HashPage(commit.pages[i], content, &checksum));
      }
    }
    RETURN_IF_ERROR(scratch.hurried.Append(scratch.pages, scratch.bases, chunks));
    ++chunk_count;
    if (chunks.size() >= config_.part_bytes) {
      RETURN_IF_ERROR(flush());
    }
  }
  if (!record.parts.empty()) {
    record.flags |= kCommitInParts;
    if (!chunks.empty()) {
      RETURN_IF_ERROR(flush());
    }
  }
  record.db_checksum = commit.checksum.value_or(checksum);
  const bool resync = (record.flags & kCommitResync) != 0;
  return AddRecord(record, chunks, commit.end,
                   resync ? CapturedPlace() : PlaceOf(commit.end, commit.wal_before));
}

// The statements of the builder's commits; empty when none was told any. Never an error: without
// them the segment is as good for everything but reading and executing them.
Bytes SegmentEncoder::EncodeTold() {
  if (config_.inbox == nullptr) {
    return {};
  }
  std::vector<std::optional<RecordedCommit>> told = config_.inbox->Take(places_);
  places_.clear();
  StatementLog log;
  log.detail = config_.detail;
  log.sqlite_build = config_.sqlite_build;
  bool any = false;
  for (std::optional<RecordedCommit>& commit : told) {
    log.commits.push_back(commit ? describer_.Describe(std::move(*commit)) : CommitStatements());
    any = any || commit.has_value();
  }
  if (!any) {
    return {};
  }
  constexpr uint64_t kMargin = 64;
  Result<Bytes> section = EncodeStatements(log, config_.level);
  if (!section.ok() || builder_->size_bytes() + section->size() + kMargin > kMaxSegmentBytes) {
    for (CommitStatements& commit : log.commits) {
      const bool none = commit.state == StatementsState::kNone;
      commit = CommitStatements();
      commit.state = none ? StatementsState::kNone : StatementsState::kDropped;
    }
    section = EncodeStatements(log, config_.level);
  }
  return section.ok() ? std::move(section).value() : Bytes();
}

Result<SegmentBuilder::Finished> SegmentEncoder::Cut() {
  if (empty()) {
    return InternalError("an empty segment was cut");
  }
  RETURN_IF_ERROR(hashes_.LogSegment(state_.txid));
  const Bytes statements = EncodeTold();
  ASSIGN_OR_RETURN(SegmentBuilder::Finished finished, builder_->Finish(end_, statements));
  builder_.reset();
  state_.digest = finished.digest;
  return finished;
}

void MergeCommits(CapturedCommit& earlier, CapturedCommit later) {
  std::vector<CapturedPage> merged;
  merged.reserve(earlier.pages.size() + later.pages.size());
  auto a = earlier.pages.begin();
  auto b = later.pages.begin();
  while (a != earlier.pages.end() || b != later.pages.end()) {
    if (b == later.pages.end() || (a != earlier.pages.end() && a->number < b->number)) {
      merged.push_back(std::move(*a++));
    } else if (a == earlier.pages.end() || b->number < a->number) {
      // Untouched by the earlier commits: its version before them is the one before the later. A
      // page that they added is always among theirs.
      merged.push_back(std::move(*b++));
    } else {
      merged.push_back({b->number, std::move(b->content), std::move(a->base), a->base_was_read});
      ++a;
      ++b;
    }
  }
  std::erase_if(merged, [&](const CapturedPage& p) { return p.number > later.page_count; });
  earlier.pages = std::move(merged);
  earlier.time_us = later.time_us;
  earlier.time_is_upper_bound = later.time_is_upper_bound;
  earlier.whole_pages = earlier.whole_pages || later.whole_pages;
  earlier.merged += 1 + later.merged;
  earlier.page_count = later.page_count;
  earlier.wal_frames += later.wal_frames;
  earlier.end = later.end;
}

}  // namespace sqlite_s3

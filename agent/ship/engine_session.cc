// How a session starts: who we are, what the store has, and how the database compares with it.

#include <fmt/format.h>

#include <algorithm>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kScanBatchPages = 64;
constexpr size_t kOlderSegments = 2000;
constexpr uint64_t kOlderBytes = 64 << 20;
constexpr uint64_t kMaxSpooledSegmentBytes = kMaxSegmentBytes;

Result<uint64_t> RandomU64() {
  uint8_t bytes[8];
  RETURN_IF_ERROR(FillRandom(bytes));
  return LoadLe64(bytes);
}

}  // namespace

// The line we append to: the one in our identity, or a line of ours that left it just before a
// crash.
Result<TimelineId> EngineImpl::OurTimeline(const std::vector<TimelineDocument>& timelines) {
  TimelineId at = identity_.timeline;
  for (bool moved = true; moved;) {
    moved = false;
    for (const TimelineDocument& line : timelines) {
      if (line.parent == at && line.writer == identity_.writer) {
        at = line.timeline;
        moved = true;
      } else if (line.parent == at && line.supersedes_parent) {
        return AbortedError("timeline " + FormatTimeline(at) + " was left for timeline " +
                            FormatTimeline(line.timeline) + " by another writer");
      }
    }
  }
  return at;
}

Status EngineImpl::OpenSession() {
  ASSIGN_OR_RETURN(std::optional<Identity> known, state_dir_.LoadIdentity());
  const bool told = config_.options.on_conflict != OnConflict::kRefuse && !conflict_resolved_;
  const std::string name = config_.store->Describe();
  if (known && !known->fenced.empty() && known->replica == name && !told) {
    return FailedPreconditionError(
        "shipping to " + name + " is fenced: " + known->fenced +
        ", hint: find out which writer is right, then start once with on_conflict=take-over or "
        "on_conflict=fork, or use another replica");
  }
  if (!config_.store->SupportsConditionalPut()) {
    if (config_.options.require_fencing) {
      return FailedPreconditionError("the store " + name +
                                     " has no create-if-absent, so two writers could not be kept "
                                     "apart, hint: require_fencing=off accepts that");
    }
    Log(LogLevel::kWarning, "fencing is off: " + name + " has no create-if-absent");
  }

  replica_ = std::make_unique<Replica>(*patient_store_);
  Status opened = replica_->Open();
  replica_is_new_ = opened.code() == StatusCode::kNotFound;
  if (!opened.ok() && !replica_is_new_) {
    return opened.WithContext("replica " + name);
  }
  ours_ = known && known->replica == name && !replica_is_new_ && known->fenced.empty() &&
          known->database_id == replica_->document().database_id;
  if (ours_) {
    identity_ = *known;
  } else {
    ASSIGN_OR_RETURN(uint64_t writer, RandomU64());
    identity_ = Identity{{writer}, {}, name, {1}, ""};
  }

  std::optional<WalPosition> resume;
  head_ = Head{};
  std::optional<ImageManifest> newest_image;
  if (!replica_is_new_) {
    identity_.database_id = replica_->document().database_id;
    ASSIGN_OR_RETURN(timelines_, replica_->ListTimelines());
    auto line = ours_ ? OurTimeline(timelines_) : Replica::LatestTimeline(timelines_);
    if (line.code() == StatusCode::kAborted) {
      ours_ = false;
      line = Replica::LatestTimeline(timelines_);
    }
    if (!line.ok()) {
      return line.status().WithContext("replica " + name);
    }
    timeline_ = *line;
    ASSIGN_OR_RETURN(head_, replica_->FindHead(timelines_, timeline_));
    if (ours_ && head_.txid && head_.timeline == timeline_ && !head_.segment_key.empty() &&
        head_.writer != identity_.writer) {
      ours_ = false;  // somebody went on from where we were
    }
    if (!ours_) {
      ASSIGN_OR_RETURN(uint64_t writer, RandomU64());
      identity_.writer = {writer};
    }
    ASSIGN_OR_RETURN(auto ancestry, Replica::Ancestry(timelines_, timeline_));
    for (const auto& ancestor : ancestry) {
      ASSIGN_OR_RETURN(auto images, replica_->ListImages(ancestor.timeline));
      for (ImageManifest& image : images) {
        if (!ancestor.last || image.txid <= *ancestor.last) {
          newest_image = std::move(image);
        }
      }
    }
  } else {
    timeline_ = {1};
  }
  NoteImage(newest_image);
  ASSIGN_OR_RETURN(auto spool, Spool::Open(state_dir_.path("spool")));
  {
    std::lock_guard lock(capture_mutex_);  // GetStatus looks at it
    spool_ = std::move(spool);
  }
  {
    // Who waits asks again: the TXIDs of an earlier session that never left may be given anew.
    std::lock_guard lock(state_mutex_);
    pending_syncs_.clear();
    lag_.clear();
  }
  acked_txid_ = head_.txid.value;
  spool_full_ = false;
  (*shared_)->full = 0;
  if (ours_) {
    RETURN_IF_ERROR(ReconcileSpool(&head_));
    resume = head_.wal.frame != 0 ? std::optional(head_.wal) : std::nullopt;
  } else {
    RETURN_IF_ERROR(spool_->Clear());
  }

  WalCapture::Config capture_config;
  capture_config.database_path = config_.database_path;
  capture_config.vfs = config_.vfs;
  capture_config.join_only = config_.join_only;
  capture_config.account = &account_;
  capture_config.cache_bytes =
      static_cast<uint32_t>(std::min<uint64_t>(config_.options.memory_bytes / 4, 6 << 20));
  capture_config.big_commit_bytes =
      static_cast<uint32_t>(std::min<uint64_t>(config_.options.memory_bytes / 3, 64 << 20));
  {
    std::lock_guard lock(capture_mutex_);
    ASSIGN_OR_RETURN(capture_, WalCapture::Open(capture_config, resume));
    // A hook may capture before the scan begins: what it finds belongs to the tail.
    mode_ = capture_->resumed() ? CaptureMode::kTentative : CaptureMode::kDrop;
    queue_.clear();
    gap_ = false;
  }
  if (capture_->page_count() == 0) {
    return FailedPreconditionError("database '" + config_.database_path + "' is empty");
  }
  if (!replica_is_new_ && replica_->document().page_size != capture_->page_size()) {
    return FailedPreconditionError(fmt::format(
        "replica {} has page size {}, the database {}, hint: a database whose page size changed "
        "needs a replica of its own",
        name, replica_->document().page_size, capture_->page_size()));
  }
  if (replica_is_new_) {
    ReplicaDocument document;
    RETURN_IF_ERROR(FillRandom(document.database_id.bytes));
    RETURN_IF_ERROR(FillRandom(document.checksum_key.bytes));
    document.page_size = capture_->page_size();
    document.created_us = Now();
    identity_.database_id = document.database_id;
    identity_.timeline = timeline_;
    // Known here before it exists there: after a crash in between, the empty replica is still ours.
    RETURN_IF_ERROR(state_dir_.SaveIdentity(identity_));
    Status created = replica_->Create(document, identity_.writer);
    if (!created.ok() && created.code() != StatusCode::kAlreadyExists) {
      return created.WithContext("replica " + name);
    }
    RETURN_IF_ERROR(replica_->Open());
    if (replica_->document().database_id != document.database_id) {
      return created.WithContext("replica " + name);  // somebody else was first
    }
    ASSIGN_OR_RETURN(timelines_, replica_->ListTimelines());
    ours_ = true;
  }
  hasher_.emplace(replica_->document().checksum_key);
  ASSIGN_OR_RETURN(hashes_, PageHashes::Open(state_dir_.path()));
  // The shared block outlives a killed process: what it told may be more than what it shipped.
  told_txid_ = ours_ && !replica_is_new_ && (*shared_)->timeline == timeline_.value
                   ? (*shared_)->captured_txid.load()
                   : 0;
  (*shared_)->captured_txid = told_txid_;
  (*shared_)->timeline = timeline_.value;
  return Status::Ok();
}

void EngineImpl::NoteImage(const std::optional<ImageManifest>& image) {
  std::lock_guard lock(image_mutex_);
  has_image_ = image.has_value();
  image_txid_ = {};
  if (!image) {
    return;
  }
  image_txid_ = image->txid;
  image_made_us_ = image->created_us;
  image_bytes_ = 0;
  for (const ImagePartInfo& part : image->parts) {
    image_bytes_ += part.size_bytes;
  }
}

// What a former process of ours froze but did not see answered. Segments that go on from the head
// are kept and become the head; what the store has already, or what fits nothing, goes.
Status EngineImpl::ReconcileSpool(Head* head) {
  Spool* old = spool_.get();
  bool fits = true;
  size_t keep = 0;
  size_t seen = 0;
  std::vector<SpoolItem> items = old->Items();
  size_t drop_front = 0;
  for (const SpoolItem& item : items) {
    ++seen;
    if (!item.is_segment || !fits) {
      continue;
    }
    auto bytes = old->Read(item);
    if (!bytes.ok()) {
      fits = false;
      continue;
    }
    auto segment = ParseSegment(std::move(bytes).value(), item.key);
    if (!segment.ok() || segment->header.database_id != identity_.database_id ||
        segment->object_size_bytes > kMaxSpooledSegmentBytes) {
      fits = false;
      continue;
    }
    if (segment->header.last_txid() <= head->txid && keep == 0) {
      drop_front = seen;  // answered after all
      continue;
    }
    if (segment->header.timeline != timeline_ || segment->header.writer != identity_.writer ||
        segment->header.first_txid != head->txid.Next() ||
        segment->header.predecessor != head->digest) {
      fits = false;
      continue;
    }
    keep = seen;
    head->timeline = timeline_;
    head->txid = segment->header.last_txid();
    head->digest = segment->digest;
    head->writer = identity_.writer;
    head->page_count = segment->commits.back().page_count;
    head->db_checksum = segment->commits.back().db_checksum;
    head->commit_time_us = segment->commits.back().time_us;
    head->wal = segment->header.end;
    head->segment_key = item.key;
  }
  if (keep == 0) {
    RETURN_IF_ERROR(old->Clear());
  } else {
    for (size_t i = 0; i < drop_front; ++i) {
      RETURN_IF_ERROR(old->Pop());
    }
    RETURN_IF_ERROR(old->DropAfter(keep - drop_front));
    Log(LogLevel::kInfo,
        fmt::format("{} objects of an earlier run are still to be shipped", keep - drop_front));
  }
  return Status::Ok();
}

Status EngineImpl::Scan() {
  bool table_valid = false;
  if (ours_ && head_.txid) {
    ASSIGN_OR_RETURN(table_valid, hashes_->LoadAt(head_.txid, head_.page_count, head_.db_checksum,
                                                  capture_->page_size()));
  }
  {
    std::lock_guard lock(capture_mutex_);
    if (!table_valid) {
      mode_ = CaptureMode::kDrop;
      queue_.clear();
    }
    ASSIGN_OR_RETURN(scan_, HashTableFile::Create(state_dir_.path("hashes.scan")));
    scan_cursor_ = 1;
    scan_sum_ = 0;
    scan_status_ = Status::Ok();
  }
  RETURN_IF_ERROR(ScanPages());

  table_valid_ = table_valid;
  fallback_hashes_.clear();
  StartInputs in;
  in.replica_is_new = replica_is_new_;
  in.on_conflict = conflict_resolved_ ? OnConflict::kRefuse : config_.options.on_conflict;
  for (int round = 0; round < 4; ++round) {
    in.ours = ours_;
    in.replica_empty = !head_.txid;
    in.head_checksum = head_.db_checksum;
    in.head_page_count = head_.page_count;
    StartAction action{};
    {
      std::unique_lock lock(capture_mutex_);
      RETURN_IF_ERROR(CatchUpScan());
      // What the last commits added: the scan would have come to it, but it had ended.
      RETURN_IF_ERROR(ScanSomePages(UINT32_MAX));
      in.live_checksum = scan_sum_;
      in.live_page_count = capture_->page_count();
      in.tail_verified = false;
      if (mode_ == CaptureMode::kTentative) {
        ASSIGN_OR_RETURN(in.tail_verified, VerifyTail());
      }
      if (!ours_ && head_.txid) {
        RETURN_IF_ERROR(scan_->Flush());
        ASSIGN_OR_RETURN(in.passed_head, capture_->PassedThrough(
                                             head_.page_count, head_.db_checksum,
                                             {in.live_page_count, in.live_checksum,
                                              [this](PageNumber page) { return scan_->Get(page); }},
                                             *hasher_));
      }
      action = DecideStart(in);
      if (action == StartAction::kResync && !in.older && !asked_older_) {
        action = StartAction::kRefuse;  // not decided yet: an older TXID may fit
      } else if (action != StartAction::kRefuse && action != StartAction::kNewTimeline &&
                 action != StartAction::kFork &&
                 (action != StartAction::kResync || table_valid_ || asked_fallback_)) {
        return ActOnStart(action);
      }
    }
    // From here on the store is asked, so without the lock; commits go on and the scan follows
    // them.
    if (!in.replica_empty && !asked_older_) {
      asked_older_ = true;
      ASSIGN_OR_RETURN(in.older, FindOlder(in.live_page_count, in.live_checksum));
      action = DecideStart(in);
    }
    switch (action) {
      case StartAction::kRefuse:
        return FailedPreconditionError(RefusalMessage(in, config_.store->Describe()));
      case StartAction::kNewTimeline:
        RETURN_IF_ERROR(StartTimeline(*in.older, TimelineReason::kDiskBehindBucket, true));
        in.older.reset();
        break;
      case StartAction::kFork:
        RETURN_IF_ERROR(
            StartTimeline(in.older ? *in.older : head_.txid, TimelineReason::kFork, false));
        in.older.reset();
        break;
      case StartAction::kResync:
        if (!table_valid_) {
          RETURN_IF_ERROR(LoadFallbackHashes());
        }
        break;
      default:
        break;
    }
  }
  return InternalError("the start of shipping did not come to a decision");
}

// Hashes every page while the pin moves on; commits that touch pages already hashed are followed.
Status EngineImpl::ScanPages() {
  for (;;) {
    if (Interrupted()) {
      return CancelledError("stopping");
    }
    {
      std::lock_guard lock(capture_mutex_);
      RETURN_IF_ERROR(CatchUpScan());
      if (scan_cursor_ > capture_->page_count()) {
        return Status::Ok();
      }
      RETURN_IF_ERROR(ScanSomePages(kScanBatchPages));
    }
    RETURN_IF_ERROR(MakeRoomIfDue());
  }
}

// REQUIRES: capture_mutex_, everything captured.
Status EngineImpl::ScanSomePages(uint32_t most) {
  const uint32_t page_size = capture_->page_size();
  Bytes page(page_size);
  ++looks_;
  for (; most > 0 && scan_cursor_ <= capture_->page_count(); ++scan_cursor_, --most) {
    uint64_t hash = 0;
    if (scan_cursor_ != LockBytePage(page_size)) {
      RETURN_IF_ERROR(capture_->ReadPage(scan_cursor_, page));
      hash = hasher_->Hash(scan_cursor_, page);
    }
    scan_sum_ ^= hash;
    RETURN_IF_ERROR(scan_->Set(scan_cursor_, hash));
  }
  return Status::Ok();
}

// REQUIRES: capture_mutex_. Takes in every commit so far; the scan follows.
Status EngineImpl::CatchUpScan() {
  for (;;) {
    ASSIGN_OR_RETURN(CaptureOutcome outcome, capture_->Capture(*this, UINT32_MAX));
    RETURN_IF_ERROR(scan_status_);
    if (outcome == CaptureOutcome::kCaughtUp) {
      return Status::Ok();
    }
    // Too much to keep one by one: it becomes part of what a resync ships.
    mode_ = CaptureMode::kDrop;
    queue_.clear();
    if (outcome == CaptureOutcome::kBigCommit) {
      const BigCommit& big = capture_->big();
      Bytes page(capture_->page_size());
      if (big.page_count < big.page_count_before) {
        OnShrink(big.page_count_before, big.page_count);
      }
      for (const auto& [number, frame] : big.pages) {
        RETURN_IF_ERROR(capture_->ReadFramePage(frame, page));
        ScanSees(number, page);
      }
      capture_->FinishBigCommit(*this);
    }
  }
}

void EngineImpl::ScanSees(PageNumber page, ByteSpan content) {
  if (page >= scan_cursor_ || !scan_status_.ok()) {
    return;  // the scan will come to it
  }
  auto old_hash = scan_->Get(page);
  if (!old_hash.ok()) {
    scan_status_ = old_hash.status();
    return;
  }
  uint64_t hash = hasher_->Hash(page, content);
  scan_sum_ ^= *old_hash ^ hash;
  scan_status_ = scan_->Set(page, hash);
}

Result<std::optional<Txid>> EngineImpl::FindOlder(uint32_t page_count, uint64_t checksum) {
  std::optional<Txid> found;
  Txid from = has_image_ ? image_txid_ : Txid{1};
  if (from > head_.txid) {
    return found;
  }
  Head stored = head_;
  ASSIGN_OR_RETURN(stored, replica_->FindHead(timelines_, timeline_));
  if (!stored.txid || from > stored.txid) {
    return found;
  }
  // A disk falls behind by what was not yet synced, not by days: only so much of the log is read
  // for it. What is older than that ends in a resync.
  ASSIGN_OR_RETURN(auto log, ListAll(*patient_store_, keys::LogPrefix(timeline_),
                                     keys::LogSegment(timeline_, from)));
  uint64_t bytes = 0;
  for (size_t n = 0; n < log.size(); ++n) {
    const ObjectInfo& object = log[log.size() - 1 - n];
    bytes += object.size_bytes;
    auto key = keys::ParseLogSegment(object.key);
    if (key && (n + 1 >= kOlderSegments || bytes >= kOlderBytes)) {
      from = key->first;
      break;
    }
  }
  std::vector<SegmentSummary> good;
  auto chain = replica_->ReadChain(timelines_, timeline_, from, stored.txid, &good);
  const std::vector<SegmentSummary>& segments = chain.ok() ? *chain : good;
  for (const SegmentSummary& segment : segments) {
    Txid txid = segment.header.first_txid;
    for (const CommitRecord& commit : segment.commits) {
      if (commit.page_count == page_count && commit.db_checksum == checksum) {
        found = txid;  // the last one wins
      }
      txid = txid.Next();
    }
  }
  if (found && *found == head_.txid) {
    found.reset();
  }
  return found;
}

// Without a local table: the newest image's hashes, and every page that any later segment touched
// counts as different (a page may have gone back to the image's content; comparing with the image
// alone would miss it).
Status EngineImpl::LoadFallbackHashes() {
  asked_fallback_ = true;
  fallback_hashes_.clear();
  if (!has_image_) {
    return Status::Ok();  // everything differs
  }
  ASSIGN_OR_RETURN(auto ancestry, Replica::Ancestry(timelines_, timeline_));
  std::optional<ImageManifest> newest;
  for (const auto& ancestor : ancestry) {
    ASSIGN_OR_RETURN(auto images, replica_->ListImages(ancestor.timeline));
    for (ImageManifest& image : images) {
      if ((!ancestor.last || image.txid <= *ancestor.last) && image.txid <= head_.txid) {
        newest = std::move(image);
      }
    }
  }
  if (!newest) {
    return Status::Ok();
  }
  auto hashes = replica_->ReadImageHashes(*newest);
  if (!hashes.ok()) {
    Log(LogLevel::kWarning, "every page is shipped again: " + hashes.status().ToString());
    return Status::Ok();
  }
  auto touch = [&](const CommitRecord& commit) {
    for (PageNumber page : commit.pages) {
      if (page <= hashes->size()) {
        (*hashes)[page - 1] = 0;
      }
    }
    if (commit.page_count < hashes->size()) {
      hashes->resize(commit.page_count);
    }
  };
  if (newest->txid < head_.txid) {
    // The spool before the store: what leaves the one meanwhile is found in the other.
    for (const SpoolItem& item : spool_->Items()) {
      if (!item.is_segment) {
        continue;
      }
      auto bytes = spool_->Read(item);
      if (bytes.code() == StatusCode::kNotFound) {
        continue;
      }
      RETURN_IF_ERROR(bytes.status());
      ASSIGN_OR_RETURN(Segment segment, ParseSegmentTable(std::move(bytes).value(), item.key));
      std::for_each(segment.commits.begin(), segment.commits.end(), touch);
    }
    ASSIGN_OR_RETURN(auto chain,
                     replica_->ReadChain(timelines_, timeline_, newest->txid.Next(), std::nullopt));
    for (const SegmentSummary& segment : chain) {
      std::for_each(segment.commits.begin(), segment.commits.end(), touch);
    }
  }
  fallback_hashes_ = std::move(*hashes);
  return Status::Ok();
}

}  // namespace sqlite_s3

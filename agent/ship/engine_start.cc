// Acting on the decision of a start: continue, ship the tail, resync, or begin a timeline.

#include <fmt/format.h>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {

SegmentEncoder::Config EngineImpl::EncoderConfig() const {
  SegmentEncoder::Config c;
  c.page_size = capture_->page_size();
  c.sqlite_version = static_cast<uint32_t>(sqlite3_libversion_number());
  c.database_id = identity_.database_id;
  c.timeline = timeline_;
  c.writer = identity_.writer;
  c.checksum_key = replica_->document().checksum_key;
  c.level = config_.options.compression_level;
  return c;
}

void EngineImpl::MakeEncoder() {
  SegmentEncoder::Config c = EncoderConfig();
  c.inbox = inbox_.get();
  if (inbox_) {
    c.detail = config_.options.statements == StatementLevel::kValues ? StatementDetail::kValues
                                                                     : StatementDetail::kText;
    c.exclude = config_.options.statements_exclude;
    c.sqlite_build = SqliteBuild();
  }
  encoder_ = std::make_unique<SegmentEncoder>(
      c, HistoryState{head_.txid, head_.digest, head_.page_count, head_.db_checksum}, *hashes_);
}

// REQUIRES: capture_mutex_, mode_ == kTentative, everything captured. Encodes the commits that the
// WAL has after the head, whole pages where bases are unsure, and asks whether they lead to the
// database as it is. If not, nothing of it stays.
Result<bool> EngineImpl::VerifyTail() {
  MakeEncoder();
  Status added;
  for (size_t i = 0; i < queue_.size() && added.ok(); ++i) {
    added = encoder_->Add(queue_[i]);
  }
  if (!added.ok() && added.code() != StatusCode::kCorruption) {
    return added;
  }
  const bool right = added.ok() && encoder_->state().checksum == scan_sum_ &&
                     encoder_->state().page_count == capture_->page_count();
  if (right) {
    queue_.clear();
    return true;
  }
  encoder_.reset();
  queue_.clear();
  mode_ = CaptureMode::kDrop;
  ASSIGN_OR_RETURN(table_valid_, hashes_->LoadAt(head_.txid, head_.page_count, head_.db_checksum,
                                                 capture_->page_size()));
  return false;
}

// REQUIRES: capture_mutex_, everything captured: queue_ is empty and scan_ is the live database.
Status EngineImpl::ActOnStart(StartAction action) {
  identity_.timeline = timeline_;
  identity_.fenced.clear();
  // Before the first segment under this name: a restart must know that it was ours.
  RETURN_IF_ERROR(state_dir_.SaveIdentity(identity_));
  conflict_resolved_ = true;
  shipped_as_ = identity_;
  switch (action) {
    case StartAction::kOrigin:
      RETURN_IF_ERROR(hashes_->Adopt(std::move(*scan_)));
      MakeEncoder();
      last_commit_time_us_ = Now();
      RETURN_IF_ERROR(encoder_->AddOrigin(last_commit_time_us_, capture_->page_count(), scan_sum_,
                                          capture_->position()));
      break;
    case StartAction::kContinue:
      last_commit_time_us_ = head_.commit_time_us;
      encoder_.reset();
      RETURN_IF_ERROR(hashes_->Adopt(std::move(*scan_)));
      MakeEncoder();
      break;
    case StartAction::kShipTail:
      if (!encoder_->empty()) {
        Log(LogLevel::kInfo,
            fmt::format("shipping {} commits that the WAL still had", encoder_->commit_count()));
      }
      break;
    case StartAction::kResync:
      RETURN_IF_ERROR(StartResync());
      break;
    default:
      return InternalError("a start action out of place");
  }
  if (action != StartAction::kOrigin) {
    RETURN_IF_ERROR(KeepToldTxids());
  }
  scan_.reset();
  segment_since_us_ = Monotonic();
  assigned_txid_ = encoder_->state().txid.value;
  (*shared_)->captured_txid = assigned_txid_.load();
  (*shared_)->shipped_txid = has_image_ ? acked_txid_.load() : 0;
  if (action == StartAction::kOrigin || action == StartAction::kResync) {
    RETURN_IF_ERROR(CutNow());
  }
  mode_ = CaptureMode::kShip;
  if (action == StartAction::kOrigin) {
    StartImageLocked();  // in the same breath: the image is exactly TXID 1
  }
  return Status::Ok();
}

// REQUIRES: as ActOnStart. Ships what differs between the head and the database as one commit. The
// pin stays where it is meanwhile, so the pages cannot change under us.
Status EngineImpl::StartResync() {
  ASSIGN_OR_RETURN(std::vector<PageNumber> pages, DifferingPages());
  SegmentEncoder::StreamedCommit commit;
  commit.time_us = Now();
  commit.flags = kCommitResync | kCommitTimeUpperBound;
  commit.page_count = capture_->page_count();
  commit.end = capture_->position();
  commit.pages = std::move(pages);
  commit.checksum = scan_sum_;
  MakeEncoder();
  auto read = [&](size_t i, std::span<uint8_t> content, std::span<uint8_t>) -> Status {
    PageNumber page = commit.pages[i];
    RETURN_IF_ERROR(capture_->ReadPage(page, content));
    ASSIGN_OR_RETURN(uint64_t expected, scan_->Get(page));
    if (hasher_->Hash(page, content) != expected) {
      return CorruptionError("page " + std::to_string(page) + " changed while it was read");
    }
    return Status::Ok();
  };
  auto push = [&](const PartRef& ref, Bytes bytes) { return PushPart(ref, std::move(bytes)); };
  RETURN_IF_ERROR(encoder_->AddStreamed(commit, false, read, push));
  last_commit_time_us_ = commit.time_us;
  ++resyncs_;
  Log(LogLevel::kInfo, fmt::format("resync: {} of {} pages differ from the replica",
                                   commit.pages.size(), commit.page_count));
  return hashes_->Adopt(std::move(*scan_));
}

// Commits that were captured and told, and then lost with the session, or the process, that held
// them: their TXIDs must not come to mean later commits. They stay restore points, of the state
// that the start found.
Status EngineImpl::KeepToldTxids() {
  constexpr uint64_t kMostLost = 1'000'000;  // else it is not a number that we wrote
  const uint64_t have = encoder_->state().txid.value;
  if (told_txid_ <= have || told_txid_ - have > kMostLost) {
    return Status::Ok();
  }
  Log(LogLevel::kWarning,
      fmt::format("shipping ended before {} captured commits were kept: TXID {} to {} are the "
                  "database as it is now",
                  told_txid_ - have, FormatTxid({have + 1}), FormatTxid({told_txid_})));
  SegmentEncoder::StreamedCommit same;
  same.time_us = Now();
  same.flags = kCommitResync | kCommitTimeUpperBound;
  same.page_count = encoder_->state().page_count;
  same.checksum = encoder_->state().checksum;
  same.end = capture_->position();
  while (encoder_->state().txid.value < told_txid_) {
    RETURN_IF_ERROR(encoder_->AddStreamed(same, false, {}, {}));
  }
  last_commit_time_us_ = same.time_us;
  return Status::Ok();
}

Result<std::vector<PageNumber>> EngineImpl::DifferingPages() {
  std::vector<PageNumber> pages;
  const uint32_t live = capture_->page_count();
  const PageNumber lock_page = LockBytePage(capture_->page_size());
  RETURN_IF_ERROR(scan_->Flush());
  Status status;
  auto compare = [&](PageNumber page, uint64_t theirs) {
    if (page == lock_page || page > live || !status.ok()) {
      return;
    }
    auto ours = scan_->Get(page);
    if (!ours.ok()) {
      status = ours.status();
    } else if (*ours != theirs) {
      pages.push_back(page);
    }
  };
  uint32_t known = 0;
  if (table_valid_) {
    known = std::min(head_.page_count, live);
    if (known > 0) {
      RETURN_IF_ERROR(hashes_->ForRange(1, known, compare));
    }
  } else {
    known = std::min<uint32_t>(static_cast<uint32_t>(fallback_hashes_.size()),
                               std::min(head_.page_count, live));
    for (PageNumber page = 1; page <= known; ++page) {
      compare(page, fallback_hashes_[page - 1]);
    }
  }
  RETURN_IF_ERROR(status);
  for (uint64_t page = uint64_t{known} + 1; page <= live; ++page) {
    if (page != lock_page) {
      pages.push_back(static_cast<PageNumber>(page));
    }
  }
  fallback_hashes_.clear();
  return pages;
}

// REQUIRES: capture_mutex_. Until the spool has room. As with a full spool (GiveWayIfAwaited), a
// store that is away must not hold up an application's checkpoints for as long as it is: the pin
// cannot move before the commit is whole, so the session ends, and what differs is shipped by the
// next.
Status EngineImpl::AwaitSpool(uint64_t bytes) {
  constexpr auto kLook = std::chrono::milliseconds(100);
  constexpr int64_t kStuckMicros = 5'000'000;
  uint64_t waiting = spool_->bytes();
  int64_t since = Monotonic();
  awaited_since_us_ = since;
  for (;;) {
    {
      std::unique_lock lock(state_mutex_);
      upload_cv_.wait_for(lock, kLook, [&] {
        return Interrupted() || fenced_ || spool_->bytes() == 0 ||
               spool_->bytes() + bytes <= config_.options.spool_bytes;
      });
    }
    if (Interrupted() || fenced_) {
      return CancelledError("stopping");
    }
    const uint64_t left = spool_->bytes();
    if (left == 0 || left + bytes <= config_.options.spool_bytes) {
      return Status::Ok();
    }
    const int64_t now = Monotonic();
    if (std::exchange(waiting, left) != left) {
      since = now;
    }
    if (!uploads_fail_ && now - since < kStuckMicros) {
      (void)IsAwaited();  // slow, but it goes on
      awaited_since_us_ = now;
    } else if (config_.options.when_full == WhenFull::kResync || IsAwaited()) {
      return UnavailableError(
          "a commit larger than the spool waits for the store, and a checkpoint of the "
          "application's for us: commits from now on share one restore point");
    }
  }
}

// REQUIRES: capture_mutex_.
Status EngineImpl::PushPart(const PartRef& ref, Bytes bytes) {
  RETURN_IF_ERROR(state_dir_.CheckInPlace());
  // One commit larger than the spool goes out piece by piece. Nobody drains the spool during Start.
  if (uploading_) {
    RETURN_IF_ERROR(AwaitSpool(bytes.size()));
  }
  SpoolItem item;
  item.key = keys::Part(timeline_, ref.nonce, ref.number);
  RETURN_IF_ERROR(spool_->Push(std::move(item), std::move(bytes)));
  WakeUploader();
  return Status::Ok();
}

// The next key of the line that is left gets a commit that changes nothing. Whoever carries our
// name too (a machine and its clone) and goes on with that line is fenced by it: else it would ship
// to where "latest" does not look, without a word.
Status EngineImpl::CloseLine() {
  ASSIGN_OR_RETURN(const Head last, replica_->FindHead(timelines_, timeline_));
  SegmentEncoder encoder(EncoderConfig(),
                         HistoryState{last.txid, last.digest, last.page_count, last.db_checksum},
                         *hashes_);
  SegmentEncoder::StreamedCommit same;
  same.time_us = Now();
  same.flags = kCommitResync | kCommitTimeUpperBound;
  same.page_count = last.page_count;
  same.checksum = last.db_checksum;
  RETURN_IF_ERROR(encoder.AddStreamed(same, false, {}, {}));
  ASSIGN_OR_RETURN(const SegmentBuilder::Finished closing, encoder.Cut());
  const std::string key = keys::LogSegment(timeline_, last.txid.Next());
  Status put = patient_store_->PutIfAbsent(key, closing.bytes).status();
  if (put.code() == StatusCode::kAlreadyExists) {
    ASSIGN_OR_RETURN(const Bytes theirs, patient_store_->Get(key, kMaxSegmentBytes));
    put = theirs == closing.bytes
              ? Status::Ok()
              : FailedPreconditionError(
                    "another writer of this name, " + FormatWriterId(identity_.writer) +
                    ", goes on with timeline " + FormatTimeline(timeline_) +
                    ", which this database is behind, hint: is this machine a copy? Use another "
                    "replica here, or end the other writer and start again");
  }
  return put;
}

Status EngineImpl::StartTimeline(Txid parent, TimelineReason reason, bool supersedes) {
  TimelineDocument line;
  line.timeline = {timelines_.back().timeline.value + 1};
  line.parent = timeline_;
  line.parent_txid = parent;
  line.reason = reason;
  line.supersedes_parent = supersedes;
  line.writer = identity_.writer;
  line.created_us = Now();
  // What was frozen for the old line after `parent` is not part of the new one; nor may an answer
  // that is still on its way be taken for one about the new line's objects.
  const bool uploading = uploading_;
  StopUploader();
  RETURN_IF_ERROR(spool_->Clear());
  if (supersedes) {
    RETURN_IF_ERROR(CloseLine());
  }
  // What it will be is known here before the line exists there: after a crash in between it is
  // still ours, and not begun a second time. Its time, too, for a clone of this machine has our
  // name.
  identity_.timeline = timeline_;
  RETURN_IF_ERROR(state_dir_.SaveIdentity(identity_));
  auto put = patient_store_->PutIfAbsent(keys::TimelineFile(line.timeline),
                                         AsBytes(FormatTimelineDocument(line)));
  if (!put.ok()) {
    return put.status().WithContext("timeline " + FormatTimeline(line.timeline));
  }
  Log(LogLevel::kWarning,
      fmt::format("timeline {} starts from TXID {} of timeline {}: {}",
                  FormatTimeline(line.timeline), FormatTxid(parent), FormatTimeline(timeline_),
                  supersedes ? "the database is behind the replica" : "fork, as told"));
  timeline_ = line.timeline;
  told_txid_ = 0;
  ours_ = true;
  ASSIGN_OR_RETURN(timelines_, replica_->ListTimelines());
  ASSIGN_OR_RETURN(head_, replica_->FindHead(timelines_, timeline_));
  table_valid_ = false;
  (*shared_)->timeline = timeline_.value;
  acked_txid_ = head_.txid.value;
  // Images after the parent's TXID are of the abandoned line.
  {
    std::lock_guard lock(image_mutex_);
    has_image_ = has_image_ && image_txid_ <= parent;
  }
  if (uploading) {
    StartUploader();
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

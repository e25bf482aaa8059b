// The scan of a start: every page of the live database is hashed, and what that says about it and
// the replica decides how shipping goes on.

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <deque>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kScanBatchPages = 64;
constexpr int64_t kFreshenMicros = 10'000;
constexpr int kIndexTries = 5000;  // a millisecond apart
constexpr size_t kOlderSegments = 2000;
constexpr uint64_t kOlderBytes = 64 << 20;

}  // namespace

Status EngineImpl::Scan() {
  scan_begun_ = false;
  bool done = false;
  while (!done) {
    RETURN_IF_ERROR(ScanSlice(INT64_MAX, &done));
  }
  return Status::Ok();
}

Status EngineImpl::ScanSlice(int64_t most_us, bool* done) {
  if (!scan_begun_) {
    RETURN_IF_ERROR(BeginScan());
    scan_begun_ = true;
  }
  bool scanned = false;
  RETURN_IF_ERROR(ScanPages(most_us, &scanned));
  if (scanned) {
    RETURN_IF_ERROR(DecideAfterScan());
    *done = true;
  }
  return Status::Ok();
}

Status EngineImpl::BeginScan() {
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
  table_valid_ = table_valid;
  fallback_hashes_.clear();
  return Status::Ok();
}

Status EngineImpl::DecideAfterScan() {
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
    const auto watch = WatchPin(PinWatch::kWhileAsked);
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

// Hashes pages, for a while, as the pin moves on; commits that touch pages already hashed are
// followed.
Status EngineImpl::ScanPages(int64_t most_us, bool* done) {
  const int64_t begin = Monotonic();
  int64_t freshened = 0;
  while (Monotonic() - begin < most_us) {
    if (Interrupted()) {
      return CancelledError("stopping");
    }
    {
      std::lock_guard lock(capture_mutex_);
      RETURN_IF_ERROR(CatchUpScan());
      if (scan_cursor_ > capture_->page_count()) {
        *done = true;
        return Status::Ok();
      }
      RETURN_IF_ERROR(ScanSomePages(kScanBatchPages));
    }
    lane_ = Lane::kCheckpoint;  // a start has a thread for it
    RETURN_IF_ERROR(MakeRoomIfDue());
    if (Monotonic() - freshened >= kFreshenMicros) {
      RETURN_IF_ERROR(FreshenPin());
      freshened = Monotonic();
    }
  }
  return Status::Ok();
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

// REQUIRES: capture_mutex_. Takes in every commit so far; the scan, if it has begun, follows.
Status EngineImpl::CatchUpScan() {
  for (int tries = 1;;) {
    const auto captured = capture_->Capture(*this, UINT32_MAX);
    if (captured.code() == StatusCode::kUnavailable && tries++ < kIndexTries && !Interrupted()) {
      // A writer without a core between the two copies of the index's header ends no start.
      const timespec pause{0, 1'000'000};
      nanosleep(&pause, nullptr);
      continue;
    }
    RETURN_IF_ERROR(captured.status());
    const CaptureOutcome outcome = *captured;
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
        if (!scan_) {
          break;
        }
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
  std::deque<ObjectInfo> log;  // the last ones
  RETURN_IF_ERROR(ForEachListed(*patient_store_, keys::LogPrefix(timeline_),
                                keys::LogSegment(timeline_, from), [&](ObjectInfo object) {
                                  log.push_back(std::move(object));
                                  if (log.size() > kOlderSegments) {
                                    log.pop_front();
                                  }
                                  return Status::Ok();
                                }));
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

// What happens to a captured commit: queued, merged, followed by a scan, set aside for an image.
// All of it runs with capture_mutex_ held, on the worker or in the committing thread.

#include <algorithm>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {

// ---------------------------------------------------------

void EngineImpl::OnCapturedCommit(CapturedCommit commit) {
  last_activity_us_ = Monotonic();
  bytes_captured_ += uint64_t{commit.wal_frames} * capture_->page_size();
  if (scan_) {
    for (const CapturedPage& page : commit.pages) {
      ScanSees(page.number, page.content.bytes());
    }
  }
  if (mode_ == CaptureMode::kDrop) {
    return;  // also before the scan has begun: it will see what this commit left
  }
  if (queue_.empty()) {
    queue_since_us_ = last_activity_us_;
  }
  // What was published was told to somebody, or an image is made of it: it stays as it is.
  if (merging_ && !queue_.empty() && assigned_txid_ > (*shared_)->captured_txid) {
    MergeCommits(queue_.back(), std::move(commit));
    ++merged_commits_;
    return;
  }
  queue_.push_back(std::move(commit));
  if (mode_ == CaptureMode::kShip) {
    ++assigned_txid_;
    if (!merging_) {
      (*shared_)->captured_txid = assigned_txid_.load();
    }
  }
}

int64_t EngineImpl::CommitTime(uint32_t frame, bool* upper_bound) {
  int64_t told = shared_->TakeCommitTime(frame);
  // A note left from an earlier WAL with a commit at the same frame is older than the commit
  // before.
  if (last_told_us_ > Now()) {
    last_told_us_ = 0;  // the clock was set back
  }
  if (told < last_told_us_) {
    told = 0;
  }
  last_told_us_ = std::max(told, last_told_us_);
  *upper_bound = told == 0;
  if (told == 0) {
    ++unannounced_;
    return Now();
  }
  return told;
}

void EngineImpl::SetAside(PageNumber page, PagePtr previous) {
  constexpr uint64_t kAsideMemory = 4 << 20;
  image_->SetAside(page, std::move(previous),
                   std::min(kAsideMemory, config_.options.memory_bytes / 4));
}

void EngineImpl::OnShrink(uint32_t before, uint32_t after) {
  if (image_ && image_->page_count > after) {
    image_->hold_pin = true;
    image_->cut_off_cursor = after + 1;
  }
  if (scan_ && scan_cursor_ > after + 1) {
    const PageNumber end = std::min<PageNumber>(before + 1, scan_cursor_);
    for (PageNumber page = after + 1; page < end && scan_status_.ok(); ++page) {
      auto hash = scan_->Get(page);
      if (hash.ok()) {
        scan_sum_ ^= *hash;
      } else {
        scan_status_ = hash.status();
      }
    }
    scan_cursor_ = after + 1;
    if (scan_status_.ok()) {
      scan_status_ = scan_->Truncate(after);
    }
  }
}

bool EngineImpl::HasRoom() {
  // With nothing queued one commit is always let in, whatever else holds memory: it must go on.
  return merging_ || mode_ == CaptureMode::kDrop || queue_.empty() ||
         account_.bytes() < config_.options.memory_bytes;
}

}  // namespace sqlite_s3

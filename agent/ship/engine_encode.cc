// From captured commits to segments in the spool: encoding a slice at a time, and when to cut.

#include <fmt/format.h>

#include <algorithm>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {

// Encodes a slice of the queue, so that capture gets its turn in between: whatever the worker does
// not capture in time, the committing thread must, when its checkpoint is due.
Status EngineImpl::EncodeQueue(size_t max_commits) {
  encode_batch_.clear();
  int64_t since = 0;
  {
    std::lock_guard lock(capture_mutex_);
    since = queue_since_us_;
    while (!queue_.empty() && !spool_full_ && encode_batch_.size() < max_commits) {
      encode_batch_.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    queue_left_ = !queue_.empty() && !spool_full_;
    if (queue_left_) {
      queue_since_us_ = Monotonic();
    }
  }
  encoder_->SetUnhurried(encode_batch_.size() < max_commits / 2);
  for (const CapturedCommit& commit : encode_batch_) {
    if (encoder_->empty()) {
      segment_since_us_ = since;
    }
    RETURN_IF_ERROR(encoder_->Add(commit));
    ++encoded_commits_;
    NoteEncoded(commit.time_us);
    if (encoder_->size_bytes() >= config_.options.segment_bytes) {
      bool full = false;
      RETURN_IF_ERROR(CutIfDue(&full));
    }
  }
  encode_batch_.clear();  // gives the pages back
  return Status::Ok();
}

// All that is queued, into segments that are complete. REQUIRES: capture_mutex_.
Status EngineImpl::EncodeRest() {
  while (!queue_.empty()) {
    if (encoder_->empty()) {
      segment_since_us_ = queue_since_us_;
    }
    RETURN_IF_ERROR(encoder_->Add(queue_.front()));
    NoteEncoded(queue_.front().time_us);
    queue_.pop_front();
  }
  return encoder_->empty() ? Status::Ok() : CutNow();
}

// REQUIRES: capture_mutex_, capture_->big() is next.
Status EngineImpl::EncodeBig() {
  const BigCommit& big = capture_->big();
  if (big.page_count < big.page_count_before) {
    OnShrink(big.page_count_before, big.page_count);  // an image may have begun since it was found
  }
  RETURN_IF_ERROR(EncodeRest());  // what came before it
  SegmentEncoder::StreamedCommit commit;
  commit.time_us = big.time_us;
  commit.flags = static_cast<uint8_t>(big.time_is_upper_bound ? kCommitTimeUpperBound : 0);
  commit.page_count = big.page_count;
  commit.wal_frames = big.wal_frames;
  commit.end = big.end;
  commit.wal_before = big.wal_before;
  commit.pages.reserve(big.pages.size());
  for (const auto& [page, frame] : big.pages) {
    commit.pages.push_back(page);
  }
  auto read = [&](size_t i, std::span<uint8_t> content, std::span<uint8_t> base) -> Status {
    ++looks_;
    const auto& [page, frame] = big.pages[i];
    if (WantsPrevious(page)) {
      PagePtr previous = PagePtr::Make(capture_->page_size(), account_);
      RETURN_IF_ERROR(capture_->ReadPrevious(page, previous.writable()));
      SetAside(page, std::move(previous));
    }
    if (!base.empty()) {
      RETURN_IF_ERROR(capture_->ReadPrevious(page, base));
    }
    return capture_->ReadFramePage(frame, content);
  };
  auto push = [&](const PartRef& ref, Bytes bytes) { return PushPart(ref, std::move(bytes)); };
  segment_since_us_ = Monotonic();
  RETURN_IF_ERROR(encoder_->AddStreamed(commit, !big.whole_pages, read, push));
  bytes_captured_ += uint64_t{big.wal_frames} * capture_->page_size();
  capture_->FinishBigCommit(*this);
  (*shared_)->captured_txid = ++assigned_txid_;
  ++encoded_commits_;
  NoteEncoded(commit.time_us);
  last_activity_us_ = Monotonic();
  return Status::Ok();
}

CutInputs EngineImpl::CutState() {
  CutInputs in;
  in.commits = encoder_->commit_count();
  in.bytes = encoder_->size_bytes();
  const int64_t now = Monotonic();
  in.age_us = now - segment_since_us_;
  if (last_cut_us_) {
    in.paced_us = std::max<int64_t>(*last_cut_us_ + budget_.Now().pace.count() - now, 0);
  }
  in.spool_bytes = spool_->bytes();
  in.uploader_idle = spool_->size() == 0;
  in.waiter = flushing_ || (*shared_)->sync_ticket != (*shared_)->synced_ticket;
  return in;
}

Status EngineImpl::CutIfDue(bool* full) {
  const CutInputs in = CutState();
  CutDecision decision = DecideCut(in, config_.options);
  const int64_t age_left_us = config_.options.interval.count() * 1000 - in.age_us;
  if (decision == CutDecision::kNo && in.commits > 0 &&
      in.paced_us > std::max(age_left_us, int64_t{0})) {
    TellOfBudget();
  }
  *full = decision == CutDecision::kFull || big_waits_;
  SetSpoolFull(*full);
  return decision == CutDecision::kCut ? CutNow() : Status::Ok();
}

void EngineImpl::SetSpoolFull(bool full) {
  if (spool_full_.exchange(full) != full) {
    (*shared_)->full = full ? 1 : 0;
    shared_->Publish();  // commits may be held until there is room
  }
}

void EngineImpl::TellOfBudget() {
  const RequestBudget::State budget = budget_.Now();
  if (!budget_.IsNews(budget.over ? RequestBudget::Notice::kOver
                                  : RequestBudget::Notice::kStretched)) {
    return;
  }
  Log(LogLevel::kWarning,
      fmt::format("{} of this month's request_budget of {} are spent: segments are {} s apart "
                  "now{}",
                  budget.used, config_.options.request_budget,
                  std::chrono::ceil<std::chrono::seconds>(budget.pace).count(),
                  budget.over ? ", and no further images are made" : ""));
}

Status EngineImpl::CutNow() {
  RETURN_IF_ERROR(state_dir_.CheckInPlace());  // what is there now may be another process's
  last_cut_us_ = Monotonic();
  SpoolItem item;
  item.is_segment = true;
  item.key =
      keys::LogSegment(timeline_, {encoder_->state().txid.value - encoder_->commit_count() + 1});
  item.commits = encoder_->commit_count();
  item.last = encoder_->state().txid;
  item.oldest_commit_us = segment_since_us_;
  ASSIGN_OR_RETURN(SegmentBuilder::Finished finished, encoder_->Cut());
  item.digest = finished.digest;
  {
    std::lock_guard lock(state_mutex_);
    lag_.emplace_back(item.last.value, item.oldest_commit_us);
  }
  RETURN_IF_ERROR(spool_->Push(std::move(item), std::move(finished.bytes)));
  WakeUploader();
  return Status::Ok();
}

}  // namespace sqlite_s3

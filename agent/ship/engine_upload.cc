// The uploader: one object of the log on its way at a time, in order, the same bytes until
// answered.

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "agent/ship/engine_impl.h"
#include "agent/ship/guarded.h"
#include "common/base/cancellation.h"

namespace sqlite_s3 {
namespace {

constexpr std::chrono::milliseconds kFirstBackoff{100};
constexpr std::chrono::milliseconds kMaxBackoff{5000};
constexpr std::chrono::milliseconds kAwayWait{1000};  // while others find out about the store
// Segments live at least an hour by the store's clock, so a pause much shorter than that cannot
// have seen our key expire and be free again.
constexpr int64_t kPauseMicros = int64_t{15} * 60 * 1'000'000;

}  // namespace

void EngineImpl::StartUploader() {
  uploader_stop_ = false;
  uploads_fail_ = false;
  uploading_ = true;
  upload_backoff_ = std::chrono::milliseconds(0);
  upload_not_before_us_ = 0;
  upload_turn_.reset();
  if (config_.pool) {
    auto task = config_.pool->Add(Lane::kUpload, [this](Lane lane) {
      const auto wait = GuardedUploadStep();
      return !wait                                       ? WorkPool::Next::End()
             : *wait == std::chrono::microseconds::max() ? WorkPool::Next::WhenWoken(lane)
                                                         : WorkPool::Next::After(*wait, lane);
    });
    std::lock_guard lock(task_mutex_);
    upload_task_ = std::move(task);
    return;
  }
  uploader_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "s3-upload");
    while (const auto wait = GuardedUploadStep()) {
      if (wait->count() == 0) {
        continue;
      }
      std::unique_lock lock(state_mutex_);
      if (*wait == std::chrono::microseconds::max()) {
        // Push notifies under the same mutex after the item is in, so no wake-up is lost; the bound
        // is for stopping only.
        upload_cv_.wait_for(lock, 2 * config_.idle_look,
                            [&] { return uploader_stop_.load() || spool_->size() != 0; });
      } else {
        upload_cv_.wait_for(lock, *wait, [&] { return uploader_stop_.load(); });
      }
    }
  });
}

void EngineImpl::StopUploader() {
  uploader_stop_ = true;
  uploading_ = false;
  {
    std::lock_guard lock(state_mutex_);
    upload_cv_.notify_all();
  }
  if (shared_) {
    shared_->Publish();
  }
  if (uploader_.joinable()) {
    uploader_.join();
  }
  std::shared_ptr<WorkPool::Task> task;
  {
    std::lock_guard lock(task_mutex_);
    task.swap(upload_task_);
  }
  if (task) {
    task->Cancel();
  }
  upload_turn_.reset();  // others need not wait for it
}

void EngineImpl::WakeUploader() {
  {
    std::lock_guard lock(state_mutex_);
    upload_cv_.notify_all();  // Stop may wait on it too
  }
  std::shared_ptr<WorkPool::Task> task;
  {
    std::lock_guard lock(task_mutex_);
    task = upload_task_;
  }
  if (task) {
    task->Wake();
  }
}

// The state follows the uploads only once the start is through: until then TXIDs are not known.
void EngineImpl::ShowUploads(const Status& status) {
  if (!status.ok() && !started_) {
    std::lock_guard lock(state_mutex_);
    last_error_ = status.ToString();
  }
  bool fail = false;
  do {
    fail = uploads_fail_;
    if (!started_ || fenced_) {
      return;
    }
    SetState(fail ? EngineState::kStoreAway : EngineState::kShipping, fail ? status : Status::Ok());
  } while (fail != uploads_fail_);  // the uploader and the end of the scan may both be here
}

// Uploads one object, if there is one and it is time. When to go on: at once, after a while, or
// (max) when there is something; nullopt: never.
std::optional<std::chrono::microseconds> EngineImpl::GuardedUploadStep() {
  std::optional<std::chrono::microseconds> wait;
  const Status thrown = Guarded([&] {
    wait = UploadStep();
    return Status::Ok();
  });
  // What was thrown over is tried again.
  return thrown.ok() ? wait : std::optional<std::chrono::microseconds>(kMaxBackoff);
}

std::optional<std::chrono::microseconds> EngineImpl::UploadStep() {
  if (uploader_stop_) {
    return std::nullopt;
  }
  const int64_t early = upload_not_before_us_ - Monotonic();
  if (early > 0) {
    return std::chrono::microseconds(early);
  }
  std::optional<SpoolItem> item = spool_->Front();
  if (!item) {
    return std::chrono::microseconds::max();
  }
  if (!upload_turn_) {
    upload_turn_ =
        std::make_unique<Throttle::Turn>(*throttle_, RequestKind::kLog, item->size_bytes);
  }
  if (const auto wait = upload_turn_->Ask(); wait.count() > 0) {
    return wait;
  }
  std::optional<StoreWatch::Visit> visit;
  if (config_.store_watch) {
    visit = config_.store_watch->Enter(StoreWatch::For::kLog);
    if (!visit) {
      if (!uploads_fail_.exchange(true)) {
        ShowUploads(UnavailableError("the store does not answer other databases"));
      }
      return kAwayWait;
    }
  }
  const std::unique_ptr<Throttle::Turn> turn = std::move(upload_turn_);
  // A store that hangs holds up neither a close nor a fork. What it did with the bytes is unknown
  // then, as after any lost answer: they stay in the spool.
  const std::function<bool()> stopped = [this] { return uploader_stop_ || Interrupted(); };
  Status status = Guarded([&] {
    const CancelScope scope(stopped);
    const PaidScope paid(*turn);
    return UploadFront(*item);
  });
  if (visit) {
    visit->Ended(status);
  }
  if (status.ok()) {
    upload_backoff_ = std::chrono::milliseconds(0);
    if (uploads_fail_.exchange(false)) {
      ShowUploads(Status::Ok());
    }
    return std::chrono::microseconds(0);
  }
  if (status.code() == StatusCode::kAborted) {
    {
      std::lock_guard lock(state_mutex_);
      fenced_reason_ = status.message();
    }
    fenced_ = true;
    {
      std::lock_guard lock(state_mutex_);
      upload_cv_.notify_all();
    }
    if (started_) {
      SetState(EngineState::kFenced, status);
    }
    RingWorker();
    return std::nullopt;
  }
  // Whatever it is (away, full, read-only, credentials): the bytes wait here until it is mended.
  uploads_fail_ = true;
  ShowUploads(status.WithContext("upload of " + item->key));
  upload_backoff_ = std::clamp(upload_backoff_ * 2, kFirstBackoff, kMaxBackoff);
  upload_not_before_us_ = Monotonic() + std::chrono::microseconds(upload_backoff_).count();
  return upload_backoff_;
}

Status EngineImpl::UploadFront(const SpoolItem& item) {
  ASSIGN_OR_RETURN(Bytes bytes, spool_->ReadFront());
  auto put = upload_store_->PutIfAbsent(item.key, bytes);
  SpoolItem done = item;
  if (put.ok()) {
    const int64_t at = put->store_time_us.value_or(0);
    const int64_t before = last_ack_store_us_;
    if (item.is_segment && at != 0 && before != 0 && std::abs(at - before) > kPauseMicros) {
      // This machine may have been paused long enough for another writer to take over and for the
      // keys to be expired: ours being free proves nothing then.
      ASSIGN_OR_RETURN(auto newer, upload_store_->List(keys::LogPrefix(timeline_), item.key, 1));
      if (!newer.empty()) {
        return AbortedError("another writer went on at " + newer.front().key +
                            " while this one was paused");
      }
    }
    if (at != 0) {
      last_ack_store_us_ = at;
    }
  } else if (put.code() == StatusCode::kAlreadyExists) {
    RETURN_IF_ERROR(CheckConflict(item, bytes));
  } else {
    return put.status();
  }
  if (item.is_segment && !item.last) {
    ASSIGN_OR_RETURN(Segment segment, ParseSegmentTable(std::move(bytes), item.key));
    done.last = segment.header.last_txid();
    done.commits = segment.header.commit_count;
  }
  RETURN_IF_ERROR(spool_->Pop());
  {
    std::lock_guard lock(state_mutex_);
    upload_cv_.notify_all();  // a big commit may wait for room
  }
  bytes_shipped_ += item.size_bytes;
  log_bytes_since_image_ += item.size_bytes;
  if (item.is_segment) {
    Acknowledge(done);
  }
  return Status::Ok();
}

// Something lies under our key. The same bytes: an earlier try of ours whose answer was lost. Any
// others: another writer was first, also if it carries our name (a copied machine): we stop.
Status EngineImpl::CheckConflict(const SpoolItem& item, const Bytes& ours) {
  ASSIGN_OR_RETURN(Bytes theirs, upload_store_->Get(item.key, kMaxSegmentBytes));
  if (theirs == ours) {
    return Status::Ok();
  }
  std::string who = "an unknown writer";
  auto segment = item.is_segment ? ParseSegmentTable(std::move(theirs), item.key)
                                 : Result<Segment>(NotFoundError(""));
  if (segment.ok()) {
    who = "writer " + FormatWriterId(segment->header.writer);
    if (segment->header.database_id != identity_.database_id) {
      who += " of another database";
    }
  }
  return AbortedError(who + " has written " + item.key + " first; this writer is " +
                      FormatWriterId(identity_.writer));
}

void EngineImpl::Acknowledge(const SpoolItem& item) {
  if (state() == EngineState::kStoreAway) {
    SetState(EngineState::kShipping);  // before anybody who waits is told, and may ask
  }
  ++segments_;
  acked_txid_ = item.last.value;
  {
    std::lock_guard lock(state_mutex_);
    while (!lag_.empty() && lag_.front().first <= item.last.value) {
      lag_.pop_front();
    }
  }
  PublishAcknowledged();
  if (image_wait_txid_ != 0 && image_wait_txid_ <= item.last.value) {
    WakeImage();
  }
  // The next segment may be cut: with waiters or a short interval the worker is asleep for it. A
  // database at rest is left alone.
  if ((*shared_)->captured_txid > item.last.value || flushing_) {
    RingWorker();
  }
}

// A log without any image restores nothing: until the first one is complete, nothing counts as
// shipped and nobody who waits for durability is told so.
void EngineImpl::PublishAcknowledged() {
  if (!has_image_) {
    shared_->Publish();
    return;
  }
  {
    std::lock_guard lock(state_mutex_);
    (*shared_)->shipped_txid = acked_txid_.load();
    while (!pending_syncs_.empty() && pending_syncs_.front().txid.value <= acked_txid_) {
      (*shared_)->synced_ticket = pending_syncs_.front().ticket;
      pending_syncs_.pop_front();
    }
  }
  shared_->Publish();
}

}  // namespace sqlite_s3

// Images: all pages as of one TXID, copied in short turns while commits go on. When one is made,
// who drives it, and what commits must leave for it; engine_image_objects.cc has the copying.

#include <pthread.h>

#include <algorithm>

#include "agent/ship/engine_impl.h"
#include "agent/ship/guarded.h"
#include "common/base/cancellation.h"

namespace sqlite_s3 {
namespace {

constexpr int64_t kTurnMicros = 50'000;

}  // namespace

// From the worker, after each commit it encoded.
void EngineImpl::NoteEncoded(int64_t time_us) {
  last_commit_time_us_ = time_us;
  if (image_wait_txid_ != encoder_->state().txid.value) {
    return;
  }
  std::lock_guard lock(image_mutex_);
  image_expected_ = EngineImageExpectation{time_us, encoder_->state().checksum};
}

void EngineImpl::MaybeStartImage() {
  if (gap_) {
    return;
  }
  {
    std::lock_guard lock(image_mutex_);
    if (!image_thread_done_) {
      return;
    }
    ImageInputs in;
    in.has_image = has_image_;
    in.changed = assigned_txid_ > image_txid_.value;
    in.log_bytes = log_bytes_since_image_;
    in.image_bytes = image_bytes_;
    const int64_t now = Now();
    image_made_us_ = std::min(image_made_us_, now);  // the clock may have been set back
    in.age_us = now - image_made_us_;
    in.over_budget = budget_.Now().over;
    if (Monotonic() < image_retry_us_ ||
        (!DecideImage(in, config_.options) && !(image_requested_ && in.changed))) {
      image_requested_ = image_requested_ && in.changed;
      return;
    }
  }
  JoinImage();
  std::lock_guard lock(capture_mutex_);
  StartImageLocked();
}

// REQUIRES: capture_mutex_, on the worker. The image is of the last captured commit.
void EngineImpl::StartImageLocked() {
  image_ = std::make_unique<ImageJob>();
  image_->txid = {assigned_txid_};
  image_->page_size = capture_->page_size();
  image_->page_count = capture_->page_count();
  image_->spill_path = state_dir_.path("image.aside");
  image_requested_ = false;
  {
    std::lock_guard lock(image_mutex_);
    image_expected_.reset();
    image_thread_done_ = false;
    if (encoder_->state().txid == image_->txid) {
      image_expected_ = EngineImageExpectation{last_commit_time_us_, encoder_->state().checksum};
    }
    image_wait_txid_ = image_->txid.value;
  }
  image_run_.reset();
  const Status started = Guarded([this] {
    StartImageDriver();
    return Status::Ok();
  });
  if (!started.ok()) {
    image_.reset();
    EndImage(started);
  }
}

void EngineImpl::StartImageDriver() {
  if (config_.pool) {
    auto task = config_.pool->Add(Lane::kImage, [this](Lane lane) {
      const auto wait = ImageStep();
      return wait ? WorkPool::Next::After(*wait, lane) : WorkPool::Next::End();
    });
    std::lock_guard lock(task_mutex_);
    image_task_ = std::move(task);
    return;
  }
  image_thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "s3-image");
    while (const auto wait = ImageStep()) {
      std::unique_lock lock(state_mutex_);
      upload_cv_.wait_for(lock, *wait, [&] {
        return uploader_stop_ || Interrupted() || image_woken_.exchange(false);
      });
    }
  });
}

// The log got longer: it may be the segment that the image waits for.
void EngineImpl::WakeImage() {
  std::shared_ptr<WorkPool::Task> task;
  {
    std::lock_guard lock(task_mutex_);
    task = image_task_;
  }
  if (task) {
    task->Wake();
  } else {
    std::lock_guard lock(state_mutex_);
    image_woken_ = true;
    upload_cv_.notify_all();
  }
}

void EngineImpl::JoinImage() {
  if (image_thread_.joinable()) {
    image_thread_.join();
  }
  std::shared_ptr<WorkPool::Task> task;
  {
    std::lock_guard lock(task_mutex_);
    task.swap(image_task_);
  }
  if (!task) {
    return;
  }
  task->Wake();  // it sees that it is to stop
  std::unique_lock lock(image_mutex_);
  image_ended_.wait(lock, [&] { return image_thread_done_; });
  lock.unlock();
  task->Cancel();
}

// Makes some of the image. How long to wait before the next step; nullopt: it has ended.
std::optional<std::chrono::microseconds> EngineImpl::ImageStep() {
  std::chrono::microseconds wait{0};
  bool done = false;
  const std::function<bool()> stopped = [this] { return uploader_stop_ || Interrupted(); };
  const Status status = Guarded([&] {
    const CancelScope scope(stopped);
    // A small image in one go: those that are begun and not yet done take memory.
    const int64_t until = Monotonic() + kTurnMicros;
    do {
      RETURN_IF_ERROR(CopyImage(&wait, &done));
    } while (!done && wait.count() == 0 && Monotonic() < until);
    return Status::Ok();
  });
  if (status.ok() && !done) {
    return wait;
  }
  {
    std::lock_guard lock(capture_mutex_);
    image_.reset();
  }
  image_run_.reset();
  EndImage(status);
  return std::nullopt;
}

void EngineImpl::EndImage(const Status& status) {
  if (!status.ok() && status.code() != StatusCode::kCancelled) {
    (void)Guarded([&] {  // to say so may need memory, too
      Log(LogLevel::kWarning, "image: " + status.ToString());
      std::lock_guard lock(state_mutex_);
      last_error_ = "image: " + status.ToString();
      return Status::Ok();
    });
  }
  std::lock_guard lock(image_mutex_);
  image_thread_done_ = true;
  image_wait_txid_ = 0;
  if (!status.ok() && status.code() != StatusCode::kCancelled) {
    image_retry_us_ = Monotonic() + int64_t{10} * 1'000'000;
  }
  RingWorker();
  image_ended_.notify_all();  // last: whoever waits may end us
}

// When the database shrinks under an image, the pin must stay until what was cut off is safe: not
// for as long as the image takes, for the WAL would grow, with the store away without end.
Status EngineImpl::SetAsideCutOff() {
  constexpr uint32_t kBatchPages = 64;
  for (;;) {
    std::lock_guard lock(capture_mutex_);
    if (!MustHoldPin()) {
      return Status::Ok();
    }
    RETURN_IF_ERROR(SetAsideSome(kBatchPages));
  }
}

// REQUIRES: capture_mutex_. At most this many pages; nothing to do without a pin to hold.
Status EngineImpl::SetAsideSome(uint32_t most) {
  if (!MustHoldPin()) {
    return Status::Ok();
  }
  ImageJob& job = *image_;
  for (; most > 0 && job.cut_off_cursor <= job.page_count && job.status.ok();
       ++job.cut_off_cursor) {
    if (!job.Wants(job.cut_off_cursor) || job.cut_off_cursor == LockBytePage(job.page_size)) {
      continue;
    }
    PagePtr page = PagePtr::Make(job.page_size, account_);
    RETURN_IF_ERROR(capture_->ReadPage(job.cut_off_cursor, page.writable()));
    SetAside(job.cut_off_cursor, std::move(page));
    --most;
  }
  job.hold_pin = job.cut_off_cursor <= job.page_count && job.status.ok();
  return Status::Ok();
}

}  // namespace sqlite_s3

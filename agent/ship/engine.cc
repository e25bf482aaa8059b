#include "agent/ship/engine.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <functional>

#include "agent/ship/engine_impl.h"
#include "agent/ship/guarded.h"
#include "common/base/cancellation.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr RetryPolicy kPatient{std::chrono::milliseconds(50), std::chrono::milliseconds(1000),
                               std::chrono::milliseconds(5000)};
constexpr RetryPolicy kOneTry{std::chrono::milliseconds(0), std::chrono::milliseconds(0),
                              std::chrono::milliseconds(0)};

// For threads started meanwhile: ours must never be the ones that run the application's handlers.
class BlockSignals {
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

Result<std::shared_ptr<Engine>> Engine::Start(const EngineConfig& config) {
  auto engine = std::make_shared<EngineImpl>(config);
  RETURN_IF_ERROR(engine->Init());
  return std::shared_ptr<Engine>(std::move(engine));
}

EngineImpl::EngineImpl(const EngineConfig& config)
    : config_(config),
      checkpoint_pages_(config.checkpoint_pages),
      budget_(config.options.request_budget, *config.clock),
      inbox_(config.options.statements == StatementLevel::kOff
                 ? nullptr
                 : std::make_unique<StatementInbox>(config.options.memory_bytes,
                                                    config.statement_patience)),
      told_state_(config.starts_again ? EngineStateName(EngineState::kStarting) : "") {
  auto wait = [this](std::chrono::milliseconds d) {
    std::unique_lock lock(state_mutex_);
    return !upload_cv_.wait_for(lock, d, [&] { return Interrupted(); });
  };
  const RateLimits own{config_.options.upload_rate, config_.options.request_rate};
  throttle_ = std::make_shared<Throttle>(std::vector{
      own == RateLimits() ? nullptr : std::make_shared<RateLimiter>(own, *config_.clock),
      config_.shared_limits});
  const auto store =
      std::make_shared<ThrottledStore>(config_.store, throttle_, wait, [this] { budget_.Count(); });
  patient_store_ = std::make_shared<RetryingStore>(store, kPatient, wait, *config_.clock);
  upload_store_ = std::make_shared<RetryingStore>(store, kOneTry, wait, *config_.clock);
}

EngineImpl::~EngineImpl() { (void)Stop(std::chrono::milliseconds(0)); }

Status EngineImpl::Init() {
  if (config_.database_path.empty()) {
    return FailedPreconditionError(
        "an in-memory or temporary database cannot be shipped, hint: it needs a file");
  }
  // Before anything is made beside it: a database that cannot be shipped stays as it was.
  RETURN_IF_ERROR(WalCapture::Probe(config_.database_path, config_.vfs, config_.join_only));
  const std::string& dir = config_.options.state_dir;
  ASSIGN_OR_RETURN(state_dir_, StateDir::Open(dir.empty() ? config_.database_path + "-s3" : dir));
  auto shared = SharedBlock::Open(state_dir_.path("shared"));
  if (!shared.ok() && shared.code() != StatusCode::kCorruption) {
    return shared.status();
  }
  ASSIGN_OR_RETURN(bool locked, state_dir_.TryLock());
  if (!shared.ok() && locked) {
    // Nobody ships by it. Those who stand by with a copy of it from before look for another one.
    Log(LogLevel::kWarning, "made anew: " + shared.status().message());
    const Status removed = RemoveFile(state_dir_.path("shared"));
    shared = removed.ok() ? SharedBlock::Open(state_dir_.path("shared")) : removed;
  }
  if (!shared.ok()) {
    state_dir_.Unlock();  // Stop tells the others of an end by the block, where it has the lock
    return shared.status();
  }
  shared_ = std::move(shared).value();
  if (!locked) {
    state_ = static_cast<int>(EngineState::kStandby);
    StartThreads();
    return Status::Ok();
  }
  SetState(EngineState::kStarting);
  Status status = OpenSession();
  if (status.ok() && !ours_) {
    // Whether we may append at all depends on every page: the caller waits for that answer.
    BlockSignals block;  // it may start the image's thread
    status = Scan();
    scanned_ = status.ok();
  }
  if (!status.ok()) {
    dead_ = true;
    CloseSession();
    state_dir_.Unlock();
    return status;
  }
  session_open_ = true;
  if (config_.pool) {
    pin_watch_ = WatchPin(PinWatch::kWhileQueued);
  }
  StartThreads();
  return Status::Ok();
}

void EngineImpl::StartThreads() {
  stop_now_ = false;
  flushing_ = false;
  flushed_ = false;
  ended_behind_ = false;
  worker_done_ = false;
  threads_running_ = true;
  phase_ = Phase::kLock;
  not_before_us_ = flush_not_before_us_ = 0;
  if (config_.pool) {
    auto task = config_.pool->Add(Lane::kStart, [this](Lane lane) { return PooledStep(lane); });
    std::lock_guard lock(task_mutex_);
    worker_task_ = std::move(task);
    return;
  }
  BlockSignals block;
  worker_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "s3-worker");  // for whoever looks at the host with top -H
    WorkerMain();
  });
}

void EngineImpl::StopThreads(bool flush, std::chrono::milliseconds timeout) {
  if (!threads_running_) {
    return;
  }
  if (flush) {
    flushing_ = true;
    RingWorker();
    std::unique_lock lock(state_mutex_);
    upload_cv_.notify_all();
    upload_cv_.wait_for(lock, timeout, [&] { return worker_done_; });
  }
  {
    std::lock_guard lock(state_mutex_);
    stop_now_ = true;
    upload_cv_.notify_all();
  }
  RingWorker();
  if (worker_.joinable()) {
    worker_.join();
  }
  std::shared_ptr<WorkPool::Task> task;
  {
    std::lock_guard lock(task_mutex_);
    task.swap(worker_task_);
  }
  if (task) {
    task->Wake();
    {
      std::unique_lock lock(state_mutex_);
      upload_cv_.wait(lock, [&] { return worker_done_; });
    }
    task->Cancel();
  }
  if (session_open_) {  // opened by Init, and the worker did not come to it
    session_open_ = scanned_ = false;
    CloseSession();
  }
  threads_running_ = false;
}

Status EngineImpl::Stop(std::chrono::milliseconds timeout) {
  std::lock_guard stopping(stop_mutex_);
  if (dead_) {
    return Status::Ok();
  }
  StopThreads(true, timeout);
  if (state_dir_.locked()) {
    budget_.Save();
  }
  const EngineState last = state();
  // Before a start is through nobody knows what there is to ship.
  const bool knows = last != EngineState::kStarting && last != EngineState::kStoreAway;
  const bool all_shipped =
      flushed_ || (knows && !ended_behind_ && (!spool_ || spool_->size() == 0));
  {
    std::lock_guard lock(capture_mutex_);
    capture_.reset();
    spare_connection_.Close();
  }
  dead_ = true;
  state_ = static_cast<int>(EngineState::kStopped);
  if (state_dir_.locked()) {
    (*shared_)->state = static_cast<uint32_t>(EngineState::kStopped);
    shared_->Publish();
  }
  state_dir_.Unlock();
  if (last == EngineState::kFenced || last == EngineState::kFailed) {
    return WhyNotFor(last);
  }
  if (!all_shipped) {
    return DeadlineExceededError(
        "not everything was shipped before the timeout, hint: the rest goes out at the next start");
  }
  return Status::Ok();
}

void EngineImpl::Notify(bool files_changed) {
  if (dead_) {
    return;
  }
  last_notify_us_ = Monotonic();
  if (files_changed) {
    files_changed_ = true;
  }
  RingWorkerIfIdle();
}

void EngineImpl::LookUnasked(bool unasked) {
  looks_unasked_ = unasked;
  if (unasked && !dead_) {
    RingWorkerIfIdle();
  }
}

uint32_t EngineImpl::FramesPerSecond() const {
  const EngineState now = StateNow();
  const bool captures = now == EngineState::kShipping || now == EngineState::kStoreAway;
  return captures ? frames_per_second_.load() : 0;
}

void EngineImpl::AttachConnection() { ++connections_; }

bool EngineImpl::DetachConnection() {
  if (--connections_ > 0) {
    return false;
  }
  (void)Stop(config_.options.close_timeout);  // what is left is in the spool; status said so
  return true;
}

Status EngineImpl::AwaitTicket(std::atomic<uint64_t>& ticket, std::atomic<uint64_t>& done,
                               std::chrono::milliseconds timeout) {
  uint32_t mapping = shared_->mapping();
  uint64_t mine = ++ticket;
  const int64_t deadline = Monotonic() + timeout.count() * 1000;
  if (state() == EngineState::kStandby) {
    shared_->Ring();  // another process
  } else {
    RingWorker();
  }
  for (;;) {
    uint32_t seen = (*shared_)->news;
    const bool served = done >= mine;
    if (const uint32_t now = shared_->mapping(); now != mapping) {
      mapping = now;
      mine = ++ticket;  // the other one was of a file that is gone
      RingWorker();
      continue;
    }
    if (served) {
      return Status::Ok();
    }
    RETURN_IF_ERROR(WhyNotFor(StateOfShipper()));
    int64_t left = deadline - Monotonic();
    if (left <= 0) {
      std::lock_guard lock(state_mutex_);
      return DeadlineExceededError(fmt::format("not in the store after {} ms{}{}", timeout.count(),
                                               last_error_.empty() ? "" : ": ", last_error_));
    }
    // Bounded, because the process that ships may die: then another one takes over and finds the
    // ticket, or nobody does and the deadline counts.
    shared_->WaitForNews(seen, std::chrono::microseconds(std::min<int64_t>(left, 250'000)));
  }
}

Status EngineImpl::Sync(std::chrono::milliseconds timeout, Txid* txid) {
  if (dead_) {
    return WhyNotFor(EngineState::kStopped);
  }
  RETURN_IF_ERROR(AwaitTicket((*shared_)->sync_ticket, (*shared_)->synced_ticket, timeout));
  if (txid != nullptr) {
    *txid = {(*shared_)->shipped_txid};
  }
  return Status::Ok();
}

Status EngineImpl::Wait(Txid txid, std::chrono::milliseconds timeout) {
  if (dead_) {
    return WhyNotFor(EngineState::kStopped);
  }
  const int64_t deadline = Monotonic() + timeout.count() * 1000;
  for (;;) {
    uint32_t seen = (*shared_)->news;
    if ((*shared_)->shipped_txid >= txid.value) {
      return Status::Ok();
    }
    if (txid.value > (*shared_)->captured_txid && state() != EngineState::kStarting) {
      return InvalidArgumentError("TXID " + FormatTxid(txid) + " is beyond the last one, " +
                                  FormatTxid({(*shared_)->captured_txid}));
    }
    RETURN_IF_ERROR(WhyNotFor(StateNow()));
    int64_t left = deadline - Monotonic();
    if (left <= 0) {
      return DeadlineExceededError("TXID " + FormatTxid(txid) + " is not in the store yet");
    }
    shared_->WaitForNews(seen, std::chrono::microseconds(std::min<int64_t>(left, 250'000)));
  }
}

Result<Txid> EngineImpl::Mark(const std::string& name, std::chrono::milliseconds timeout) {
  RETURN_IF_ERROR(keys::ValidateMarkName(name));
  if (dead_) {
    return WhyNotFor(EngineState::kStopped);
  }
  RETURN_IF_ERROR(AwaitTicket((*shared_)->capture_ticket, (*shared_)->captured_ticket, timeout));
  MarkDocument mark;
  mark.name = name;
  mark.txid = {(*shared_)->captured_txid};
  mark.timeline = {(*shared_)->timeline};
  mark.created_us = Now();
  const int64_t deadline = Monotonic() + timeout.count() * 1000;
  RETURN_IF_ERROR(Sync(timeout, nullptr));
  // What is left of the time also bounds the wait for a turn under the rate limits.
  const std::function<bool()> late = [&] { return Monotonic() >= deadline; };
  const CancelScope scope(late);
  Replica replica(*patient_store_);
  Status written = replica.Open();
  if (written.ok()) {
    written = replica.WriteMark(mark);
  }
  if (written.code() == StatusCode::kCancelled && late()) {
    return DeadlineExceededError("the mark may not be in the store: " + written.message());
  }
  RETURN_IF_ERROR(written);
  return mark.txid;
}

Result<Txid> EngineImpl::MakeImage(std::chrono::milliseconds timeout) {
  if (dead_) {
    return WhyNotFor(EngineState::kStopped);
  }
  if (state() == EngineState::kStandby) {
    return FailedPreconditionError(
        "another process ships this database, hint: ask for the image there");
  }
  Txid wanted;
  RETURN_IF_ERROR(Sync(timeout, &wanted));
  image_requested_ = true;
  RingWorker();
  const int64_t deadline = Monotonic() + timeout.count() * 1000;
  for (;;) {
    uint32_t seen = (*shared_)->news;
    {
      std::lock_guard lock(image_mutex_);
      if (has_image_ && image_txid_ >= wanted) {
        return image_txid_;
      }
    }
    RETURN_IF_ERROR(WhyNotFor(StateNow()));
    int64_t left = deadline - Monotonic();
    if (left <= 0) {
      return DeadlineExceededError("the image is not complete yet; it goes on");
    }
    shared_->WaitForNews(seen, std::chrono::microseconds(std::min<int64_t>(left, 100'000)));
  }
}

}  // namespace sqlite_s3

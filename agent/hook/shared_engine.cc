#include "agent/hook/shared_engine.h"

#include <algorithm>
#include <utility>

#include "agent/hook/registry.h"
#include "common/base/clock.h"

namespace sqlite_s3 {
namespace {

bool StoppedByItself(Engine& engine) {
  EngineState state = engine.GetStatus(/*force_capture=*/false).state;
  return state == EngineState::kFenced || state == EngineState::kFailed ||
         state == EngineState::kStopped;
}

// Throws nothing: the user leaves in any case.
Status Flush(Engine& engine, std::chrono::milliseconds timeout) noexcept try {
  Txid txid;
  return engine.Sync(timeout, &txid);
} catch (...) {
  return InternalError("an exception while flushing");
}

}  // namespace

Result<bool> SharedEngine::AddUser(const ShipRequest& request, const ShipUser& user) {
  std::lock_guard lock(mutex_);
  if (phase() != Phase::kLive) {
    return false;
  }
  const bool is_connection = user.kind == ShipUser::Kind::kConnection;
  if (is_connection) {
    checkpoint_pages_.insert(user.checkpoint_pages);
  }
  Status status;
  if (engine() == nullptr || StoppedByItself(*engine())) {
    status = Start(request);
  } else {
    status = CheckSameRequest(request_, request);
  }
  if (!status.ok()) {
    if (is_connection) {
      checkpoint_pages_.erase(checkpoint_pages_.find(user.checkpoint_pages));
    }
    if (engine() == nullptr) {
      SetEnded();
    }
    return status;
  }
  (is_connection ? connections_ : handles_) += 1;
  engine()->AttachConnection();
  PushCheckpointPages();
  return true;
}

Status SharedEngine::Start(const ShipRequest& request) {
  if (engine() != nullptr) {
    // It has stopped by itself; what it still holds would be in the new one's way.
    (void)engine()->Stop(std::chrono::milliseconds(0));  // nothing of it can be shipped any more
  }
  ASSIGN_OR_RETURN(std::shared_ptr<Engine> started, StartEngine(request, CheckpointPages()));
  for (int i = 0; i < handles_ + connections_; ++i) {
    started->AttachConnection();
  }
  request_ = request;
  engines_.push_back(std::move(started));
  engine_.store(engines_.back().get(), std::memory_order_release);
  return Status::Ok();
}

void SharedEngine::Uncount(const ShipUser& user) {
  if (user.kind == ShipUser::Kind::kConnection) {
    --connections_;
    checkpoint_pages_.erase(checkpoint_pages_.find(user.checkpoint_pages));
  } else {
    --handles_;
  }
}

bool SharedEngine::IsLast(const ShipUser& user, bool everybody) const {
  return everybody || handles_ + connections_ == 1 ||
         (user.kind == ShipUser::Kind::kHandle && handles_ == 1);
}

void SharedEngine::RemoveUser(const ShipUser& user) {
  std::lock_guard lock(mutex_);
  Uncount(user);
  if (phase() != Phase::kLive) {
    return;
  }
  if (engine()->DetachConnection() || handles_ + connections_ == 0) {
    SetEnded();
  } else {
    PushCheckpointPages();
  }
}

void SharedEngine::ChangeCheckpointPages(uint32_t old_pages, uint32_t new_pages) {
  std::lock_guard lock(mutex_);
  checkpoint_pages_.erase(checkpoint_pages_.find(old_pages));
  checkpoint_pages_.insert(new_pages);
  PushCheckpointPages();
}

Status SharedEngine::Leave(const ShipUser& user, std::chrono::milliseconds timeout,
                           bool everybody) {
  const int64_t begin_us = Clock::Real().MonotonicMicros();
  Result<Engine*> live = LiveEngine();
  Status flushed = live.status();
  if (live.ok()) {
    bool wait = user.kind == ShipUser::Kind::kHandle;
    if (!wait) {
      std::lock_guard lock(mutex_);
      wait = IsLast(user, everybody);
    }
    // The long wait, without a lock: others may attach, commit and fork meanwhile.
    flushed = wait ? Flush(**live, timeout) : Status::Ok();
  }
  ForkGate::Operation operation(Registry::Get().fork_gate());
  std::unique_lock lock(mutex_);
  if (phase() != Phase::kLive || !IsLast(user, everybody)) {
    lock.unlock();
    RemoveUser(user);
    return flushed;
  }
  // What was committed since, for as long as is left.
  std::chrono::milliseconds left(0);
  if (flushed.ok()) {
    auto used = std::chrono::microseconds(Clock::Real().MonotonicMicros() - begin_us);
    left = std::chrono::duration_cast<std::chrono::milliseconds>(timeout - used);
    left = std::clamp(left, std::chrono::milliseconds(0), request_.config.ship.close_timeout);
  }
  Status stopped = engine()->Stop(left);
  Uncount(user);
  SetEnded();
  return flushed.ok() ? stopped : flushed;
}

Status SharedEngine::End(std::chrono::milliseconds timeout) {
  ForkGate::Operation operation(Registry::Get().fork_gate());
  std::lock_guard lock(mutex_);
  if (phase() != Phase::kLive || engine() == nullptr) {
    return Status::Ok();
  }
  Status status = engine()->Stop(timeout);
  SetEnded();
  return status;
}

void SharedEngine::SetEnded() {
  phase_.store(Phase::kEnded, std::memory_order_release);
  Registry::Get().Forget(*this);
}

// SQLite would checkpoint in whichever connection reaches its own threshold first.
uint32_t SharedEngine::CheckpointPages() const {
  if (checkpoint_pages_.empty()) {
    return kDefaultCheckpointPages;
  }
  auto smallest = checkpoint_pages_.upper_bound(0);
  return smallest != checkpoint_pages_.end() ? *smallest : 0;
}

void SharedEngine::PushCheckpointPages() {
  // With no connection left there is nothing to go by: the engine keeps what it has.
  if (phase() == Phase::kLive && !checkpoint_pages_.empty() &&
      request_.config.ship.checkpoint_pages == 0) {
    engine()->SetCheckpointPages(CheckpointPages());
  }
}

void SharedEngine::AddDisplaced(int difference) {
  int now = displaced_.fetch_add(difference) + difference;
  if (phase() == Phase::kLive) {
    engine()->SetHookDisplaced(now > 0);
  }
}

Result<Engine*> SharedEngine::LiveEngine() const {
  if (phase() == Phase::kForked) {
    return CancelledError("database '" + database_.path +
                          "' is shipped by the process that this one was forked from, hint: open "
                          "connections and start shipping after the fork");
  }
  if (phase() != Phase::kLive || engine() == nullptr) {
    return CancelledError("shipping of database '" + database_.path + "' was stopped");
  }
  return engine();
}

ShipRequest SharedEngine::request() const {
  std::lock_guard lock(mutex_);
  return request_;
}

void SharedEngine::PrepareFork() {
  if (phase() == Phase::kLive && engine() != nullptr) {
    engine()->PrepareFork();
  }
}

void SharedEngine::ParentAfterFork() {
  if (phase() == Phase::kLive && engine() != nullptr) {
    engine()->ParentAfterFork();
  }
}

void SharedEngine::ChildAfterFork(std::shared_ptr<SharedEngine> self) {
  self_ = std::move(self);
  if (phase() == Phase::kLive && engine() != nullptr) {
    engine()->ChildAfterFork();
  }
  phase_.store(Phase::kForked, std::memory_order_release);
}

}  // namespace sqlite_s3

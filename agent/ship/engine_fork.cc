// What fork() of the process means for an engine: its threads and connections end before, and begin
// again in the parent.

#include "agent/ship/engine_impl.h"
#include "agent/ship/guarded.h"

namespace sqlite_s3 {

// SQLite connections must not cross a fork: a child's close would drop locks, its mutexes may be
// held by threads that do not exist there (docs/adr/0003: a child's acknowledged commit was lost).
void EngineImpl::PrepareFork() {
  stop_mutex_.lock();
  if (!dead_) {
    StopThreads(false, std::chrono::milliseconds(0));
  }
  capture_mutex_.lock();
  capture_.reset();
  spare_connection_.Close();
  state_mutex_.lock();
  image_mutex_.lock();
  state_dir_.Unlock();
}

void EngineImpl::ParentAfterFork() {
  image_mutex_.unlock();
  state_mutex_.unlock();
  capture_mutex_.unlock();
  if (!dead_) {
    // What pthread_atfork() calls must not throw either.
    Status started = Guarded([this] {
      SetState(EngineState::kStarting);
      StartThreads();
      return Status::Ok();
    });
    if (!started.ok()) {
      threads_running_ = false;
      state_ = static_cast<int>(EngineState::kFailed);
    }
  }
  stop_mutex_.unlock();
}

void EngineImpl::ChildAfterFork() {
  image_mutex_.unlock();
  state_mutex_.unlock();
  capture_mutex_.unlock();
  dead_ = true;
  state_ = static_cast<int>(EngineState::kStopped);
  stop_mutex_.unlock();
}

}  // namespace sqlite_s3

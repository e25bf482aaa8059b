#include "agent/hook/fork_gate.h"

namespace sqlite_s3 {
namespace {

// A nested operation must not wait at the gate: who closes it waits for the outer one.
thread_local int depth = 0;

}  // namespace

ForkGate::Operation::Operation(ForkGate& gate) : gate_(gate) {
  if (depth == 0) {
    std::lock_guard lock(gate_.state_->mutex);
    if (gate_.spare_ == nullptr) {
      gate_.spare_ = std::make_unique<State>();
    }
    ++gate_.state_->operations;
  }
  ++depth;
}

ForkGate::Operation::~Operation() {
  if (--depth == 0) {
    std::lock_guard lock(gate_.state_->mutex);
    if (--gate_.state_->operations == 0) {
      gate_.state_->none_left.notify_all();
    }
  }
}

void ForkGate::Close() {
  // While waiting the mutex is released, so that operations can end; those that are blocked in
  // Operation() may get in before us, and end too.
  std::unique_lock lock(state_->mutex);
  state_->none_left.wait(lock, [this] { return state_->operations == 0; });
  lock.release();  // stays locked: nothing begins
}

void ForkGate::OpenInParent() { state_->mutex.unlock(); }

void ForkGate::OpenInChild() {
  // Threads that waited here do not exist in the child, but the condition variable and the mutex
  // remember them. The old state is left alone for good: destroying it would wait for them.
  state_->mutex.unlock();
  spare_->before_fork = std::move(state_);
  state_ = std::move(spare_);
}

}  // namespace sqlite_s3

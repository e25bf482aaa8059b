#pragma once
// ForkGate: fork(2) waits for operations that hold locks of SQLite or of ours, and they wait for
// it. Why: a child inherits every lock that any thread holds at that moment, and nobody to release
// it.

#include <condition_variable>
#include <memory>
#include <mutex>

namespace sqlite_s3 {

class ForkGate {
 public:
  // Held while something starts, stops, attaches or lets go. May be nested. Must not be alive on a
  // thread that forks.
  class Operation {
   public:
    explicit Operation(ForkGate& gate);
    ~Operation();
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

   private:
    ForkGate& gate_;
  };

  // Closes the gate: returns when no operation is under way, and lets none begin.
  void Close();
  void OpenInParent();
  void OpenInChild();

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable none_left;
    int operations = 0;
    std::unique_ptr<State> before_fork;  // the parent's, never used again
  };
  std::unique_ptr<State> state_ = std::make_unique<State>();
  std::unique_ptr<State> spare_;  // the child's, made in time: fork handlers must not allocate
};

}  // namespace sqlite_s3

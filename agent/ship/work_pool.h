#pragma once
// WorkPool: the threads that many engines of one process share, so that their number does not
// follow that of the databases. What an engine does is cut into steps; a step says when and in
// which lane the next one is due. Lanes keep what takes long (the store, fsync, a whole database)
// from holding up what does not.
//
// Fairness: a lane runs its tasks in the order in which they became ready, one step at a time, and
// a step is short in its lane: a busy database gets a turn like every other one.

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

namespace sqlite_s3 {

class WorkPool {
 public:
  enum class Lane : uint8_t {
    kShip,        // capture, encode, cut: a millisecond
    kCheckpoint,  // fsyncs, and the end of a session
    kBig,         // commits that are read twice, however large
    kStart,       // asks the store, reads the database
    kUpload,      // one object of the log each
    kImage,
  };
  static constexpr size_t kLanes = 6;
  using MostThreads = std::array<size_t, kLanes>;  // by lane; at least 1
  static MostThreads Defaults();

  struct Next {
    Lane lane = Lane::kShip;
    std::chrono::microseconds wait{0};
    bool end = false;
    static Next AtOnce(Lane lane) { return {lane, std::chrono::microseconds(0), false}; }
    static Next After(std::chrono::microseconds wait, Lane lane) { return {lane, wait, false}; }
    static Next WhenWoken(Lane lane) { return {lane, std::chrono::microseconds::max(), false}; }
    static Next End() { return {Lane::kShip, std::chrono::microseconds(0), true}; }
  };
  // One step, on a thread of `lane`; must not throw.
  using Step = std::function<Next(Lane lane)>;

  class Task : public std::enable_shared_from_this<Task> {
   public:
    // Steps as soon as its lane has a thread, whatever it waits for; while it steps: once more.
    // Any thread; nothing happens after Cancel or the end.
    void Wake();
    // No step begins any more; waits for one that runs. Not from within a step of its own.
    void Cancel();

   private:
    friend class WorkPool;
    enum class State { kIdle, kTimed, kQueued, kRunning, kEnded };
    Task(WorkPool& pool, Step step) : pool_(pool), step_(std::move(step)) {}
    WorkPool& pool_;
    const Step step_;
    // Guarded by the pool's mutex.
    State state_ = State::kIdle;
    Lane lane_ = Lane::kShip;
    bool woken_ = false;
    bool cancelled_ = false;
    int64_t due_us_ = 0;
  };

  explicit WorkPool(const MostThreads& most = Defaults());
  // REQUIRES: every task is cancelled or has ended.
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // Begins with a step in `lane`. The pool must outlive the task.
  std::shared_ptr<Task> Add(Lane lane, Step step);

  size_t threads() const;

  // Long waits end together, a little later than asked: many databases at rest, each looked at
  // every few seconds, then wake the processor a few times a second.
  static int64_t WhenDue(int64_t now_us, int64_t wait_us);

 private:
  using TaskPtr = std::shared_ptr<Task>;
  struct LaneState {
    std::deque<TaskPtr> queue;
    std::condition_variable ready;
    size_t threads = 0;
    size_t idle = 0;
    size_t most = 1;
  };

  LaneState& At(Lane lane) { return lanes_[static_cast<size_t>(lane)]; }
  // REQUIRES for all: mutex_.
  void Enqueue(TaskPtr task);
  void WakeLocked(TaskPtr task);
  void AfterStep(TaskPtr task, const Next& next);
  void AddThread(Lane lane);
  void Reap();

  void Run(Lane lane, std::list<std::thread>::iterator self);
  void RunTimers();

  mutable std::mutex mutex_;
  std::array<LaneState, kLanes> lanes_;
  // Weak order by time; what a task waits for is at most one of them.
  struct Earlier {
    bool operator()(const TaskPtr& a, const TaskPtr& b) const {
      return a->due_us_ != b->due_us_ ? a->due_us_ < b->due_us_ : a.get() < b.get();
    }
  };
  std::set<TaskPtr, Earlier> timers_;
  std::condition_variable timers_changed_;
  std::condition_variable step_ended_;
  bool stopping_ = false;
  std::list<std::thread> threads_;
  std::list<std::thread> ended_;
  std::thread timer_thread_;
};

}  // namespace sqlite_s3

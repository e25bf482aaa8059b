#pragma once
// Agent: all databases of one process. One thread runs the loop: file events, timers and whatever
// else is to be polled; what blocks runs on a pool.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/daemon/database_task.h"
#include "agent/daemon/directory_watcher.h"
#include "agent/daemon/task_pool.h"

namespace sqlite_s3 {

class Agent {
 public:
  static Result<std::unique_ptr<Agent>> Create(Logger& log);
  ~Agent();

  // --- any thread
  // Begins to ship it, now or when it can be. kAlreadyExists when the path is there already.
  Status Add(DatabaseSpec spec);
  // Flushes within its close_timeout and forgets it. kNotFound; kDeadlineExceeded when something
  // was left in its state directory.
  Status Remove(const std::string& path);
  std::shared_ptr<DatabaseTask> Find(const std::string& path) const;
  std::vector<std::shared_ptr<DatabaseTask>> All() const;
  void AttendSoon(const std::string& path);
  // Makes Run return.
  void Stop();

  // --- the loop's thread
  // `ready` is called when `fd` can be read. Before Run; for ever.
  void AddSource(int fd, std::function<void()> ready);
  // Called once by Run, when every database that was there has been attended once. Before Run.
  void OnAllAttended(std::function<void()> call) { on_all_attended_ = std::move(call); }
  void Run();
  // Flushes and ends everything, all at once, each within its close_timeout. `look_once_more`: also
  // databases that have no engine yet, if they can have one now. The first failure.
  Status StopAll(bool look_once_more = false);

 private:
  struct Entry {
    std::shared_ptr<DatabaseTask> task;
    int64_t due_us = 0;  // monotonic
    bool attending = false;
    bool attended = false;  // at least once
    bool again = false;
    bool removing = false;
    std::string file, real_file;  // names that its events come under
  };

  Agent(Logger& log, DirectoryWatcher watcher, Fd wake);
  void Wake();
  void OnFileEvent(const std::string& directory, std::string_view name, FileEvent event);
  // REQUIRES: mutex_.
  bool WatchFiles(Entry& entry);
  void ForgetNames(const Entry& entry);
  void Attend(const std::string& path, Entry& entry);
  int64_t AttendDue();  // returns when the next is due
  bool AllAttended() const;

  Logger& log_;
  DirectoryWatcher watcher_;
  Fd wake_;
  FileClaims claims_;
  std::vector<std::pair<int, std::function<void()>>> sources_;
  std::function<void()> on_all_attended_;

  mutable std::mutex mutex_;
  std::condition_variable attended_;
  std::map<std::string, Entry> entries_;
  std::unordered_multimap<std::string, std::string> names_;  // file -> path in entries_
  bool stopping_ = false;
  TaskPool pool_;  // last: its tasks use the above
};

}  // namespace sqlite_s3

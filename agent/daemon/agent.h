#pragma once
// Agent: all databases of one process, those that were named and those of directories. One thread
// runs the loop: file events, timers and whatever else is to be polled; what blocks runs on a pool.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/daemon/database_homes.h"
#include "agent/daemon/database_task.h"
#include "agent/daemon/directory_scan.h"
#include "agent/daemon/directory_spec.h"
#include "agent/daemon/directory_watcher.h"
#include "agent/daemon/task_pool.h"

namespace sqlite_s3 {

// What a directory of the configuration has, for the status.
struct DirectoryStatus {
  std::string path;
  bool watched = false;
  size_t databases = 0;
  std::string last_error;  // empty: the last look went well
};

// Where the configuration comes from, and how it went the last time it was asked for.
struct ConfigStatus {
  std::string file;     // empty: the command line
  uint64_t loads = 0;   // how often one was accepted, the start included
  std::string refused;  // why the last one was not; empty: it was
};

class Agent {
 public:
  static Result<std::unique_ptr<Agent>> Create(Logger& log);
  ~Agent();

  // --- any thread
  // Begins to ship it, now or when it can be. kAlreadyExists when the path is there already.
  Status Add(DatabaseSpec spec);
  // Flushes within its close_timeout and forgets it, until the next Apply also when it lies in a
  // directory. kNotFound; kDeadlineExceeded when something was left in its state directory.
  Status Remove(const std::string& path);
  // Makes the configuration this one: databases that are new are begun, those that are gone or are
  // to be shipped otherwise are flushed and ended first, and all others go on undisturbed. Those
  // that Add began stay, unless they are named now. Does not wait. An error changes nothing.
  Status Apply(const std::vector<DatabaseSpec>& databases,
               const std::vector<DirectorySpec>& directories);
  // How to read the configuration again, from any thread, and what it comes from.
  void SetReload(std::string file, std::function<Status()> reload);
  // Reads it again and applies it. An error changes nothing, and is said in the log and the status.
  Status Reload();
  ConfigStatus GetConfigStatus() const;
  std::vector<DirectoryStatus> GetDirectoryStatus() const;
  // Directories where so much is written that events of it are not asked for at the moment.
  size_t CountBusyDirectories() const;
  // Path -> why a database of the configuration is not shipped at all.
  std::map<std::string, std::string> GetRefused() const;
  std::shared_ptr<DatabaseTask> Find(const std::string& path) const;
  std::vector<std::shared_ptr<DatabaseTask>> All() const;
  void AttendSoon(const std::string& path);
  // Waits until `done`, which is asked now and whenever a database has been attended to, or
  // removed. False when that takes longer than `timeout`, or the agent stops. `done` must not call
  // the agent.
  bool AwaitAttended(std::chrono::milliseconds timeout, const std::function<bool()>& done);
  // For a command that tries again later. False, at once, when the agent stops.
  bool Pause(std::chrono::milliseconds pause);
  // Of all databases together, from now on.
  void SetLimits(const RateLimits& limits) { limits_->SetLimits(limits); }
  void SetPrices(const Prices& prices);
  Prices prices() const;
  // Makes Run return.
  void Stop();

  // --- the loop's thread
  // `ready` is called when `fd` can be read. Before Run; for ever.
  void AddSource(int fd, std::function<void()> ready);
  // From how many frames a second on a database makes its directory a busy one. Before Run.
  void SetBusyRate(uint32_t frames_per_second) { busy_rate_ = frames_per_second; }
  // Called once by Run, when every database that was there has been attended once. Before Run.
  void OnAllAttended(std::function<void()> call) { on_all_attended_ = std::move(call); }
  void Run();
  // Flushes and ends everything, all at once, each within its close_timeout. `look_once_more`: also
  // databases that have no engine yet, if they can have one now. The first failure. With
  // `abandoned`, it returns soon after the longest close_timeout also when something hangs, such as
  // a request to a store that does not answer, and *abandoned says so: all there is to do then is
  // to end the process, as a kill would, without destroying the agent.
  Status StopAll(bool look_once_more = false, bool* abandoned = nullptr);

 private:
  struct Directory {
    DirectorySpec spec;
    std::set<std::string> watched;  // real paths whose events count
    std::set<std::string> others;   // real paths of matching files that are no databases
    int64_t due_us = 0;             // monotonic
    int64_t scan_us = 0;            // how long the last one took
    uint64_t scanned = 0;           // configuration_ when the last one began
    bool scanning = false, again = false;
    bool retired = false;  // not in the configuration any more
    size_t databases = 0;
    std::string error;
  };
  enum class Wanted { kByControl, kByConfig, kByDirectory, kByNobodySoFar };
  struct Origin {
    Wanted by = Wanted::kByControl;
    std::shared_ptr<Directory> directory;
  };
  struct Entry {
    std::shared_ptr<DatabaseTask> task;
    int64_t due_us = 0;  // monotonic; SetDue
    bool attending = false;
    bool attended = false;  // at least once
    bool again = false;
    bool removing = false;
    std::optional<DatabaseSpec> then;  // what begins when it is removed
    Origin then_origin;                // of `then`
    Origin origin;                     // who wants it
    std::string file, real_file;       // names that its events come under
    int busy_events = 0;               // in a row; below 0: not to be asked so soon
  };
  struct BusyDirectory {
    std::vector<std::string> members;  // paths in entries_, or that were
    int64_t look_us = 0, scan_us = 0;  // monotonic, when to look whether it is so, and for new ones
  };
  using BusyDirectories = std::map<std::string, BusyDirectory>;

  static constexpr int64_t kSoonMicros = 50'000;
  static constexpr int64_t kFarMicros = int64_t{3600} * 1'000'000;

  Agent(Logger& log, DirectoryWatcher watcher, Fd wake);
  static int64_t Now() { return Clock::Real().MonotonicMicros(); }
  void Wake();
  void OnFileEvent(const std::string& directory, std::string_view name, FileEvent event);
  // REQUIRES: mutex_.
  bool WatchFiles(Entry& entry);
  void ForgetNames(const Entry& entry);
  // When it is to be attended next; while it is attended to, only noted.
  void SetDue(Entry& entry, int64_t due_us);
  void Attend(const std::string& path, Entry& entry);
  int64_t AttendDue();  // returns when the next is due
  bool AllAttended() const;
  // REQUIRES: mutex_, for all up to the next comment.
  Status AddEntry(DatabaseSpec spec, Origin origin);
  void Begin(DatabaseSpec spec, const Origin& origin);
  void Want(DatabaseSpec spec, const Origin& origin);
  void EndEntry(const std::string& path);
  void EraseEntry(const std::string& path);
  void Take(const std::shared_ptr<Directory>& directory, const DirectoryScan& scan);
  void EndUnwanted();
  void NoteFailure(const std::string& path, const Status& why);
  void TellDirectories(const std::string& directory, std::string_view name, FileEvent event);
  void NoteWritten(Entry& entry);
  bool StopEvents(const std::string& directory);
  BusyDirectories::iterator ResumeEvents(BusyDirectories::iterator at);
  void ResumeEventsOf(const Entry& entry);
  // The loop's.
  int64_t BusyDue();  // returns when the next is due
  int64_t ScanDue();  // returns when the next is due
  void Scan(const std::shared_ptr<Directory>& directory);

  Logger& log_;
  DirectoryWatcher watcher_;
  Fd wake_;
  FileClaims claims_;
  const std::shared_ptr<WorkPool> engine_threads_;
  const std::shared_ptr<SharedTransports> transports_ = std::make_shared<SharedTransports>();
  const std::shared_ptr<StoreWatches> watches_ = std::make_shared<StoreWatches>();
  const std::shared_ptr<RateLimiter> limits_ = std::make_shared<RateLimiter>(RateLimits());
  std::vector<std::pair<int, std::function<void()>>> sources_;
  std::function<void()> on_all_attended_;

  mutable std::mutex mutex_;
  std::condition_variable attended_;
  std::map<std::string, Entry> entries_;
  std::set<std::pair<int64_t, Entry*>> due_;                 // those that nobody attends to now
  std::unordered_multimap<std::string, std::string> names_;  // file -> path in entries_
  BusyDirectories busy_directories_;
  uint32_t busy_rate_ = 20'000;  // below, what an event costs a writer is little
  std::vector<std::shared_ptr<Directory>> directories_;
  std::set<std::string> let_go_;                 // by Remove: directories leave them alone
  std::map<std::string, std::string> failures_;  // path -> why it is not in entries_
  std::map<std::string, std::pair<DatabaseSpec, Origin>> blocked_;  // by one whose place it needs
  DatabaseHomes homes_;
  uint64_t configuration_ = 0;  // counts Apply
  std::function<Status()> reload_;
  ConfigStatus config_status_;
  Prices prices_;
  std::mutex reload_mutex_;  // one Reload at a time; before mutex_
  bool stopping_ = false;
  TaskPool pool_;     // last, with the next: their tasks use the above
  TaskPool retries_;  // starts of databases whose store was away: behind all others
};

}  // namespace sqlite_s3

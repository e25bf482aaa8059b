// The configuration that comes and goes: directories, and what Apply makes of a new one.

#include <algorithm>
#include <set>
#include <utility>

#include "agent/daemon/agent.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr int64_t kScanPauseMicros = 100'000;     // events come in flocks
constexpr int64_t kScanShare = 10;                // at most a tenth of the time
constexpr int64_t kScanAgainMicros = 60'000'000;  // in case an event was lost
constexpr int64_t kScanFailedMicros = 2'000'000;

}  // namespace

Status Agent::Apply(const std::vector<DatabaseSpec>& databases,
                    const std::vector<DirectorySpec>& directories) {
  DatabaseHomes homes;
  for (const DatabaseSpec& spec : databases) {
    RETURN_IF_ERROR(CheckSidecarOptions(spec.replica.ship));
    RETURN_IF_ERROR(homes.Take(spec));
  }
  std::lock_guard lock(mutex_);
  if (stopping_) {
    return CancelledError("the agent is stopping");
  }
  ++configuration_;
  let_go_.clear();
  failures_.clear();
  blocked_.clear();
  for (const auto& old : directories_) {
    old->retired = true;
  }
  std::vector<std::shared_ptr<Directory>> next;
  for (const DirectorySpec& spec : directories) {
    const auto same = std::find_if(directories_.begin(), directories_.end(), [&](const auto& old) {
      return old->retired && old->spec == spec;
    });
    next.push_back(same != directories_.end() ? *same : std::make_shared<Directory>());
    next.back()->retired = false;
    next.back()->spec = spec;
    next.back()->due_us = 0;
    next.back()->again = next.back()->scanning;
  }
  directories_ = std::move(next);
  for (auto& [path, entry] : entries_) {
    Origin& origin = entry.then ? entry.then_origin : entry.origin;
    if (origin.by == Wanted::kByConfig ||
        (origin.by == Wanted::kByDirectory && origin.directory->retired)) {
      origin = {Wanted::kByNobodySoFar, nullptr};
    }
  }
  for (const DatabaseSpec& spec : databases) {
    Want(spec, {Wanted::kByConfig, nullptr});
  }
  EndUnwanted();
  Wake();
  return Status::Ok();
}

// From now on it is shipped so: what is there already goes on if nothing is different.
void Agent::Want(DatabaseSpec spec, const Origin& origin) {
  const std::string path = spec.path;
  failures_.erase(path);
  blocked_.erase(path);
  const auto at = entries_.find(path);
  if (at == entries_.end()) {
    Begin(std::move(spec), origin);
    return;
  }
  Entry& entry = at->second;
  if (!entry.removing && entry.task->spec() == spec) {
    entry.origin = origin;
    return;
  }
  if (!entry.removing) {
    log_.Write(LogLevel::kInfo, path, "its options are others now: it begins anew");
    EndEntry(path);
  }
  entry.then = std::move(spec);
  entry.then_origin = origin;
}

// What cannot be because another database has its place begins when one ends.
void Agent::Begin(DatabaseSpec spec, const Origin& origin) {
  const Status added = AddEntry(spec, origin);
  if (!added.ok() && added.code() != StatusCode::kCancelled) {
    NoteFailure(spec.path, added);
    const std::string path = spec.path;
    blocked_.insert_or_assign(path, std::pair(std::move(spec), origin));
  }
}

void Agent::NoteFailure(const std::string& path, const Status& why) {
  if (std::string& told = failures_[path]; told != why.message()) {
    told = why.message();
    log_.Write(LogLevel::kError, path, "not shipped: " + why.message());
  }
}

// Attend is posted by the loop, never for an entry that is being removed: whatever attends it now
// was posted before this task, so that it need not wait for a thread of the pool.
void Agent::EndEntry(const std::string& path) {
  entries_.at(path).removing = true;
  pool_.Post([this, path] {
    std::shared_ptr<DatabaseTask> task;
    {
      std::unique_lock lock(mutex_);
      Entry& entry = entries_.at(path);
      attended_.wait(lock, [&] { return !entry.attending; });
      task = entry.task;
    }
    if (const Status stopped = task->Stop(task->spec().replica.ship.close_timeout); !stopped.ok()) {
      log_.Write(LogLevel::kWarning, path, stopped.ToString());
    }
    std::lock_guard lock(mutex_);
    EraseEntry(path);
  });
}

void Agent::EraseEntry(const std::string& path) {
  const auto at = entries_.find(path);
  ForgetNames(at->second);
  due_.erase({at->second.due_us, &at->second});
  homes_.Leave(at->second.task->spec());
  std::optional<DatabaseSpec> then = std::move(at->second.then);
  const Origin origin = std::move(at->second.then_origin);
  entries_.erase(at);
  attended_.notify_all();
  if (stopping_) {
    return;
  }
  if (then && origin.by != Wanted::kByNobodySoFar) {
    Begin(*std::move(then), origin);
  }
  const auto blocked = std::exchange(blocked_, {});
  for (const auto& [other, wanted] : blocked) {
    Want(wanted.first, wanted.second);
  }
  // Its file may be there under another name, which could not be looked at while we had it open.
  for (const auto& directory : directories_) {
    if (directory->spec.watch) {
      directory->due_us = 0;
      directory->again = directory->scanning;
    }
  }
  Wake();
}

// Once every directory was looked at under this configuration: what none of them has is over.
void Agent::EndUnwanted() {
  const bool all_seen =
      std::all_of(directories_.begin(), directories_.end(),
                  [&](const auto& directory) { return directory->scanned == configuration_; });
  if (!all_seen) {
    return;
  }
  for (auto& [path, entry] : entries_) {
    if (!entry.removing && entry.origin.by == Wanted::kByNobodySoFar) {
      log_.Write(LogLevel::kInfo, path, "not in the configuration any more");
      EndEntry(path);
    }
  }
}

int64_t Agent::ScanDue() {
  std::lock_guard lock(mutex_);
  const int64_t now = Now();
  int64_t next = now + kFarMicros;
  for (const auto& directory : directories_) {
    if (directory->scanning || stopping_) {
      continue;
    }
    if (directory->due_us <= now) {
      Scan(directory);
    } else {
      next = std::min(next, directory->due_us);
    }
  }
  return next;
}

void Agent::Scan(const std::shared_ptr<Directory>& directory) {
  // Watched before it is looked at: what comes in between has an event. So are those below it that
  // the last look found; a new one makes another look due.
  bool blind = false;
  if (directory->spec.watch) {
    for (const std::string& below : directory->watched) {
      blind = !watcher_.Watch(below).ok() || blind;
    }
  }
  directory->scanning = true;
  directory->again = false;
  pool_.Post([this, directory, blind, configuration = configuration_, spec = directory->spec] {
    const int64_t since = Now();
    const DirectoryScan scan = ScanDirectory(
        spec, claims_, [this](const std::string& path) { return Find(path) != nullptr; });
    std::lock_guard lock(mutex_);
    const int64_t now = Now();
    directory->scanning = false;
    directory->scan_us = now - since;
    if (!directory->retired && !stopping_) {
      directory->scanned = configuration;
      std::set<std::string> found(scan.directories.begin(), scan.directories.end());
      if (!scan.status.ok()) {
        found.insert(directory->watched.begin(), directory->watched.end());
      }
      const bool more = spec.watch && found != directory->watched;
      directory->watched = std::move(found);
      directory->others = {scan.others.begin(), scan.others.end()};
      const int64_t pause = std::max(kScanPauseMicros, kScanShare * directory->scan_us);
      const int64_t idle = !scan.status.ok() ? kScanFailedMicros
                           : !spec.watch     ? kFarMicros
                           : blind           ? kScanAgainMicros / 10
                                             : kScanAgainMicros;
      directory->due_us = more ? 0 : now + (directory->again ? pause : idle);
      Take(directory, scan);
      EndUnwanted();
    }
    Wake();
  });
}

void Agent::Take(const std::shared_ptr<Directory>& directory, const DirectoryScan& scan) {
  const std::string error = scan.status.ok() ? std::string() : scan.status.message();
  if (error != directory->error && !error.empty()) {
    log_.Write(LogLevel::kWarning, directory->spec.path, error);
  }
  directory->error = error;
  std::set<std::string> there;
  for (const std::string& relative : scan.databases) {
    const std::string path = PathBelow(directory->spec.path, relative);
    there.insert(path);
    const auto at = entries_.find(path);
    if (let_go_.contains(path)) {
      continue;
    }
    if (at != entries_.end()) {
      const Entry& entry = at->second;
      const Origin& origin = entry.then ? entry.then_origin : entry.origin;
      const bool free = origin.by == Wanted::kByNobodySoFar || (entry.removing && !entry.then);
      if (!free && !(origin.by == Wanted::kByDirectory && origin.directory == directory)) {
        continue;  // the first that named it has it
      }
    }
    auto spec = DatabaseSpecIn(directory->spec, scan.root, relative);
    if (spec.ok()) {
      Want(std::move(spec).value(), {Wanted::kByDirectory, directory});
    } else {
      NoteFailure(path, spec.status());
    }
  }
  // What cannot be seen now may still be there.
  for (auto& [path, entry] : entries_) {
    const bool ours =
        entry.origin.by == Wanted::kByDirectory && entry.origin.directory == directory;
    if (ours && !entry.removing && scan.status.ok() && !there.contains(path)) {
      log_.Write(LogLevel::kInfo, path, "it went away");
      EndEntry(path);
    }
  }
  directory->databases = there.size();
}

void Agent::TellDirectories(const std::string& directory, std::string_view name, FileEvent event) {
  if (directories_.empty() || (event != FileEvent::kLost && IsSideFile(name))) {
    return;
  }
  const std::string file = PathBelow(directory, std::string(name));
  if (event == FileEvent::kWritten && names_.contains(file)) {
    return;  // a database that is known
  }
  const int64_t now = Now();
  for (const auto& at : directories_) {
    if (!at->spec.watch || !(directory.empty() || at->watched.contains(directory))) {
      continue;
    }
    if (event == FileEvent::kWritten && at->others.contains(file)) {
      continue;  // no database, and writing to it does not make it one
    }
    const int64_t pause = std::max(kScanPauseMicros, kScanShare * at->scan_us);
    at->due_us = std::min(at->due_us, now + pause);
    at->again = at->scanning;
  }
}

void Agent::SetReload(std::string file, std::function<Status()> reload) {
  std::lock_guard lock(mutex_);
  config_status_.file = std::move(file);
  config_status_.loads = 1;
  reload_ = std::move(reload);
}

Status Agent::Reload() {
  std::lock_guard one_at_a_time(reload_mutex_);
  std::function<Status()> reload;
  {
    std::lock_guard lock(mutex_);
    reload = reload_;
  }
  Status reloaded =
      reload ? reload()
             : FailedPreconditionError("there is no configuration file to read, hint: --config");
  if (reloaded.ok()) {
    log_.Write(LogLevel::kInfo, "", "the configuration was read again");
  } else {
    log_.Write(LogLevel::kError, "", "the old configuration stays: " + reloaded.message());
  }
  std::lock_guard lock(mutex_);
  config_status_.loads += reloaded.ok() ? 1u : 0u;
  config_status_.refused = reloaded.ok() ? std::string() : reloaded.message();
  return reloaded;
}

ConfigStatus Agent::GetConfigStatus() const {
  std::lock_guard lock(mutex_);
  return config_status_;
}

std::vector<DirectoryStatus> Agent::GetDirectoryStatus() const {
  std::lock_guard lock(mutex_);
  std::vector<DirectoryStatus> all;
  for (const auto& directory : directories_) {
    DirectoryStatus& status = all.emplace_back();
    status.path = directory->spec.path;
    status.watched = directory->spec.watch;
    status.databases = directory->databases;
    status.last_error = directory->error;
  }
  return all;
}

std::map<std::string, std::string> Agent::GetRefused() const {
  std::lock_guard lock(mutex_);
  return failures_;
}

}  // namespace sqlite_s3

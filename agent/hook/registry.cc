#include "agent/hook/registry.h"

#include <pthread.h>

#include <cstdlib>
#include <utility>

#include "agent/hook/log.h"

namespace sqlite_s3 {
namespace {

void PrepareForkHandler() noexcept { Registry::Get().PrepareFork(); }
void ParentAfterForkHandler() noexcept { Registry::Get().ParentAfterFork(); }
void ChildAfterForkHandler() noexcept { Registry::Get().ChildAfterFork(); }
void AtExitHandler() noexcept { Registry::Get().AtExit(); }

// After the first engine was started, not before: handlers of exit(3) run in the reverse order, and
// libcrypto's, which takes away what our threads use, was registered when the engine first used it.
Status InstallProcessHandlers() {
  static const bool installed =
      pthread_atfork(PrepareForkHandler, ParentAfterForkHandler, ChildAfterForkHandler) == 0 &&
      std::atexit(AtExitHandler) == 0;
  return installed ? Status::Ok() : ResourceExhaustedError("cannot register a fork handler");
}

}  // namespace

Registry& Registry::Get() {
  static Registry* registry = new Registry;
  return *registry;
}

Result<std::shared_ptr<SharedEngine>> Registry::Acquire(const ShipRequest& request,
                                                        const ShipUser& user) {
  for (;;) {
    ASSIGN_OR_RETURN(std::shared_ptr<SharedEngine> shared, FindOrAdd(request.database));
    // False: the last user of this one left while we were looking.
    ASSIGN_OR_RETURN(bool added, shared->AddUser(request, user));
    if (added) {
      Status status = InstallProcessHandlers();
      if (!status.ok()) {
        shared->RemoveUser(user);
        return status;
      }
      return shared;
    }
  }
}

Result<std::shared_ptr<SharedEngine>> Registry::FindOrAdd(const HostDatabase& database) {
  std::lock_guard lock(mutex_);
  for (const auto& [path, shared] : shared_) {
    const bool same_path = path == database.path;
    const bool same_file = shared->database().file == database.file;
    if (same_path && same_file) {
      return shared;
    }
    // Each name has its own -wal: what is committed through one is not seen through the other.
    if (same_file) {
      return FailedPreconditionError("database '" + database.path +
                                     "' is shipped already under the name '" + path +
                                     "', hint: open a database by one name only");
    }
    if (same_path) {
      return FailedPreconditionError(
          "the file of database '" + path +
          "' was replaced while it is shipped, hint: close its connections or stop shipping first");
    }
  }
  auto shared = std::make_shared<SharedEngine>(database);
  forking_.reserve(shared_.size() + 1);  // the fork handlers must not allocate: they cannot fail
  shared_[database.path] = shared;
  return shared;
}

std::shared_ptr<SharedEngine> Registry::Find(const std::string& path) {
  std::lock_guard lock(mutex_);
  auto it = shared_.find(path);
  return it != shared_.end() ? it->second : nullptr;
}

void Registry::Forget(const SharedEngine& shared) {
  std::lock_guard lock(mutex_);
  auto it = shared_.find(shared.database().path);
  if (it != shared_.end() && it->second.get() == &shared) {
    shared_.erase(it);
  }
}

void Registry::AddConnection(sqlite3* db, HookedConnection* connection) {
  std::lock_guard lock(mutex_);
  connections_[db] = connection;
}

void Registry::RemoveConnection(sqlite3* db) {
  std::lock_guard lock(mutex_);
  connections_.erase(db);
}

HookedConnection* Registry::FindConnection(sqlite3* db) {
  std::lock_guard lock(mutex_);
  auto it = connections_.find(db);
  return it != connections_.end() ? it->second : nullptr;
}

void Registry::SetAttachAll(const std::string& path, const AttachAll& attach_all) {
  std::lock_guard lock(mutex_);
  attach_all_[path] = attach_all;
  any_attach_all_ = true;
}

void Registry::ClearAttachAll(const std::string& path) {
  std::lock_guard lock(mutex_);
  attach_all_.erase(path);
  any_attach_all_ = !attach_all_.empty();
}

void Registry::SetAttachAllFailed(const std::string& path, int64_t monotonic_us) {
  std::lock_guard lock(mutex_);
  auto it = attach_all_.find(path);
  if (it != attach_all_.end()) {
    it->second.failed_at_us = monotonic_us;
  }
}

bool Registry::HasAttachAll(const std::string& path) {
  // Asked for every connection that the process opens to anything.
  if (!any_attach_all_ || path.empty()) {
    return false;
  }
  std::lock_guard lock(mutex_);
  return attach_all_.contains(path);
}

Result<AttachAll> Registry::FindAttachAll(const std::string& path) {
  std::lock_guard lock(mutex_);
  auto it = attach_all_.find(path);
  if (it == attach_all_.end()) {
    return NotFoundError("not attach=all");
  }
  return it->second;
}

std::vector<std::shared_ptr<SharedEngine>> Registry::Snapshot() {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<SharedEngine>> all;
  for (const auto& [path, shared] : shared_) {
    all.push_back(shared);
  }
  return all;
}

void Registry::PrepareFork() {
  fork_gate_.Close();
  {
    std::lock_guard lock(mutex_);
    for (const auto& [path, shared] : shared_) {
      forking_.push_back(shared);
    }
  }
  for (const auto& shared : forking_) {
    shared->PrepareFork();
  }
  // Only now: the engines' threads may log, and their closing connections may look themselves up.
  mutex_.lock();
  LockLogForFork();
}

void Registry::ParentAfterFork() {
  UnlockLogAfterFork();
  mutex_.unlock();
  for (const auto& shared : forking_) {
    shared->ParentAfterFork();
  }
  forking_.clear();
  fork_gate_.OpenInParent();
}

void Registry::ChildAfterFork() {
  UnlockLogAfterFork();
  shared_.clear();
  attach_all_.clear();
  any_attach_all_ = false;
  mutex_.unlock();
  for (const auto& shared : forking_) {
    shared->ChildAfterFork(shared);
  }
  forking_.clear();
  fork_gate_.OpenInChild();
}

void Registry::AtExit() {
  for (const auto& shared : Snapshot()) {
    Status status = shared->End(shared->request().config.ship.close_timeout);
    if (!status.ok()) {
      Log(LogLevel::kWarning, status.WithContext("flush at exit").ToString());
    }
  }
}

}  // namespace sqlite_s3

#include "agent/ship/state_dir.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxIdentityBytes = 64 << 10;

std::string MachineId() {
  auto bytes = ReadFile("/etc/machine-id", 4096);
  if (!bytes.ok()) {
    return "none";  // containers often have none: then the inode alone decides
  }
  std::string id(AsText(*bytes));
  while (!id.empty() && (id.back() == '\n' || id.back() == ' ')) {
    id.pop_back();
  }
  return id;
}

bool IsFileAt(const Fd& fd, const std::string& path) {
  struct stat open {};
  struct stat there {};
  return fstat(fd.get(), &open) == 0 && stat(path.c_str(), &there) == 0 &&
         open.st_dev == there.st_dev && open.st_ino == there.st_ino;
}

}  // namespace

Result<StateDir> StateDir::Open(const std::string& path) {
  StateDir dir;
  dir.path_ = path;
  RETURN_IF_ERROR(MakeDirectories(path, 0700, Durability::kVisible));
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) {
    return ErrnoStatus(errno, "look at", path);
  }
  if (st.st_uid != geteuid() && geteuid() != 0) {
    return FailedPreconditionError("state directory '" + path +
                                   "' belongs to another user, hint: run as that user, chown it to "
                                   "this one, or set state_dir");
  }
  return dir;
}

Result<bool> StateDir::TryLock() {
  if (lock_) {
    return true;
  }
  RETURN_IF_ERROR(MakeDirectories(path_, 0700, Durability::kVisible));
  auto lock = FileLock::TryAcquire(path("lock"));
  if (!lock.ok()) {
    if (struct stat st{}; lstat(path("lock").c_str(), &st) == 0 && !S_ISREG(st.st_mode)) {
      return FailedPreconditionError("'" + path("lock") +
                                     "' is no regular file, hint: remove it, it is made anew");
    }
    if (lock.code() == StatusCode::kFailedPrecondition) {
      return false;  // another process has it
    }
    return lock.status();
  }
  if (!IsFileAt(lock->fd(), path("lock"))) {
    return false;  // removed while it was locked: the next try finds, or makes, another one
  }
  // What a process killed while it wrote its identity left behind. Only the holder of the lock
  // writes one.
  ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(path_));
  for (const std::string& name : names) {
    if (name.starts_with(".identity.tmp-")) {
      RETURN_IF_ERROR(RemoveFile(path(name.c_str())));
    }
  }
  lock_.emplace(std::move(lock).value());
  return true;
}

Status StateDir::CheckInPlace() const {
  return IsFileAt(lock_->fd(), path("lock"))
             ? Status::Ok()
             : NotFoundError("the state directory " + path_ +
                             " was removed or replaced while this process ships");
}

Result<std::string> StateDir::Place() const {
  struct stat st {};
  if (stat(path_.c_str(), &st) != 0) {
    return ErrnoStatus(errno, "look at", path_);
  }
  return std::to_string(st.st_ino) + "@" + MachineId();
}

Result<std::optional<Identity>> StateDir::LoadIdentity() {
  auto bytes = ReadFile(path("identity"), kMaxIdentityBytes);
  if (!bytes.ok()) {
    if (bytes.code() == StatusCode::kNotFound) {
      return std::optional<Identity>();
    }
    return bytes.status();
  }
  nlohmann::json json = nlohmann::json::parse(AsText(*bytes), nullptr, false);
  auto text = [&](const char* name) {
    return json.is_object() && json.contains(name) && json[name].is_string()
               ? json[name].get<std::string>()
               : std::string();
  };
  auto writer = ParseWriterId(text("writer"));
  auto database = ParseDatabaseId(text("database_id"));
  auto timeline = ParseTimeline(text("timeline"));
  ASSIGN_OR_RETURN(std::string place, Place());
  if (!writer.ok() || !database.ok() || !timeline.ok() || text("place") != place) {
    return std::optional<Identity>();
  }
  return std::optional<Identity>(
      Identity{*writer, *database, text("replica"), *timeline, text("fenced")});
}

Status StateDir::SaveIdentity(const Identity& identity) {
  ASSIGN_OR_RETURN(std::string place, Place());
  nlohmann::json json = {{"writer", FormatWriterId(identity.writer)},
                         {"database_id", FormatDatabaseId(identity.database_id)},
                         {"replica", identity.replica},
                         {"timeline", FormatTimeline(identity.timeline)},
                         {"fenced", identity.fenced},
                         {"place", place}};
  // Durable before the first segment can carry this writer id: a writer that forgot its name after
  // a power loss would find its own replica somebody else's.
  return WriteFileAtomically(path("identity"), AsBytes(json.dump(2) + "\n"), 0600,
                             Durability::kDurable);
}

}  // namespace sqlite_s3

#include "agent/daemon/database_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

// sqlite.org/fileformat.html, section 1.3.
constexpr size_t kHeaderBytes = 100;
constexpr char kMagic[] = "SQLite format 3";
constexpr size_t kWriteVersionAt = 18;
constexpr size_t kReadVersionAt = 19;
constexpr uint8_t kWalVersion = 2;

Status CheckAccess(const std::string& path) {
  if (access(path.c_str(), R_OK | W_OK) == 0) {
    return Status::Ok();
  }
  if (errno == EROFS) {
    return PermissionDeniedError("'" + path +
                                 "' is on a read-only file system, hint: shipping needs to lock "
                                 "and checkpoint it");
  }
  if (errno == EACCES) {
    return PermissionDeniedError("no permission to read and write '" + path +
                                 "', hint: run as the database's owner");
  }
  return ErrnoStatus(errno, "look at", path);
}

}  // namespace

Status FileClaims::Claim(const FileId& id, const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto [at, added] = names_.emplace(id, name);
  if (!added && at->second != name) {
    return FailedPreconditionError("the same file is shipped already as '" + at->second + "'");
  }
  return Status::Ok();
}

size_t FileClaims::count() {
  std::lock_guard lock(mutex_);
  return names_.size();
}

void FileClaims::Release(const FileId& id, const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto at = names_.find(id);
  if (at != names_.end() && at->second == name) {
    names_.erase(at);
  }
}

Result<DatabaseFile> FindDatabaseFile(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr) {
    if (errno == ENOENT) {
      return NotFoundError("'" + path + "' does not exist yet");
    }
    return ErrnoStatus(errno, "look at", path);
  }
  DatabaseFile file;
  file.path = resolved;
  struct stat st {};
  if (stat(resolved, &st) != 0) {
    if (errno == ENOENT) {
      return NotFoundError("'" + path + "' does not exist yet");
    }
    return ErrnoStatus(errno, "look at", path);
  }
  if (!S_ISREG(st.st_mode)) {
    return FailedPreconditionError("'" + path + "' is not a regular file");
  }
  file.id = {st.st_dev, st.st_ino};
  return file;
}

FileSigns LookAtFiles(const std::string& path) {
  constexpr int64_t kNanosPerSecond = 1'000'000'000;
  FileSigns signs;
  const auto file = FindDatabaseFile(path);
  struct stat st {};
  if (!file.ok() || stat(file->path.c_str(), &st) != 0) {
    return signs;
  }
  signs.id = {st.st_dev, st.st_ino};
  signs.size_bytes = st.st_size;
  signs.written_ns = int64_t{st.st_mtim.tv_sec} * kNanosPerSecond + st.st_mtim.tv_nsec;
  if (stat((file->path + "-wal").c_str(), &st) == 0) {
    signs.wal_id = {st.st_dev, st.st_ino};
  }
  return signs;
}

Status CheckReadyToShip(const DatabaseFile& file) {
  RETURN_IF_ERROR(CheckAccess(file.path));
  // The header instead of a connection: that would roll back a hot journal, or make a WAL.
  ASSIGN_OR_RETURN(Fd fd, OpenFile(file.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) {
    return ErrnoStatus(errno, "look at", file.path);
  }
  if (st.st_dev != file.id.device || st.st_ino != file.id.inode) {
    return NotFoundError("'" + file.path + "' was replaced just now");
  }
  uint8_t header[kHeaderBytes] = {};
  ASSIGN_OR_RETURN(const size_t size, ReadAt(fd, 0, header, file.path));
  fd.Close();
  if (size < kHeaderBytes) {
    return FailedPreconditionError("'" + file.path + "' is empty, waiting for its application");
  }
  if (std::memcmp(header, kMagic, sizeof(kMagic)) != 0) {
    return FailedPreconditionError("'" + file.path + "' is not a SQLite database");
  }
  if (header[kWriteVersionAt] != kWalVersion || header[kReadVersionAt] != kWalVersion) {
    return FailedPreconditionError("'" + file.path +
                                   "' is not in WAL mode, hint: PRAGMA journal_mode=WAL in its "
                                   "application, or once in the sqlite3 shell");
  }
  for (const char* suffix : {"-wal", "-shm"}) {
    const std::string beside = file.path + suffix;
    if (access(beside.c_str(), F_OK) == 0) {
      RETURN_IF_ERROR(CheckAccess(beside));
    } else if (geteuid() != st.st_uid) {
      return FailedPreconditionError("'" + file.path + "' belongs to another user and has no " +
                                     suffix + " yet, waiting for its application to open it");
    }
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

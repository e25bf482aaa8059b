#pragma once
// DatabaseFile: whether a database of somebody else's can be shipped now, found out without
// touching anything, and which file of this process's it is.

#include <sys/types.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "common/base/status.h"

namespace sqlite_s3 {

struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  auto operator<=>(const FileId&) const = default;
};

// One name per file in this process: two engines on one file would be two shippers, and a
// descriptor opened and closed beside SQLite's own drops SQLite's locks. Thread-safe.
class FileClaims {
 public:
  // kFailedPrecondition, naming the other one, when another name has it.
  Status Claim(const FileId& id, const std::string& name);
  void Release(const FileId& id, const std::string& name);
  size_t count();

 private:
  std::mutex mutex_;
  std::map<FileId, std::string> names_;
};

struct DatabaseFile {
  FileId id;
  std::string path;  // without symlinks, as SQLite names its -wal
};

// Looks at the file without opening it. kNotFound: it does not exist (yet); kPermissionDenied;
// kFailedPrecondition: no regular file.
Result<DatabaseFile> FindDatabaseFile(const std::string& path);

// What stat(2) says of the database and its -wal. A connection that finds both at rest opens and
// closes them without a difference here.
struct FileSigns {
  FileId id, wal_id;  // 0: not there
  int64_t size_bytes = 0;
  int64_t written_ns = 0;
  bool operator==(const FileSigns&) const = default;
};
FileSigns LookAtFiles(const std::string& path);

// What must come true before an engine may join the database: kFailedPrecondition (empty, not in
// WAL mode, no SQLite database, another user's without -wal and -shm), kPermissionDenied (modes,
// read-only mount). REQUIRES: claimed, and no connection of this process to it.
Status CheckReadyToShip(const DatabaseFile& file);

}  // namespace sqlite_s3

#pragma once
// TargetFile: the file under construction, and how it gets its final name.
//
// It is built under a name of its own in the target's directory, ".<db>.<random>.restoring", 0600,
// and held by a lock for as long as the restore runs. A crash at any point leaves at most that file
// (and perhaps its -wal), which the next restore of the same target removes; never a part of a
// database under the final name.

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

// kFailedPrecondition when there is anything under `path`, also a dangling symlink, or a -wal, -shm
// or -journal beside it, which SQLite would apply to the restored file.
Status RefuseExistingTarget(const std::string& path);
// Whether there is anything under `path`; symlinks are not followed.
Result<bool> NameExists(const std::string& path);

class TargetFile {
 public:
  // `target`: where the file is to appear; "" for one that never will (standard output, a check),
  // which lies in $TMPDIR or /tmp.
  static Result<TargetFile> Create(const std::string& target);
  TargetFile(TargetFile&& other) noexcept { *this = std::move(other); }
  TargetFile& operator=(TargetFile&& other) noexcept;
  // Removes the file if it was not published, with the -wal and -shm that SQLite may have made.
  ~TargetFile();

  const Fd& fd() const { return fd_; }
  const std::string& path() const { return path_; }  // of the file under construction

  // Syncs the file and gives it its final name. `force`: what stands there, with its -wal, -shm and
  // -journal, is moved to "<target>.before-restore-<time>" first; `moved` receives the new names.
  // kFailedPrecondition when the target exists (without force, or made meanwhile). After an error
  // nothing is under the final name that was not there before, but for one of the last step, the
  // sync of the directory: then the whole file is there, and a power loss may undo it.
  Status Publish(bool force, std::vector<std::string>* moved);

  // Where files without a target lie.
  static std::string ScratchDirectory();

 private:
  TargetFile() = default;
  void Remove();

  Fd fd_;
  std::string target_;
  std::string path_;  // empty: nothing to remove
};

}  // namespace sqlite_s3

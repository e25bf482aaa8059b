#pragma once
// DirectoryWatcher: inotify over the directories that databases lie in. One watch a directory, for
// -wal files come and go. Not thread-safe: the agent's loop owns it.

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

enum class FileEvent {
  kWritten,  // its content changed
  kChanged,  // it was made, removed, renamed, or its mode changed
  kLost,     // events were dropped or the directory is gone: anything may have happened
};

class DirectoryWatcher {
 public:
  // `name` within `directory`; for kLost it is empty, and the directory too when it is all of them.
  using Handler =
      std::function<void(const std::string& directory, std::string_view name, FileEvent event)>;

  static Result<DirectoryWatcher> Open();

  // Idempotent. kNotFound: no such directory (yet). kResourceExhausted: fs.inotify's limits. OK
  // says nothing about file systems of other machines, whose changes are not told.
  Status Watch(const std::string& directory);
  void Forget(const std::string& directory);
  // Whether kWritten is told of what lies in a watched directory; all else is in any case. It costs
  // who writes half a microsecond each time. False, and the directory is forgotten, when another or
  // none is under its name now.
  bool TellWrites(const std::string& directory, bool tell);
  bool Watches(const std::string& directory) const { return watches_.contains(directory); }

  int fd() const { return fd_.get(); }
  // Reads what there is, without waiting.
  void Dispatch(const Handler& handler);

 private:
  explicit DirectoryWatcher(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
  std::unordered_map<std::string, int> watches_;
  std::unordered_map<int, std::string> directories_;
};

}  // namespace sqlite_s3

#include "agent/daemon/directory_watcher.h"

#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kStructure = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                                IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr uint32_t kAll = kStructure | IN_MODIFY;
constexpr size_t kBufferBytes = 64 << 10;

}  // namespace

Result<DirectoryWatcher> DirectoryWatcher::Open() {
  Fd fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", "inotify");
  }
  return DirectoryWatcher(std::move(fd));
}

Status DirectoryWatcher::Watch(const std::string& directory) {
  if (Watches(directory)) {
    return Status::Ok();
  }
  const int watch = inotify_add_watch(fd_.get(), directory.c_str(), kAll);
  if (watch < 0) {
    if (errno == ENOSPC) {
      return ResourceExhaustedError("no inotify watch is left for '" + directory +
                                    "', hint: raise fs.inotify.max_user_watches; until then a "
                                    "timer looks");
    }
    return ErrnoStatus(errno, "watch", directory);
  }
  // Another name of a directory that is watched already: the first name keeps it.
  if (directories_.emplace(watch, directory).second) {
    watches_[directory] = watch;
    return Status::Ok();
  }
  return AlreadyExistsError("'" + directory + "' is watched under another name");
}

void DirectoryWatcher::Forget(const std::string& directory) {
  const auto at = watches_.find(directory);
  if (at == watches_.end()) {
    return;
  }
  inotify_rm_watch(fd_.get(), at->second);
  directories_.erase(at->second);
  watches_.erase(at);
}

bool DirectoryWatcher::TellWrites(const std::string& directory, bool tell) {
  const auto at = watches_.find(directory);
  if (at == watches_.end()) {
    return false;
  }
  const int watch = inotify_add_watch(fd_.get(), directory.c_str(), tell ? kAll : kStructure);
  if (watch == at->second) {
    return true;
  }
  if (watch >= 0 && !directories_.contains(watch)) {
    inotify_rm_watch(fd_.get(), watch);
  }
  Forget(directory);
  return false;
}

void DirectoryWatcher::Dispatch(const Handler& handler) {
  alignas(inotify_event) char buffer[kBufferBytes];
  for (;;) {
    const ssize_t got = read(fd_.get(), buffer, sizeof(buffer));
    if (got <= 0) {
      return;  // EAGAIN; EINTR comes again
    }
    for (const char* at = buffer; at < buffer + got;) {
      inotify_event event;
      std::memcpy(&event, at, sizeof(event));
      const std::string_view name =
          event.len > 0 ? std::string_view(at + sizeof(event)) : std::string_view();
      at += sizeof(event) + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) {
        handler({}, {}, FileEvent::kLost);
        continue;
      }
      const auto found = directories_.find(event.wd);
      if (found == directories_.end()) {
        continue;
      }
      const std::string directory = found->second;  // the handler may forget it
      if ((event.mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
        Forget(directory);
        handler(directory, {}, FileEvent::kLost);
        continue;
      }
      handler(directory, name,
              (event.mask & IN_MODIFY) != 0 ? FileEvent::kWritten : FileEvent::kChanged);
    }
  }
}

}  // namespace sqlite_s3

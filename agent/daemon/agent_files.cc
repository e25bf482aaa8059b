// The files of databases: the names that their events come under, and whom an event concerns.

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "agent/daemon/agent.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

// What a database's files are called after its own name. The last one is its state directory: a
// process that stands by rings with it (agent/ship/shared_block.h).
constexpr std::string_view kSuffixes[] = {"-wal", "-shm", "-journal", "-s3"};

// The path's file under its directory's real name; the path itself while that does not exist.
std::string FileUnderRealDirectory(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(DirectoryOf(path).c_str(), resolved) == nullptr) {
    return path;
  }
  std::string directory = resolved;
  return (directory == "/" ? "" : directory) + path.substr(path.rfind('/'));
}

std::string RealFile(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) != nullptr ? std::string(resolved) : path;
}

}  // namespace

void Agent::OnFileEvent(const std::string& directory, std::string_view name, FileEvent event) {
  const int64_t soon = Now() + kSoonMicros;
  auto tell = [&](Entry& entry, bool files_changed) {
    if (!entry.removing && entry.task->OnEvent(files_changed)) {
      SetDue(entry, std::min(entry.due_us, soon));
      entry.again = entry.attending;
    }
  };
  std::lock_guard lock(mutex_);
  TellDirectories(directory, name, event);
  if (event == FileEvent::kLost) {
    for (auto& [path, entry] : entries_) {
      if (directory.empty() || entry.file.starts_with(directory + "/") ||
          entry.real_file.starts_with(directory + "/")) {
        tell(entry, true);
      }
    }
  } else {
    std::string_view file = name;
    for (const std::string_view suffix : kSuffixes) {
      if (file.ends_with(suffix)) {
        file.remove_suffix(suffix.size());
        break;
      }
    }
    const auto [first, last] =
        names_.equal_range((directory == "/" ? "" : directory) + "/" + std::string(file));
    for (auto at = first; at != last; ++at) {
      Entry& entry = entries_.at(at->second);
      tell(entry, event == FileEvent::kChanged);
      if (event == FileEvent::kWritten) {
        NoteWritten(entry);
      }
    }
  }
}

// Whether events of its files will come.
bool Agent::WatchFiles(Entry& entry) {
  const std::string& path = entry.task->spec().path;
  const std::string file = FileUnderRealDirectory(path);
  const std::string real_file = RealFile(file);
  if (file != entry.file || real_file != entry.real_file) {
    ForgetNames(entry);
    entry.file = file;
    entry.real_file = real_file;
    names_.emplace(file, path);
    if (real_file != file) {
      names_.emplace(real_file, path);
    }
  }
  Status watched = watcher_.Watch(DirectoryOf(file));
  if (watched.ok() && real_file != file) {
    watched = watcher_.Watch(DirectoryOf(real_file));
  }
  return watched.ok();
}

void Agent::ForgetNames(const Entry& entry) {
  const std::string& path = entry.task->spec().path;
  for (const std::string& file : {entry.file, entry.real_file}) {
    const auto [first, last] = names_.equal_range(file);
    for (auto at = first; at != last;) {
      at = at->second == path ? names_.erase(at) : std::next(at);
    }
  }
}

}  // namespace sqlite_s3

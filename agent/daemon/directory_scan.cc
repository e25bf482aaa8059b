#include "agent/daemon/directory_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr int kMostDepth = 64;
constexpr size_t kMostDatabases = 100'000;
constexpr std::string_view kMagic("SQLite format 3\0", 16);
constexpr std::string_view kStateSuffix = "-s3";

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

class Scanner {
 public:
  Scanner(const DirectorySpec& spec, FileClaims& claims,
          const std::function<bool(const std::string&)>& known)
      : spec_(spec), claims_(claims), known_(known) {
    static std::atomic<uint64_t> count{0};
    claim_ = "a scan of directory '" + spec.path + "' (" + std::to_string(++count) + ")";
  }

  DirectoryScan Run() {
    char resolved[PATH_MAX];
    if (realpath(spec_.path.c_str(), resolved) == nullptr) {
      Note(errno == ENOENT ? NotFoundError("directory '" + spec_.path + "' does not exist yet")
                           : ErrnoStatus(errno, "look at", spec_.path));
      return std::move(scan_);
    }
    auto root = OpenFile(resolved, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!root.ok()) {
      Note(root.status());
      return std::move(scan_);
    }
    scan_.root = resolved;
    Enter(std::move(root).value(), resolved, "", 0);
    std::sort(scan_.databases.begin(), scan_.databases.end());
    return std::move(scan_);
  }

 private:
  void Note(Status status) {
    if (scan_.status.ok()) {
      scan_.status = std::move(status);
    }
  }

  void Enter(Fd fd, const std::string& real, const std::string& relative, int depth) {
    const int again = dup(fd.get());
    std::unique_ptr<DIR, CloseDirectory> directory(again >= 0 ? fdopendir(again) : nullptr);
    if (!directory) {
      Note(ErrnoStatus(errno, "read", real));
      return;
    }
    scan_.directories.push_back(real);
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(directory.get());
      if (entry == nullptr) {
        if (errno != 0) {
          Note(ErrnoStatus(errno, "read", real));
        }
        break;
      }
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") {
        names.emplace_back(name);
      }
    }
    directory.reset();
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      struct stat st {};
      if (fstatat(fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        continue;  // it went away just now
      }
      const std::string path = relative.empty() ? name : relative + "/" + name;
      if (S_ISDIR(st.st_mode)) {
        if (spec_.recursive && !IsExcluded(spec_, path) && !IsStateOfOurs(fd, names, name)) {
          EnterBelow(fd, name, real, path, depth + 1);
        }
      } else if (S_ISREG(st.st_mode) && !IsSideFile(name) && MatchesPatterns(spec_, path) &&
                 !IsExcluded(spec_, path)) {
        LookAt(fd, name, path, {st.st_dev, st.st_ino});
      }
    }
  }

  void EnterBelow(const Fd& fd, const std::string& name, const std::string& real,
                  const std::string& path, int depth) {
    const std::string below = PathBelow(real, name);
    if (depth > kMostDepth) {
      Note(ResourceExhaustedError("directory '" + below + "' is too deep"));
      return;
    }
    auto opened = OpenFileAt(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (opened.ok()) {
      Enter(std::move(opened).value(), below, path, depth);
    } else if (opened.code() != StatusCode::kNotFound) {
      Note(opened.status());
    }
  }

  // The state directory of a database, which has files of ours only.
  static bool IsStateOfOurs(const Fd& fd, const std::vector<std::string>& names,
                            const std::string& name) {
    return name.ends_with(kStateSuffix) &&
           (std::binary_search(names.begin(), names.end(),
                               name.substr(0, name.size() - kStateSuffix.size())) ||
            faccessat(fd.get(), (name + "/identity").c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0);
  }

  void LookAt(const Fd& fd, const std::string& name, const std::string& path, const FileId& id) {
    bool database = known_(PathBelow(spec_.path, path));
    if (!database) {
      // A file that SQLite has open in this process must not be opened beside it: closing it would
      // drop SQLite's locks.
      if (!claims_.Claim(id, claim_).ok()) {
        return;  // it is shipped under another name
      }
      database = HasMagic(fd, name, path, id);
      claims_.Release(id, claim_);
    }
    if (!database) {
      return;
    }
    if (scan_.databases.size() == kMostDatabases) {
      Note(ResourceExhaustedError("directory '" + spec_.path + "' has more than " +
                                  std::to_string(kMostDatabases) + " databases"));
      return;
    }
    scan_.databases.push_back(path);
  }

  bool HasMagic(const Fd& fd, const std::string& name, const std::string& path, const FileId& id) {
    auto file = OpenFileAt(fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!file.ok()) {
      if (file.code() != StatusCode::kNotFound) {
        Note(file.status());
      }
      return false;
    }
    struct stat st {};
    if (fstat(file->get(), &st) != 0 || st.st_dev != id.device || st.st_ino != id.inode) {
      return false;  // replaced just now: its event comes
    }
    uint8_t header[kMagic.size()] = {};
    const auto got = ReadAt(*file, 0, header, name);
    const bool complete = got.ok() && *got == sizeof(header);
    if (complete && std::memcmp(header, kMagic.data(), kMagic.size()) == 0) {
      return true;
    }
    if (complete) {
      scan_.others.push_back(PathBelow(scan_.root, path));
    }
    return false;
  }

  const DirectorySpec& spec_;
  FileClaims& claims_;
  const std::function<bool(const std::string&)>& known_;
  std::string claim_;
  DirectoryScan scan_;
};

}  // namespace

DirectoryScan ScanDirectory(const DirectorySpec& spec, FileClaims& claims,
                            const std::function<bool(const std::string& path)>& known) {
  return Scanner(spec, claims, known).Run();
}

std::vector<Result<DatabaseSpec>> DatabasesNow(const DirectorySpec& directory) {
  FileClaims claims;
  const DirectoryScan scan =
      ScanDirectory(directory, claims, [](const std::string&) { return false; });
  std::vector<Result<DatabaseSpec>> specs;
  if (!scan.status.ok()) {
    specs.emplace_back(scan.status);
  }
  for (const std::string& relative : scan.databases) {
    specs.push_back(DatabaseSpecIn(directory, scan.root, relative));
  }
  return specs;
}

}  // namespace sqlite_s3

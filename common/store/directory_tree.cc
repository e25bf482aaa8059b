#include "common/store/directory_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <memory>

#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr mode_t kDirectoryMode = 0750;
constexpr size_t kMaxKeyBytes = 900;

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

bool StatAt(const Fd& dir, const std::string& name, struct stat* st) {
  return ::fstatat(dir.get(), name.c_str(), st, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<Fd> OpenChild(const Fd& parent, const std::string& name) {
  return OpenFileAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

}  // namespace

std::pair<std::string_view, std::string> SplitKey(std::string_view key) {
  size_t slash = key.rfind('/');
  if (slash == std::string_view::npos) {
    return {{}, std::string(key)};
  }
  return {key.substr(0, slash), std::string(key.substr(slash + 1))};
}

int64_t ToMicros(const struct timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000 + time.tv_nsec / 1000;
}

std::string EtagOf(const Fd& file, const struct stat& st) {
  int generation = 0;
  // Where there is none, inodes are not used again while the file system is mounted (tmpfs).
  if (::ioctl(file.get(), FS_IOC_GETVERSION, &generation) != 0) {
    generation = 0;
  }
  char text[80];
  std::snprintf(
      text, sizeof(text), "%llx-%x-%llx.%lx-%llx", static_cast<unsigned long long>(st.st_ino),
      static_cast<unsigned>(generation), static_cast<unsigned long long>(st.st_mtim.tv_sec),
      static_cast<unsigned long>(st.st_mtim.tv_nsec), static_cast<unsigned long long>(st.st_size));
  return text;
}

Status UnlinkObject(const Fd& directory, const std::string& name, const std::string& path) {
  struct stat st;
  if (::fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT || errno == ENAMETOOLONG ? Status::Ok()
                                                    : ErrnoStatus(errno, "stat", path);
  }
  if (S_ISREG(st.st_mode) && ::unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "remove", path);
  }
  return {};
}

Result<Fd> DirectoryTree::Open(std::string_view dir, Missing missing) {
  Result<Fd> current = OpenChild(root_, ".");
  for (size_t start = 0; current.ok() && start < dir.size();) {
    size_t end = std::min(dir.find('/', start), dir.size());
    std::string name(dir.substr(start, end - start));
    std::string path(dir.substr(0, end));
    bool created = false;
    Result<Fd> child = OpenChild(*current, name);
    if (child.code() == StatusCode::kNotFound && missing == Missing::kCreate) {
      created = ::mkdirat(current->get(), name.c_str(), kDirectoryMode) == 0;
      int error = created ? 0 : errno;
      if (error == ENOENT) {
        return UnavailableError("directory removed by another: " + PathOf(path));
      }
      if (error != 0 && error != EEXIST) {
        return ErrnoStatus(error, "create directory", PathOf(path));
      }
      child = OpenChild(*current, name);
    }
    if (!child.ok()) {
      struct stat st;
      bool in_the_way = StatAt(*current, name, &st) && !S_ISDIR(st.st_mode);
      if (missing == Missing::kCreate) {
        if (in_the_way) {
          return FailedPreconditionError("not a directory: " + PathOf(path));
        }
        if (child.code() == StatusCode::kNotFound) {
          return UnavailableError("directory removed by another: " + PathOf(path));
        }
      } else if (in_the_way) {
        return NotFoundError("not a directory: " + PathOf(path));
      }
      return child.status().WithContext(PathOf(path));
    }
    if (sync_) {
      RETURN_IF_ERROR(MakeDurable(path, *current, *child, created));
    }
    current = std::move(child);
    start = end + 1;
  }
  return current.ok() ? std::move(current) : current.status().WithContext(path_);
}

// Makes the entry of `child` durable, and those in it. A directory that exists is not enough:
// whoever made it may have died before syncing its parent, and an object below would be lost with
// it. Once per directory: while it exists, its entry stays durable. A directory that was removed
// and made again is another one, which the inode and the time of birth tell.
Status DirectoryTree::MakeDurable(const std::string& dir, const Fd& parent, const Fd& child,
                                  bool created) {
  struct statx stx = {};
  if (::statx(child.get(), "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &stx) != 0) {
    return ErrnoStatus(errno, "stat", PathOf(dir));
  }
  Identity identity{stx.stx_ino, stx.stx_btime.tv_sec, stx.stx_btime.tv_nsec};
  if (!created) {
    {
      std::lock_guard lock(mutex_);
      auto it = durable_.find(dir);
      if (it != durable_.end() && it->second == identity) {
        return {};
      }
    }
    // Objects that a dead writer linked here and did not live to sync: the next reader acts on what
    // it sees, so what is seen must be durable.
    RETURN_IF_ERROR(SyncDirectory(child, PathOf(dir)));
  }
  // From the root downwards, before anything is put into the child: what is durable can be reached.
  RETURN_IF_ERROR(SyncDirectory(parent, PathOf(dir)));
  std::lock_guard lock(mutex_);
  durable_.insert_or_assign(dir, identity);
  return {};
}

Result<Fd> DirectoryTree::Lock(int how) {
  // A description of its own: locks are of these, and threads share root_.
  ASSIGN_OR_RETURN(Fd root, OpenFileAt(root_, ".", O_RDONLY | O_DIRECTORY));
  int result = 0;
  do {
    result = ::flock(root.get(), how);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && how == LOCK_EX) {
    return UnimplementedError(
        "directories cannot be locked here, which replacing an object on a "
        "condition needs: " +
        path_);
  }
  return root;
}

void DirectoryTree::RemoveEmpty(std::string dir) {
  while (!dir.empty()) {
    auto [parent_path, name] = SplitKey(dir);
    Result<Fd> parent = Open(parent_path, Missing::kIsNotFound);
    // Not synced: an empty directory that comes back after a power loss is invisible.
    if (!parent.ok() || ::unlinkat(parent->get(), name.c_str(), AT_REMOVEDIR) != 0) {
      return;
    }
    {
      std::lock_guard lock(mutex_);
      durable_.erase(dir);
    }
    dir = std::string(parent_path);
  }
}

struct DirectoryTree::Page {
  std::string_view start_after;
  size_t max_keys;
  std::vector<ObjectInfo> objects;

  bool Full() const { return objects.size() >= max_keys; }
};

Result<std::vector<ObjectInfo>> DirectoryTree::List(std::string_view prefix,
                                                    std::string_view start_after, size_t max_keys) {
  Page page{start_after, max_keys, {}};
  // Down to the last directory that the prefix names in full; the rest filters names in it.
  size_t slash = prefix.rfind('/');
  size_t head = slash == std::string_view::npos ? 0 : slash + 1;
  RETURN_IF_ERROR(ListInto(std::string(prefix.substr(0, head)), prefix.substr(head), page));
  return std::move(page.objects);
}

// Adds the objects below `dir` ("" or "a/b/") whose first segment there starts with name_prefix.
//
// Byte order of full keys is not the order of names: "a-b" < "a/b" < "a0", for '-' < '/' < '0'. But
// with '/' appended to the names of directories it is: two entries of one directory then differ
// within the shorter one, or the shorter is a file, and comes first.
Status DirectoryTree::ListInto(const std::string& dir, std::string_view name_prefix, Page& page) {
  std::string_view dir_path(dir);
  dir_path.remove_suffix(dir.empty() ? 0 : 1);
  Result<Fd> fd = Open(dir_path, Missing::kIsNotFound);
  if (fd.code() == StatusCode::kNotFound) {
    return {};
  }
  RETURN_IF_ERROR(fd.status());
  ASSIGN_OR_RETURN(Fd stream, OpenChild(*fd, "."));
  std::unique_ptr<DIR, DirCloser> entries(::fdopendir(stream.get()));
  if (entries == nullptr) {
    return ErrnoStatus(errno, "open directory", PathOf(dir));
  }
  stream.Release();  // closedir closes it

  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(entries.get());
    if (entry == nullptr) {
      if (errno != 0) {
        return ErrnoStatus(errno, "read directory", PathOf(dir));
      }
      break;
    }
    std::string name = entry->d_name;
    if (!name.starts_with(name_prefix) || dir.size() + name.size() > kMaxKeyBytes ||
        !ValidateObjectKey(name).ok()) {
      continue;
    }
    bool is_directory = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN) {  // some filesystems do not say
      struct stat st;
      if (!StatAt(*fd, name, &st) || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
        continue;
      }
      is_directory = S_ISDIR(st.st_mode);
    } else if (!is_directory && entry->d_type != DT_REG) {
      continue;
    }
    if (is_directory) {
      name += '/';
    }
    std::string key = dir + name;
    if (key <= page.start_after && !(is_directory && page.start_after.starts_with(key))) {
      continue;
    }
    names.push_back(std::move(name));
  }
  entries.reset();

  // A heap rather than a sort: a page needs the least few of what may be many names.
  std::make_heap(names.begin(), names.end(), std::greater<>());
  while (!names.empty() && !page.Full()) {
    std::pop_heap(names.begin(), names.end(), std::greater<>());
    std::string name = std::move(names.back());
    names.pop_back();
    if (name.back() == '/') {
      RETURN_IF_ERROR(ListInto(dir + name, {}, page));
      continue;
    }
    struct stat st;
    if (!StatAt(*fd, name, &st)) {
      if (errno == ENOENT) {
        continue;  // deleted meanwhile
      }
      return ErrnoStatus(errno, "stat", PathOf(dir + name));
    }
    if (S_ISREG(st.st_mode)) {
      page.objects.push_back({dir + name, static_cast<uint64_t>(st.st_size), ToMicros(st.st_mtim)});
    }
  }
  return {};
}

}  // namespace sqlite_s3

#pragma once
// DirectoryTree: the folders under a directory store's root. Walks without following symlinks,
// knows which folders are durable, lists in the byte order of full keys. Thread-safe.

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/os/fd.h"
#include "common/store/object_store.h"

namespace sqlite_s3 {

class DirectoryTree {
 public:
  enum class Missing {
    kIsNotFound,  // kNotFound also when something else than a directory is in the way
    kCreate,      // made, durably; kFailedPrecondition when something else is in the way
  };

  // `path` is for messages. With `sync`, every directory handed out is durable, as are the entries
  // that were in it when this tree first met it.
  DirectoryTree(std::string path, Fd root, bool sync)
      : path_(std::move(path)), root_(std::move(root)), sync_(sync) {}

  const std::string& path() const { return path_; }
  const Fd& root() const { return root_; }
  // For messages: the file of a key.
  std::string PathOf(std::string_view key) const { return path_ + "/" + std::string(key); }

  // The directory `dir`, relative to the root ("" is the root itself). kUnavailable when it was
  // removed under our hands: try again.
  Result<Fd> Open(std::string_view dir, Missing missing);

  // As ObjectStore::List. REQUIRES: a valid prefix and max_keys > 0.
  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       size_t max_keys);

  // What replaces or removes objects holds this lock shared (LOCK_SH) while it does, PutIfMatch
  // holds it alone (LOCK_EX) from its look at the old object to its rename: so the old one is what
  // it looked at. It is between processes as well, and goes with the Fd. PutIfAbsent needs none: it
  // touches no object that exists. Where directories cannot be locked (NFS), LOCK_EX is
  // kUnimplemented, and LOCK_SH is OK, as there is nothing to keep out.
  Result<Fd> Lock(int how);

  // Removes `dir` and its parents as long as they are empty; never the root.
  void RemoveEmpty(std::string dir);

 private:
  struct Page;
  struct Identity {
    uint64_t inode = 0;
    int64_t born_s = 0;
    uint32_t born_ns = 0;
    auto operator<=>(const Identity&) const = default;
  };
  Status MakeDurable(const std::string& dir, const Fd& parent, const Fd& child, bool created);
  Status ListInto(const std::string& dir, std::string_view name_prefix, Page& page);

  const std::string path_;
  const Fd root_;
  const bool sync_;
  std::mutex mutex_;
  std::map<std::string, Identity, std::less<>> durable_;  // guarded by mutex_
};

// "a/b/c" -> {"a/b", "c"}; "c" -> {"", "c"}.
std::pair<std::string_view, std::string> SplitKey(std::string_view key);

// The file's identity: no two files of one name that follow each other have the same, for the inode
// of one that was removed comes with another generation where inodes are used again.
std::string EtagOf(const Fd& file, const struct stat& st);

// OK also when there is nothing, or no object. `path` is for messages.
Status UnlinkObject(const Fd& directory, const std::string& name, const std::string& path);

int64_t ToMicros(const struct timespec& time);

}  // namespace sqlite_s3

#include "common/store/directory_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>

#include "common/os/errno_status.h"
#include "common/os/file.h"
#include "common/store/directory_tree.h"
#include "common/store/temp_files.h"

namespace sqlite_s3 {
namespace {

constexpr mode_t kDirectoryMode = 0750;
// How often a directory may be removed by concurrent deletes while we put into it.
constexpr int kMaxTries = 16;

class DirectoryStore : public ObjectStore {
 public:
  DirectoryStore(std::string path, Fd root, bool read_only)
      : tree_(std::move(path), std::move(root), /*sync=*/!read_only),
        read_only_(read_only),
        temp_files_(tree_) {}

  Status Prepare();

  std::string Describe() const override { return "file:" + tree_.path(); }
  bool SupportsConditionalPut() const override { return temp_files_.publishes_atomically(); }
  Result<PutResult> Put(std::string_view key, ByteSpan body) override {
    return Write(key, body, Condition::kNone, {});
  }
  Result<PutResult> PutIfAbsent(std::string_view key, ByteSpan body) override {
    return Write(key, body, Condition::kAbsent, {});
  }
  Result<PutResult> PutIfMatch(std::string_view key, ByteSpan body,
                               std::string_view etag) override {
    RETURN_IF_ERROR(ValidateEtag(etag));
    return Write(key, body, Condition::kMatch, etag);
  }
  Result<Bytes> Get(std::string_view key, uint64_t max_bytes,
                    std::optional<ByteRange> range) override;
  Result<ObjectInfo> Head(std::string_view key) override;
  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       int max_keys) override;
  Status Delete(std::string_view key) override;
  Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) override;

 private:
  enum class Condition { kNone, kAbsent, kMatch };

  Result<PutResult> Write(std::string_view key, ByteSpan body, Condition condition,
                          std::string_view etag);
  // OK when what lies there is what `etag` names. REQUIRES: the replacing is locked.
  Status CheckMatch(const Fd& directory, const std::string& name, std::string_view etag,
                    const std::string& path);
  Status CheckWrite(std::string_view key);

  DirectoryTree tree_;
  const bool read_only_;
  TempFiles temp_files_;
};

Status DirectoryStore::Prepare() {
  if (read_only_) {
    return {};
  }
  // What a dead writer left in the root, as the tree does for the directories below.
  RETURN_IF_ERROR(SyncDirectory(tree_.root(), tree_.path()));
  return temp_files_.Prepare();
}

Status DirectoryStore::CheckWrite(std::string_view key) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  if (read_only_) {
    return PermissionDeniedError("store is opened for reading only: " + Describe());
  }
  return {};
}

Status DirectoryStore::CheckMatch(const Fd& directory, const std::string& name,
                                  std::string_view etag, const std::string& path) {
  Result<Fd> file = OpenFileAt(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat st;
  if (!file.ok()) {
    return file.status().WithContext(path);
  }
  if (::fstat(file->get(), &st) != 0) {
    return ErrnoStatus(errno, "stat", path);
  }
  if (!S_ISREG(st.st_mode)) {
    return FailedPreconditionError("not a regular file: " + path);
  }
  return EtagOf(*file, st) == etag ? Status::Ok()
                                   : AbortedError("object is another by now: " + path);
}

Result<PutResult> DirectoryStore::Write(std::string_view key, ByteSpan body, Condition condition,
                                        std::string_view etag) {
  RETURN_IF_ERROR(CheckWrite(key));
  const std::string path = tree_.PathOf(key);
  auto [dir, name] = SplitKey(key);

  // 1. The content, under a name that nobody reads. A crash leaves a leftover that a later open
  //    removes.
  ASSIGN_OR_RETURN(TempFile temp, temp_files_.Create());
  RETURN_IF_ERROR(WriteAll(temp.file, body, path));
  // 2. The content becomes durable before it has its name: the other way round, a power loss could
  //    leave the name with an empty or partial file. A crash leaves what 1 leaves.
  RETURN_IF_ERROR(SyncFile(temp.file, path));

  for (int i = 0; i < kMaxTries; ++i) {
    // 3. The directories down to it, durable before the name is made in them. Usually they are
    //    known to be and this costs no sync. A crash leaves empty directories.
    Result<Fd> directory =
        tree_.Open(dir, condition == Condition::kMatch ? DirectoryTree::Missing::kIsNotFound
                                                       : DirectoryTree::Missing::kCreate);
    if (directory.code() == StatusCode::kUnavailable) {
      continue;
    }
    RETURN_IF_ERROR(directory.status());
    // 4. The name: from here on readers see the object, complete. A crash of this process leaves it
    //    visible; after a power loss it is there, complete, or not at all.
    int error = 0;
    {
      std::optional<Fd> lock;  // not for the syncs
      if (condition != Condition::kAbsent) {
        ASSIGN_OR_RETURN(lock, tree_.Lock(condition == Condition::kMatch ? LOCK_EX : LOCK_SH));
      }
      if (condition == Condition::kMatch) {
        RETURN_IF_ERROR(CheckMatch(*directory, name, etag, path));
      }
      error = temp_files_.Publish(temp, *directory, name, condition != Condition::kAbsent);
    }
    if (error == ENOENT) {
      continue;  // a concurrent Delete emptied and removed the directory after 3
    }
    struct stat st;
    if (error == EEXIST) {
      if (::fstatat(directory->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
          !S_ISREG(st.st_mode)) {
        return FailedPreconditionError("not a regular file: " + path);
      }
      // Who made it may have died before 5, and our caller may find it to be its own: it must be
      // durable before we say that it is there.
      RETURN_IF_ERROR(SyncDirectory(*directory, path));
      return AlreadyExistsError("object exists: " + path);
    }
    if (error != 0) {
      return ErrnoStatus(error, "create", path);
    }
    // The change time, which naming the file set: the modification time is of 1, and a machine that
    // was paused between 1 and 4 must show in the store's time.
    if (::fstat(temp.file.get(), &st) != 0) {
      return ErrnoStatus(errno, "stat", path);
    }
    // 5. The name becomes durable: only now is it safe to say OK.
    RETURN_IF_ERROR(SyncDirectory(*directory, path));
    return PutResult{std::max(ToMicros(st.st_ctim), ToMicros(st.st_mtim)), EtagOf(temp.file, st)};
  }
  return UnavailableError("directory or temporary file removed by another: " + path);
}

Result<Bytes> DirectoryStore::Get(std::string_view key, uint64_t max_bytes,
                                  std::optional<ByteRange> range) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  const std::string path = tree_.PathOf(key);
  auto [dir, name] = SplitKey(key);
  ASSIGN_OR_RETURN(Fd directory, tree_.Open(dir, DirectoryTree::Missing::kIsNotFound));
  // O_NONBLOCK: a FIFO must not hang us.
  Result<Fd> file = OpenFileAt(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat st;
  if (!file.ok()) {
    if (::fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        !S_ISREG(st.st_mode)) {
      return NotFoundError("not a regular file: " + path);
    }
    return file.status().WithContext(tree_.PathOf(dir));
  }
  if (::fstat(file->get(), &st) != 0) {
    return ErrnoStatus(errno, "stat", path);
  }
  if (!S_ISREG(st.st_mode)) {
    return NotFoundError("not a regular file: " + path);
  }
  // Objects do not change in place: the size stays what it is now.
  uint64_t size = static_cast<uint64_t>(st.st_size);
  uint64_t offset = 0;
  if (range) {
    offset = std::min(range->offset, size);
    size = std::min(range->length, size - offset);
  }
  if (size > max_bytes) {
    return ResourceExhaustedError("object is larger than " + std::to_string(max_bytes) +
                                  " bytes: " + path);
  }
  Bytes bytes(static_cast<size_t>(size));
  RETURN_IF_ERROR(ReadExactlyAt(*file, offset, bytes, path));
  return bytes;
}

Result<ObjectInfo> DirectoryStore::Head(std::string_view key) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  auto [dir, name] = SplitKey(key);
  ASSIGN_OR_RETURN(Fd directory, tree_.Open(dir, DirectoryTree::Missing::kIsNotFound));
  struct stat st;
  if (::fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoStatus(errno, "stat", tree_.PathOf(key));
  }
  if (!S_ISREG(st.st_mode)) {
    return NotFoundError("not a regular file: " + tree_.PathOf(key));
  }
  // Opened for its generation. O_NONBLOCK: what has become a FIFO meanwhile must not hang us.
  ASSIGN_OR_RETURN(Fd file, OpenFileAt(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  if (::fstat(file.get(), &st) != 0) {
    return ErrnoStatus(errno, "stat", tree_.PathOf(key));
  }
  return ObjectInfo{std::string(key), static_cast<uint64_t>(st.st_size), ToMicros(st.st_mtim),
                    EtagOf(file, st)};
}

Result<std::vector<ObjectInfo>> DirectoryStore::List(std::string_view prefix,
                                                     std::string_view start_after, int max_keys) {
  RETURN_IF_ERROR(ValidateObjectPrefix(prefix));
  if (max_keys < 1 || max_keys > kMaxListKeys) {
    return InvalidArgumentError("max_keys is not within 1..1000");
  }
  return tree_.List(prefix, start_after, static_cast<size_t>(max_keys));
}

Status DirectoryStore::Delete(std::string_view key) {
  RETURN_IF_ERROR(CheckWrite(key));
  const std::string path = tree_.PathOf(key);
  auto [dir, name] = SplitKey(key);
  {
    Result<Fd> directory = tree_.Open(dir, DirectoryTree::Missing::kIsNotFound);
    if (directory.code() == StatusCode::kNotFound) {
      return {};
    }
    RETURN_IF_ERROR(directory.status());
    {
      ASSIGN_OR_RETURN(Fd lock, tree_.Lock(LOCK_SH));
      RETURN_IF_ERROR(UnlinkObject(*directory, name, path));
    }
    // Callers delete in an order that keeps the rest readable (an image's manifest before its
    // parts): an object must not come back after the next one is gone. Also when it was gone
    // already, for who removed it may have died before this.
    RETURN_IF_ERROR(SyncDirectory(*directory, path));
  }
  tree_.RemoveEmpty(std::string(dir));
  return {};
}

// Folder by folder: one sync for all of a folder's objects is what this saves.
Result<std::vector<DeleteFailure>> DirectoryStore::DeleteMany(std::span<const std::string> keys) {
  std::map<std::string_view, std::vector<std::string_view>> folders;
  for (const std::string& key : keys) {
    RETURN_IF_ERROR(CheckWrite(key));
    folders[SplitKey(key).first].push_back(key);
  }
  std::vector<DeleteFailure> failures;
  for (const auto& [dir, members] : folders) {
    auto fail = [&](std::string_view key, const Status& status) {
      failures.push_back({std::string(key), status});
    };
    Result<Fd> directory = tree_.Open(dir, DirectoryTree::Missing::kIsNotFound);
    Status status = directory.status();
    std::vector<std::string_view> removed;
    for (std::string_view key : members) {
      Status one = status;
      if (one.ok()) {
        ASSIGN_OR_RETURN(Fd lock, tree_.Lock(LOCK_SH));
        one = UnlinkObject(*directory, SplitKey(key).second, tree_.PathOf(key));
      }
      if (one.ok()) {
        removed.push_back(key);
      } else if (one.code() != StatusCode::kNotFound) {
        fail(key, one);
      }
    }
    if (!removed.empty()) {
      status = SyncDirectory(*directory, tree_.PathOf(dir));
      for (std::string_view key : removed) {
        if (!status.ok()) fail(key, status);
      }
    }
    if (directory.ok()) {
      directory->Close();
      tree_.RemoveEmpty(std::string(dir));
    }
  }
  return failures;
}

}  // namespace

Result<std::shared_ptr<ObjectStore>> OpenDirectoryStore(const DirectoryStoreOptions& options) {
  if (options.path.empty()) {
    return InvalidArgumentError("a directory store needs a path");
  }
  std::string path = options.path;
  while (path.size() > 1 && path.back() == '/') {
    path.pop_back();
  }
  if (options.create && !options.read_only) {
    RETURN_IF_ERROR(MakeDirectories(path, kDirectoryMode, Durability::kDurable));
    // Whoever made the directory before us may have died before syncing its entry. Best effort: the
    // parent may be unreadable to us, and then is none of our making.
    (void)SyncDirectory(DirectoryOf(path));
  }
  Result<Fd> root = OpenFile(path, O_RDONLY | O_DIRECTORY);
  RETURN_IF_ERROR(root.status());
  auto store =
      std::make_shared<DirectoryStore>(std::move(path), std::move(root).value(), options.read_only);
  RETURN_IF_ERROR(store->Prepare());
  return std::shared_ptr<ObjectStore>(std::move(store));
}

}  // namespace sqlite_s3

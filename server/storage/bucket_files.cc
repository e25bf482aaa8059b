#include "server/storage/bucket_files.h"

#include "common/os/file.h"
#include "server/storage/bucket_set.h"
#include "server/storage/schema.h"

namespace sqlite_s3::server {
namespace {

constexpr std::string_view kSuffix = ".sqlite3";
constexpr std::string_view kCreating = ".creating";
constexpr std::string_view kDeleting = ".deleting";
constexpr const char* kSidecars[] = {"-journal", "-wal", "-shm"};

Status RemoveSidecars(const std::string& path) {
  for (const char* sidecar : kSidecars) {
    RETURN_IF_ERROR(RemoveFile(path + sidecar));
  }
  return Status::Ok();
}

// Of ".NAME.creating", and of what SQLite put beside it, NAME; else empty.
std::string NameIn(const std::string& file, std::string_view state) {
  const size_t at = file.rfind(state);
  if (!file.starts_with('.') || at == std::string::npos || at < 2) {
    return {};
  }
  const std::string rest = file.substr(at + state.size());
  const bool ours =
      rest.empty() || rest == kSidecars[0] || rest == kSidecars[1] || rest == kSidecars[2];
  const std::string name = file.substr(1, at - 1);
  return ours && IsValidBucketName(name) ? name : std::string();
}

}  // namespace

std::string BucketFiles::PathOf(const std::string& name) const {
  return directory_ + "/" + name + std::string(kSuffix);
}

std::string BucketFiles::Hidden(const std::string& name, std::string_view state) const {
  return directory_ + "/." + name + std::string(state);
}

Result<std::vector<std::string>> BucketFiles::Names() const {
  ASSIGN_OR_RETURN(std::vector<std::string> files, ListDirectory(directory_));
  std::vector<std::string> names;
  for (const std::string& file : files) {
    if (file.ends_with(kSuffix)) {
      std::string name = file.substr(0, file.size() - kSuffix.size());
      if (IsValidBucketName(name)) {
        names.push_back(std::move(name));
      }
    }
  }
  return names;
}

Status BucketFiles::CleanUp() const {
  ASSIGN_OR_RETURN(std::vector<std::string> files, ListDirectory(directory_));
  for (const std::string& file : files) {
    if (!NameIn(file, kCreating).empty()) {
      RETURN_IF_ERROR(RemoveFile(directory_ + "/" + file));
    } else if (const std::string name = NameIn(file, kDeleting); !name.empty()) {
      RETURN_IF_ERROR(FinishDelete(name));
    }
  }
  return Status::Ok();
}

Status BucketFiles::Create(const std::string& name, const std::string& owner,
                           int64_t created_us) const {
  const std::string path = PathOf(name);
  const std::string unfinished = Hidden(name, kCreating);
  RETURN_IF_ERROR(FinishDelete(name));
  for (const char* sidecar : kSidecars) {
    ASSIGN_OR_RETURN(const bool stale, FileExists(path + sidecar));
    if (stale) {
      return FailedPreconditionError("'" + path + sidecar +
                                     "' is left of another database, hint: move it away");
    }
  }
  const auto remove = [&] {
    const Status removed = RemoveSidecars(unfinished);
    return removed.ok() ? RemoveFile(unfinished) : removed;
  };
  RETURN_IF_ERROR(remove());
  Status status = CreateBucketFile(unfinished, owner, created_us);
  if (status.ok()) {
    status = RenameFile(unfinished, path, Durability::kDurable);
  }
  if (!status.ok()) {
    (void)remove();       // the next attempt does it too
    (void)Discard(name);  // renamed, but who knows for how long: there is nothing in it
  }
  return status;
}

Status BucketFiles::Discard(const std::string& name) const {
  RETURN_IF_ERROR(RemoveSidecars(PathOf(name)));
  return RemoveFile(PathOf(name));
}

Status BucketFiles::Delete(const std::string& name) const {
  // First of all it stops being a bucket. SQLite's files go before the one that says to whom they
  // belonged: a bucket that is made under this name must never find them.
  return RenameFile(PathOf(name), Hidden(name, kDeleting), Durability::kDurable);
}

Status BucketFiles::FinishDelete(const std::string& name) const {
  const std::string deleting = Hidden(name, kDeleting);
  ASSIGN_OR_RETURN(const bool exists, FileExists(deleting));
  if (!exists) {
    return Status::Ok();
  }
  RETURN_IF_ERROR(RemoveSidecars(PathOf(name)));
  RETURN_IF_ERROR(SyncDirectory(directory_));
  return RemoveFile(deleting);
}

}  // namespace sqlite_s3::server

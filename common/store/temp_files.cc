#include "common/store/temp_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

// '~' is outside the alphabet of keys: no key can name anything in there, and no list shows it.
constexpr char kDirectory[] = "~tmp";
constexpr mode_t kDirectoryMode = 0750;
constexpr mode_t kFileMode = 0640;
constexpr int64_t kMaxAgeUs = int64_t{3600} * 1'000'000;

}  // namespace

TempFile::~TempFile() {
  if (directory.valid()) {
    ::unlinkat(directory.get(), name.c_str(), 0);
  }
}

Result<Fd> TempFiles::OpenDirectory() {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  Result<Fd> directory = OpenFileAt(tree_.root(), kDirectory, kFlags);
  if (directory.code() == StatusCode::kNotFound) {
    // Not synced: nothing in there has to survive.
    if (::mkdirat(tree_.root().get(), kDirectory, kDirectoryMode) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, "create directory", tree_.PathOf(kDirectory));
    }
    directory = OpenFileAt(tree_.root(), kDirectory, kFlags);
  }
  return directory.ok() ? std::move(directory) : directory.status().WithContext(tree_.path());
}

Result<TempFile> TempFiles::Create() {
  uint8_t nonce[16];
  RETURN_IF_ERROR(FillRandom(nonce));
  std::string name = HexEncode(nonce);
  ASSIGN_OR_RETURN(Fd directory, OpenDirectory());
  Result<Fd> file =
      OpenFileAt(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, kFileMode);
  if (!file.ok()) {
    return file.status().WithContext(tree_.PathOf(kDirectory));
  }
  TempFile temp;
  temp.name = std::move(name);
  temp.file = std::move(file).value();
  temp.directory = std::move(directory);
  return temp;
}

Status TempFiles::Prepare() {
  ASSIGN_OR_RETURN(TempFile probe, Create());
  struct stat st;
  if (::fstat(probe.file.get(), &st) != 0) {
    return ErrnoStatus(errno, "stat", tree_.PathOf(kDirectory));
  }
  // Now, by the filesystem's clock, which need not be ours.
  const int64_t now_us = ToMicros(st.st_mtim);

  // An error other than "there is no such thing here" is no proof: the next put will tell it.
  auto unsupported = [](int error) {
    return error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL ||
           error == EMLINK;
  };
  const int dir = probe.directory.get();
  const std::string other = probe.name + "-probe";
  create_by_ = CreateBy::kLink;
  if (::linkat(dir, probe.name.c_str(), dir, other.c_str(), 0) != 0 && unsupported(errno)) {
    create_by_ = CreateBy::kRenameNoReplace;
    if (::renameat2(dir, probe.name.c_str(), dir, other.c_str(), RENAME_NOREPLACE) != 0 &&
        unsupported(errno)) {
      create_by_ = CreateBy::kCheckAndRename;
    }
  }
  ::unlinkat(dir, other.c_str(), 0);

  // Best effort: leftovers cost space and nothing else. Younger ones may be another process's puts.
  Result<std::vector<std::string>> names = ListDirectory(tree_.PathOf(kDirectory));
  if (names.ok()) {
    for (const std::string& name : *names) {
      if (::fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) &&
          now_us - ToMicros(st.st_mtim) > kMaxAgeUs) {
        ::unlinkat(dir, name.c_str(), 0);
      }
    }
  }
  return {};
}

int TempFiles::Publish(const TempFile& temp, const Fd& directory, const std::string& name,
                       bool replace) {
  const int from = temp.directory.get();
  const int to = directory.get();
  auto result = [](int returned) { return returned == 0 ? 0 : errno; };
  if (replace) {
    return result(::renameat(from, temp.name.c_str(), to, name.c_str()));
  }
  switch (create_by_) {
    case CreateBy::kLink:
      return result(::linkat(from, temp.name.c_str(), to, name.c_str(), 0));
    case CreateBy::kRenameNoReplace:
      return result(::renameat2(from, temp.name.c_str(), to, name.c_str(), RENAME_NOREPLACE));
    case CreateBy::kCheckAndRename:
      break;
  }
  // Not atomic, and publishes_atomically() says so.
  struct stat st;
  if (::fstatat(to, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
    return EEXIST;
  }
  return result(::renameat(from, temp.name.c_str(), to, name.c_str()));
}

}  // namespace sqlite_s3

#include "restore/target_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/time.h"
#include "common/os/errno_status.h"
#include "common/os/file.h"
#include "restore/interrupt.h"

namespace sqlite_s3 {
namespace {

constexpr char kRestoring[] = ".restoring";
constexpr int kMaxTries = 8;
// What SQLite keeps beside a database.
const char* const kCompanions[] = {"-wal", "-shm", "-journal"};

std::string BaseName(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

enum class LockResult { kLocked, kHeldByAnother, kNoLocksHere };

// A byte that SQLite never locks (it uses those around 2^30), by a lock that closing another
// descriptor of the file does not drop, as SQLite does when it checkpoints.
LockResult TryLock(const Fd& fd) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = off_t{1} << 62;
  lock.l_len = 1;
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) == 0) {
    return LockResult::kLocked;
  }
  return errno == EAGAIN || errno == EACCES ? LockResult::kHeldByAnother : LockResult::kNoLocksHere;
}

// Still the file that has the name: nobody took it for a leftover between our open and our lock.
bool StillNamed(const Fd& fd) {
  struct stat st {};
  return ::fstat(fd.get(), &st) == 0 && st.st_nlink > 0;
}

void RemoveWithCompanions(const std::string& path) {
  // Whatever cannot be removed is found again by the next restore.
  (void)RemoveFile(path);
  for (const char* suffix : kCompanions) {
    (void)RemoveFile(path + suffix);
  }
}

// Files that killed restores of `base` left: those that nobody holds locked.
void RemoveLeftovers(const std::string& directory, const std::string& base) {
  auto names = ListDirectory(directory);
  if (!names.ok()) {
    return;  // creating the file says it better
  }
  const std::string prefix = "." + base + ".";
  for (const std::string& name : *names) {
    // Exactly what Create makes: 16 hex digits between prefix and suffix.
    if (!name.starts_with(prefix)) {
      continue;
    }
    const std::string_view rest = std::string_view(name).substr(prefix.size());
    const std::string_view digits = rest.substr(0, 16);
    if (digits.size() != 16 || digits.find_first_not_of("0123456789abcdef") != digits.npos ||
        rest.substr(16) != kRestoring) {
      continue;
    }
    const std::string path = directory + "/" + name;
    auto file = OpenFile(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    if (!file.ok()) {
      continue;
    }
    if (TryLock(*file) == LockResult::kLocked) {
      RemoveWithCompanions(path);
    }
  }
}

}  // namespace

std::string TargetFile::ScratchDirectory() {
  const char* directory = std::getenv("TMPDIR");
  return directory != nullptr && directory[0] != '\0' ? directory : "/tmp";
}

Result<bool> NameExists(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0) {
    return true;
  }
  if (errno == ENOENT) {
    return false;
  }
  return ErrnoStatus(errno, "look at", path);
}

Status RefuseExistingTarget(const std::string& path) {
  ASSIGN_OR_RETURN(const bool exists, NameExists(path));
  if (exists) {
    return FailedPreconditionError("target '" + path +
                                   "' exists, hint: --force moves it aside, --if-not-exists does "
                                   "nothing");
  }
  for (const char* suffix : kCompanions) {
    ASSIGN_OR_RETURN(const bool left, NameExists(path + suffix));
    if (left) {
      return FailedPreconditionError("'" + path + suffix +
                                     "' of another database is there, and SQLite would apply it to "
                                     "the restored one, hint: --force moves it aside");
    }
  }
  return Status::Ok();
}

Result<TargetFile> TargetFile::Create(const std::string& target) {
  const std::string directory = target.empty() ? ScratchDirectory() : DirectoryOf(target);
  const std::string base = target.empty() ? "sqlite-s3-restore" : BaseName(target);
  if (base.empty() || base == "." || base == "..") {
    return InvalidArgumentError("'" + target + "' is not the name of a file");
  }
  RemoveLeftovers(directory, base);
  for (int i = 0; i < kMaxTries; ++i) {
    uint8_t random[8];
    RETURN_IF_ERROR(FillRandom(random));
    TargetFile file;
    file.target_ = target;
    const std::string path = directory + "/." + base + "." + HexEncode(random) + kRestoring;
    // In the target's own directory, so that the last step can be a rename. Nothing that is there
    // is followed or written to.
    ASSIGN_OR_RETURN(file.fd_, OpenFile(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    file.path_ = path;
    RemoveWhenInterrupted(path);
    // Where there are no locks, leftovers are nobody's to remove either.
    if (TryLock(file.fd_) != LockResult::kHeldByAnother && StillNamed(file.fd_)) {
      return file;
    }
  }
  return UnavailableError("other restores of '" + target + "' are in the way");
}

TargetFile& TargetFile::operator=(TargetFile&& other) noexcept {
  if (this != &other) {
    Remove();
    fd_ = std::move(other.fd_);
    target_ = std::move(other.target_);
    path_ = std::exchange(other.path_, std::string());
  }
  return *this;
}

TargetFile::~TargetFile() { Remove(); }

void TargetFile::Remove() {
  if (!path_.empty()) {
    RemoveWithCompanions(path_);
    RemoveNothingWhenInterrupted();
    path_.clear();
  }
}

namespace {

// Moves what stands under the target's name out of the way, so that at no moment the old database
// is there without its WAL, and that its WAL is never lost: first the companions get their new
// names beside the old ones, then the database moves, then the old names go. A crash in between
// leaves either the old database as it was, or none and a complete one under the new name; a stale
// -wal that is left then stops the next restore, and an application that makes a new database there
// loses nothing with it.
Status MoveAside(const std::string& target, std::vector<std::string>* moved) {
  std::string now = FormatTimeUtc(Clock::Real().WallMicros());
  std::erase_if(now, [](char c) { return c == '-' || c == ':'; });
  const std::string aside = target + ".before-restore-" + now;
  std::vector<std::string> companions;
  for (const char* suffix : kCompanions) {
    ASSIGN_OR_RETURN(const bool exists, NameExists(target + suffix));
    if (!exists) {
      continue;
    }
    if (::link((target + suffix).c_str(), (aside + suffix).c_str()) != 0) {
      return ErrnoStatus(errno, "move aside", target + suffix);
    }
    companions.emplace_back(suffix);
  }
  ASSIGN_OR_RETURN(const bool exists, NameExists(target));
  if (exists) {
    // The new names of the companions must not be lost where this one is not.
    RETURN_IF_ERROR(SyncDirectory(DirectoryOf(target)));
    if (::renameat2(AT_FDCWD, target.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) != 0) {
      return ErrnoStatus(errno, "move aside", target);
    }
    moved->push_back(aside);
  }
  RETURN_IF_ERROR(SyncDirectory(DirectoryOf(target)));
  for (const std::string& suffix : companions) {
    RETURN_IF_ERROR(RemoveFile(target + suffix));
    moved->push_back(aside + suffix);
  }
  return Status::Ok();
}

}  // namespace

Status TargetFile::Publish(bool force, std::vector<std::string>* moved) {
  // Content first, name second: after a power loss the final name leads to all of it or is not
  // there.
  RETURN_IF_ERROR(SyncFile(fd_, path_));
  if (force) {
    RETURN_IF_ERROR(MoveAside(target_, moved));
  } else {
    RETURN_IF_ERROR(RefuseExistingTarget(target_));  // as it is now, not as it was at the start
  }
  const auto refused = [this](int error, const char* action) {
    return error == EEXIST
               ? FailedPreconditionError("target '" + target_ + "' was made while the restore ran")
               : ErrnoStatus(error, action, target_);
  };
  // NOREPLACE: whoever made the target meanwhile keeps it.
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno != EINVAL && errno != ENOSYS) {
      return refused(errno, "rename the restored file to");
    }
    // A filesystem without it: a link refuses to replace, too.
    if (::link(path_.c_str(), target_.c_str()) != 0) {
      return refused(errno, "link the restored file to");
    }
    (void)RemoveFile(path_);  // the second name of a file that is safe; a leftover to the next run
  }
  RemoveNothingWhenInterrupted();
  path_.clear();
  return SyncDirectory(DirectoryOf(target_));
}

}  // namespace sqlite_s3

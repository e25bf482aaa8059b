#include "common/os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <memory>

#include "common/base/hash.h"
#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

// Repeats a system call while signals interrupt it.
template <typename F>
auto Retry(F call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

// Linux moves at most 0x7ffff000 bytes per call (read(2), notes); asking for less keeps it plain.
constexpr size_t kMaxTransfer = size_t{1} << 30;

Status CheckOffset(uint64_t offset, size_t size, std::string_view path) {
  constexpr uint64_t kMax = std::numeric_limits<off_t>::max();
  if (offset > kMax || size > kMax - offset) {
    return InvalidArgumentError("offset beyond what a file can hold: " + std::string(path));
  }
  return {};
}

struct DirectoryCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

}  // namespace

Result<Fd> OpenFile(const std::string& path, int flags, mode_t mode) {
  Fd fd(Retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", path);
  }
  return fd;
}

Result<Fd> OpenFileAt(const Fd& dir, const std::string& name, int flags, mode_t mode) {
  Fd fd(Retry([&] { return ::openat(dir.get(), name.c_str(), flags | O_CLOEXEC, mode); }));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", name);
  }
  return fd;
}

Result<size_t> ReadAt(const Fd& fd, uint64_t offset, std::span<uint8_t> out,
                      std::string_view path) {
  RETURN_IF_ERROR(CheckOffset(offset, out.size(), path));
  size_t done = 0;
  while (done < out.size()) {
    ssize_t n = Retry([&] {
      return ::pread(fd.get(), out.data() + done, std::min(out.size() - done, kMaxTransfer),
                     static_cast<off_t>(offset + done));
    });
    if (n < 0) {
      return ErrnoStatus(errno, "read", path);
    }
    if (n == 0) {
      break;
    }
    done += static_cast<size_t>(n);
  }
  return done;
}

Status ReadExactlyAt(const Fd& fd, uint64_t offset, std::span<uint8_t> out, std::string_view path) {
  ASSIGN_OR_RETURN(size_t n, ReadAt(fd, offset, out, path));
  if (n < out.size()) {
    return CorruptionError("file ends at byte " + std::to_string(offset + n) + ", expected " +
                           std::to_string(out.size()) + " bytes at " + std::to_string(offset) +
                           ": " + std::string(path));
  }
  return {};
}

Status WriteAt(const Fd& fd, uint64_t offset, ByteSpan bytes, std::string_view path) {
  RETURN_IF_ERROR(CheckOffset(offset, bytes.size(), path));
  for (size_t done = 0; done < bytes.size();) {
    ssize_t n = Retry([&] {
      return ::pwrite(fd.get(), bytes.data() + done, std::min(bytes.size() - done, kMaxTransfer),
                      static_cast<off_t>(offset + done));
    });
    if (n < 0) {
      return ErrnoStatus(errno, "write", path);
    }
    done += static_cast<size_t>(n);
  }
  return {};
}

Status WriteAll(const Fd& fd, ByteSpan bytes, std::string_view path) {
  for (size_t done = 0; done < bytes.size();) {
    ssize_t n = Retry([&] {
      return ::write(fd.get(), bytes.data() + done, std::min(bytes.size() - done, kMaxTransfer));
    });
    if (n < 0) {
      return ErrnoStatus(errno, "write", path);
    }
    done += static_cast<size_t>(n);
  }
  return {};
}

Result<uint64_t> FileSize(const Fd& fd, std::string_view path) {
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) {
    return ErrnoStatus(errno, "stat", path);
  }
  return static_cast<uint64_t>(st.st_size);
}

Status TruncateFile(const Fd& fd, uint64_t size_bytes, std::string_view path) {
  RETURN_IF_ERROR(CheckOffset(size_bytes, 0, path));
  if (Retry([&] { return ::ftruncate(fd.get(), static_cast<off_t>(size_bytes)); }) != 0) {
    return ErrnoStatus(errno, "truncate", path);
  }
  return {};
}

Status SyncFile(const Fd& fd, std::string_view path) {
  if (Retry([&] { return ::fdatasync(fd.get()); }) != 0) {
    return ErrnoStatus(errno, "sync", path);
  }
  return {};
}

Status SyncDirectory(const Fd& fd, std::string_view path) {
  if (Retry([&] { return ::fsync(fd.get()); }) != 0 && errno != EINVAL) {
    return ErrnoStatus(errno, "sync directory", path);
  }
  return {};
}

Status SyncDirectory(const std::string& path) {
  ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY | O_DIRECTORY));
  return SyncDirectory(fd, path);
}

Result<Bytes> ReadFile(const std::string& path, uint64_t max_bytes) {
  // O_NONBLOCK: a FIFO in the place of a file must not hang us.
  ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY | O_NONBLOCK));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) {
    return ErrnoStatus(errno, "stat", path);
  }
  if (!S_ISREG(st.st_mode)) {
    return FailedPreconditionError("not a regular file: " + path);
  }
  auto too_large = [&] {
    return ResourceExhaustedError("larger than " + std::to_string(max_bytes) + " bytes: " + path);
  };
  if (static_cast<uint64_t>(st.st_size) > max_bytes) {
    return too_large();
  }
  // Files of /proc say 0: read until the end says so. A file that grows is read up to the bound.
  Bytes bytes(static_cast<size_t>(st.st_size));
  ASSIGN_OR_RETURN(size_t n, ReadAt(fd, 0, bytes, path));
  bytes.resize(n);
  while (true) {
    uint8_t chunk[4096];
    ASSIGN_OR_RETURN(size_t more, ReadAt(fd, bytes.size(), chunk, path));
    if (more == 0) {
      return bytes;
    }
    if (more > max_bytes - bytes.size()) {
      return too_large();
    }
    bytes.insert(bytes.end(), chunk, chunk + more);
  }
}

std::string DirectoryOf(std::string_view path) {
  size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) {
    return ".";
  }
  return std::string(slash == 0 ? "/" : path.substr(0, slash));
}

Status WriteFileAtomically(const std::string& path, ByteSpan bytes, mode_t mode,
                           Durability durability) {
  uint8_t nonce[8];
  RETURN_IF_ERROR(FillRandom(nonce));
  std::string directory = DirectoryOf(path);
  std::string name = path.substr(path.rfind('/') + 1);  // npos + 1 == 0
  std::string temp = directory + "/." + name + ".tmp-" + HexEncode(nonce);
  // Errors name the file itself: a reason that lasts is then always the same one.
  Fd fd(Retry([&] {
    return ::open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  }));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "write", path);
  }
  Status status = WriteAll(fd, bytes, path);
  // The content first: a name that is durable before its content shows an empty file after a power
  // loss.
  if (status.ok() && durability == Durability::kDurable) {
    status = SyncFile(fd, path);
  }
  if (status.ok() && ::rename(temp.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, "rename to", path);
  }
  if (!status.ok()) {
    ::unlink(temp.c_str());
    return status;
  }
  // Then the name: until now a power loss brings the old file back.
  return durability == Durability::kDurable ? SyncDirectory(directory) : Status::Ok();
}

Status RenameFile(const std::string& from, const std::string& to, Durability durability) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return ErrnoStatus(errno, "rename " + from + " to", to);
  }
  if (durability == Durability::kVisible) {
    return {};
  }
  // The new name first: a crash in between leaves both names rather than none.
  RETURN_IF_ERROR(SyncDirectory(DirectoryOf(to)));
  if (DirectoryOf(from) != DirectoryOf(to)) {
    RETURN_IF_ERROR(SyncDirectory(DirectoryOf(from)));
  }
  return {};
}

Status MakeDirectories(const std::string& path, mode_t mode, Durability durability) {
  struct stat there;
  if (::stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode)) {
    return {};
  }
  for (size_t end = path.find_first_not_of('/'); end != std::string::npos && end < path.size();) {
    end = std::min(path.find('/', end), path.size());
    std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) == 0) {
      // Parents before children: what is durable can then always be reached from the root.
      if (durability == Durability::kDurable) {
        RETURN_IF_ERROR(SyncDirectory(DirectoryOf(part)));
      }
    } else {
      // Any error is fine while a directory is there: mkdir may say EACCES or EROFS before EEXIST.
      int error = errno;
      struct stat st;
      if (::stat(part.c_str(), &st) != 0) {
        return ErrnoStatus(error, "create directory", part);
      }
      if (!S_ISDIR(st.st_mode)) {
        return FailedPreconditionError("not a directory: " + part);
      }
    }
    end = path.find_first_not_of('/', end);
  }
  return {};
}

Result<std::vector<std::string>> ListDirectory(const std::string& path) {
  std::unique_ptr<DIR, DirectoryCloser> dir(::opendir(path.c_str()));
  if (dir == nullptr) {
    return ErrnoStatus(errno, "open directory", path);
  }
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) {
        return ErrnoStatus(errno, "read directory", path);
      }
      break;
    }
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "remove", path);
  }
  return {};
}

Result<bool> FileExists(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) == 0) {
    return true;
  }
  if (errno == ENOENT || errno == ENOTDIR) {
    return false;
  }
  return ErrnoStatus(errno, "stat", path);
}

Result<uint64_t> FreeDiskSpace(const std::string& path) {
  struct statvfs vfs;
  if (Retry([&] { return ::statvfs(path.c_str(), &vfs); }) != 0) {
    return ErrnoStatus(errno, "ask for free space at", path);
  }
  return uint64_t{vfs.f_bavail} * vfs.f_frsize;
}

}  // namespace sqlite_s3

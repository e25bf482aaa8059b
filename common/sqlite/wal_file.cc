#include "common/sqlite/wal_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <utility>

#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {

Result<WalFile> WalFile::Open(const std::string& path) {
  WalFile wal;
  ASSIGN_OR_RETURN(wal.fd_, OpenFile(path, O_RDONLY));
  wal.path_ = path;
  struct stat st {};
  if (fstat(wal.fd_.get(), &st) != 0) {
    return ErrnoStatus(errno, "look at", path);
  }
  wal.device_ = st.st_dev;
  wal.inode_ = st.st_ino;
  return wal;
}

Result<const Fd*> WalFile::Descriptor() const {
  if (!fd_.valid()) {
    auto again = Open(path_);
    if (again.code() == StatusCode::kNotFound ||
        (again.ok() && (again->device_ != device_ || again->inode_ != inode_))) {
      return CorruptionError("'" + path_ + "' was removed or replaced while the database was open");
    }
    RETURN_IF_ERROR(again.status());
    fd_ = std::move(again->fd_);
  }
  return &fd_;
}

Result<WalHeader> WalFile::ReadHeader() const {
  std::array<uint8_t, kWalHeaderBytes> header{};
  ASSIGN_OR_RETURN(const Fd* fd, Descriptor());
  RETURN_IF_ERROR(ReadExactlyAt(*fd, 0, header, path_));
  auto parsed = ParseWalHeader(header);
  if (!parsed.ok()) {
    return parsed.status().WithContext(path_);
  }
  return parsed;
}

Status WalFile::ReadFrames(uint32_t first, uint32_t page_size, std::span<uint8_t> out) const {
  ASSIGN_OR_RETURN(const Fd* fd, Descriptor());
  return ReadExactlyAt(*fd, WalFrameOffset(first, page_size), out, path_);
}

Status WalFile::ReadPage(uint32_t frame, uint32_t page_size, std::span<uint8_t> out) const {
  ASSIGN_OR_RETURN(const Fd* fd, Descriptor());
  return ReadExactlyAt(*fd, WalFrameOffset(frame, page_size) + kWalFrameHeaderBytes, out, path_);
}

bool WalFile::StillLinked() const {
  struct stat by_path {};
  return stat(path_.c_str(), &by_path) == 0 && by_path.st_ino == inode_ &&
         by_path.st_dev == device_;
}

}  // namespace sqlite_s3

#include "common/sqlite/wal_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>

#include "common/os/file.h"

namespace sqlite_s3 {

Result<WalFile> WalFile::Open(const std::string& path) {
  WalFile wal;
  ASSIGN_OR_RETURN(wal.fd_, OpenFile(path, O_RDONLY));
  wal.path_ = path;
  return wal;
}

Result<WalHeader> WalFile::ReadHeader() const {
  std::array<uint8_t, kWalHeaderBytes> header{};
  RETURN_IF_ERROR(ReadExactlyAt(fd_, 0, header, path_));
  auto parsed = ParseWalHeader(header);
  if (!parsed.ok()) {
    return parsed.status().WithContext(path_);
  }
  return parsed;
}

Status WalFile::ReadFrames(uint32_t first, uint32_t page_size, std::span<uint8_t> out) const {
  return ReadExactlyAt(fd_, WalFrameOffset(first, page_size), out, path_);
}

Status WalFile::ReadPage(uint32_t frame, uint32_t page_size, std::span<uint8_t> out) const {
  return ReadExactlyAt(fd_, WalFrameOffset(frame, page_size) + kWalFrameHeaderBytes, out, path_);
}

bool WalFile::StillLinked() const {
  struct stat by_path {};
  struct stat by_fd {};
  return stat(path_.c_str(), &by_path) == 0 && fstat(fd_.get(), &by_fd) == 0 &&
         by_path.st_ino == by_fd.st_ino && by_path.st_dev == by_fd.st_dev;
}

}  // namespace sqlite_s3

#pragma once
// Reads a -wal file through a descriptor of our own. Opening and closing it is harmless to SQLite:
// no POSIX locks lie on it (facts: they lie on the database file and on -shm).

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/base/status.h"
#include "common/os/fd.h"
#include "common/sqlite/wal_format.h"

namespace sqlite_s3 {

// One thread at a time. Which frames may be read is the wal-index's business, not ours.
class WalFile {
 public:
  // kNotFound when there is none (yet).
  static Result<WalFile> Open(const std::string& path);
  // kCorruption when the file is shorter than a header.
  Result<WalHeader> ReadHeader() const;
  // `out` is a multiple of 24 + page_size bytes: that many frames from `first` on, whole or
  // kCorruption.
  Status ReadFrames(uint32_t first, uint32_t page_size, std::span<uint8_t> out) const;
  Status ReadPage(uint32_t frame, uint32_t page_size, std::span<uint8_t> out) const;
  // Whether the path still leads to the file that was opened (SQLite unlinks it at last close).
  bool StillLinked() const;
  // Closes the descriptor; the next read opens the file again, kCorruption if it is another one.
  // REQUIRES: a SQLite connection has the file open until then, so that no other file can get its
  // inode number.
  void Rest() { fd_.Close(); }

 private:
  Result<const Fd*> Descriptor() const;
  mutable Fd fd_;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace sqlite_s3

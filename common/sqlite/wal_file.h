#pragma once
// Reads a -wal file through a descriptor of our own. Opening and closing it is harmless to SQLite:
// no POSIX locks lie on it (facts: they lie on the database file and on -shm).

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
  // Whether the path still leads to the file we have open (SQLite unlinks it at last close).
  bool StillLinked() const;

 private:
  Fd fd_;
  std::string path_;
};

}  // namespace sqlite_s3

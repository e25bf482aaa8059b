#pragma once
// SandboxVfs: where SQLite executes statements of a log. SQL from a bucket is code, so this VFS has
// no way out: its one database is a PageStore, its WAL and its temporary files are memory, every
// other name cannot be opened, nothing is loaded, and the clock is the one that was recorded.

#include <cstdint>
#include <string>
#include <vector>

#include "common/sqlite/sqlite_api.h"
#include "restore/page_store.h"

namespace sqlite_s3 {

// One thread; at most one connection at a time.
class SandboxVfs {
 public:
  static constexpr const char* kDatabase = "/database";
  static constexpr const char* kWal = "/database-wal";

  SandboxVfs(PageStore& pages, uint32_t page_size, uint64_t most_bytes);
  ~SandboxVfs();
  SandboxVfs(const SandboxVfs&) = delete;
  SandboxVfs& operator=(const SandboxVfs&) = delete;

  const std::string& name() const { return name_; }

  // What the date functions see, microseconds since 1970, and whether one of them has asked since.
  void SetClock(int64_t time_us) { clock_us_ = time_us; }
  bool clock_asked() const { return clock_asked_; }
  void ForgetClockAsked() { clock_asked_ = false; }

  // The WAL as SQLite has written it.
  const Bytes& wal() const { return wal_; }
  // Whether SQLite has begun the WAL anew since the last call.
  bool TakeWalRestarted();
  // As if there had never been one. REQUIRES: no connection.
  void DropWal();
  // Memory of WAL and temporary files together stays below most_bytes: SQLITE_FULL beyond.
  bool MayGrow(uint64_t by) const { return used_ + by <= most_bytes_; }

 private:
  friend struct SandboxFile;
  static int Open(sqlite3_vfs*, const char*, sqlite3_file*, int, int*);
  int Read(uint64_t offset, std::span<uint8_t> out);

  PageStore& pages_;
  const uint32_t page_size_;
  const uint64_t most_bytes_;
  std::string name_;
  sqlite3_vfs vfs_{};
  Bytes wal_;
  bool has_wal_ = false;
  bool wal_restarted_ = false;
  uint64_t used_ = 0;
  int64_t clock_us_ = 0;
  bool clock_asked_ = false;
};

}  // namespace sqlite_s3

#pragma once
// PutAside: bytes that wait longer than memory should be held for them: a few of them in memory,
// more in a file. Not thread-safe.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

class PutAside {
 public:
  PutAside() = default;
  // The file is made when it is needed, takes the place of what has its name, and is removed by
  // Clear and the end; a killed process leaves it behind.
  explicit PutAside(std::string path) : path_(std::move(path)) {}
  ~PutAside() { Clear(); }
  PutAside(PutAside&& other) noexcept { *this = std::move(other); }
  PutAside& operator=(PutAside&& other) noexcept;

  // After an error some of the bytes may be there: Clear.
  Status Append(ByteSpan bytes);
  // All of them. They stay. kCorruption when the file has not what was written to it.
  Result<Bytes> Read() const;
  void Clear();

  uint64_t size_bytes() const { return size_bytes_; }
  bool empty() const { return size_bytes_ == 0; }

 private:
  static constexpr size_t kMostInMemory = 16 << 10;
  Status Write(const Fd& fd, uint64_t at, ByteSpan bytes);

  std::string path_;
  Bytes memory_;
  bool in_file_ = false;
  uint64_t size_bytes_ = 0;
  std::vector<std::pair<uint64_t, Digest>> pieces_;  // of the file, as written: size in bytes
};

}  // namespace sqlite_s3

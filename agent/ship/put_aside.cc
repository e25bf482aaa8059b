#include "agent/ship/put_aside.h"

#include <fcntl.h>

#include <utility>

#include "common/os/file.h"

namespace sqlite_s3 {

PutAside& PutAside::operator=(PutAside&& other) noexcept {
  if (this != &other) {
    Clear();
    path_ = std::move(other.path_);
    memory_ = std::exchange(other.memory_, {});
    in_file_ = std::exchange(other.in_file_, false);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
    pieces_ = std::exchange(other.pieces_, {});
  }
  return *this;
}

Status PutAside::Append(ByteSpan bytes) {
  if (!in_file_ && size_bytes_ + bytes.size() <= kMostInMemory) {
    memory_.insert(memory_.end(), bytes.begin(), bytes.end());
    size_bytes_ += bytes.size();
    return Status::Ok();
  }
  // Opened for each write: of those that wait there may be thousands, and descriptors are few.
  const int begin = in_file_ ? 0 : O_CREAT | O_TRUNC;
  ASSIGN_OR_RETURN(const Fd fd, OpenFile(path_, O_WRONLY | O_NOFOLLOW | begin, 0600));
  if (!in_file_) {
    in_file_ = true;
    RETURN_IF_ERROR(Write(fd, 0, memory_));
    memory_ = {};
  }
  RETURN_IF_ERROR(Write(fd, size_bytes_, bytes));
  size_bytes_ += bytes.size();
  return Status::Ok();
}

Status PutAside::Write(const Fd& fd, uint64_t at, ByteSpan bytes) {
  pieces_.emplace_back(bytes.size(), ComputeDigest(bytes));
  return WriteAt(fd, at, bytes, path_);
}

Result<Bytes> PutAside::Read() const {
  if (!in_file_) {
    return memory_;
  }
  ASSIGN_OR_RETURN(const Fd fd, OpenFile(path_, O_RDONLY | O_NOFOLLOW));
  Bytes bytes(size_bytes_);
  RETURN_IF_ERROR(ReadExactlyAt(fd, 0, bytes, path_));
  // What comes back goes to the store, under a digest that was computed before or will be now.
  uint64_t at = 0;
  for (const auto& [size, digest] : pieces_) {
    if (ComputeDigest(ByteSpan(bytes).subspan(at, size)) != digest) {
      return CorruptionError("'" + path_ + "' has not what was written to it");
    }
    at += size;
  }
  return bytes;
}

void PutAside::Clear() {
  memory_ = {};
  pieces_ = {};
  size_bytes_ = 0;
  if (std::exchange(in_file_, false)) {
    (void)RemoveFile(path_);  // the next one takes its place
  }
}

}  // namespace sqlite_s3

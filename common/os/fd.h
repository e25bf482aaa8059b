#pragma once
// Fd: owns one file descriptor.

#include <unistd.h>

#include <utility>

namespace sqlite_s3 {

// Move-only; closes on destruction. An error of close(2) is dropped: whoever needs the bytes to be
// safe has called SyncFile before.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}  // takes ownership; -1 is "none"
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Close(); }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  // Gives ownership away.
  int Release() { return std::exchange(fd_, -1); }
  void Close() {
    if (fd_ >= 0) {
      // Not retried on EINTR: on Linux the descriptor is gone either way (close(2), notes), and a
      // second close could hit another thread's new file.
      ::close(std::exchange(fd_, -1));
    }
  }

 private:
  int fd_ = -1;
};

}  // namespace sqlite_s3

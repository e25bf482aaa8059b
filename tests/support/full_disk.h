#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

namespace sqlite_s3 {

// No file of this process may be written beyond `bytes`: the disk that is full for a large file,
// and not for small ones.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : before_signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit{bytes, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FullDisk() {
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before_), 0);
    (void)std::signal(SIGXFSZ, before_signal_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  void (*before_signal_)(int);
  rlimit before_{};
};

}  // namespace sqlite_s3

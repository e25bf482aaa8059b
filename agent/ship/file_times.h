#pragma once
// FileTimes: whether somebody has written to some files, or replaced them, by stat(2) alone.

#include <sys/stat.h>

#include <array>
#include <string>

namespace sqlite_s3 {

// Not thread-safe.
class FileTimes {
 public:
  static constexpr size_t kFiles = 3;

  FileTimes() = default;
  explicit FileTimes(std::array<std::string, kFiles> paths) : paths_(std::move(paths)) {}

  // What is there now.
  void Note();
  // False when anything may have happened since Note: times that were young then prove nothing, for
  // the next write may come within the same tick of the file system's clock.
  bool IsAsItWas() const;

 private:
  struct Seen {
    dev_t device = 0;
    ino_t inode = 0;  // 0: not there
    off_t size = 0;
    timespec modified{};
    bool operator==(const Seen& other) const {
      return device == other.device && inode == other.inode && size == other.size &&
             modified.tv_sec == other.modified.tv_sec && modified.tv_nsec == other.modified.tv_nsec;
    }
  };
  static Seen Look(const std::string& path);

  std::array<std::string, kFiles> paths_;
  std::array<Seen, kFiles> seen_{};
  bool certain_ = false;
};

}  // namespace sqlite_s3

#include "agent/ship/file_times.h"

#include <ctime>

namespace sqlite_s3 {
namespace {

constexpr time_t kYoungSeconds = 2;  // also of file systems that count in these

}  // namespace

FileTimes::Seen FileTimes::Look(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) {
    return {};
  }
  return {st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

void FileTimes::Note() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  certain_ = true;
  for (size_t i = 0; i < kFiles; ++i) {
    seen_[i] = Look(paths_[i]);
    // A clock that was put back leaves times of the future: they prove nothing either.
    certain_ = certain_ && seen_[i].modified.tv_sec + kYoungSeconds < now.tv_sec;
  }
}

bool FileTimes::IsAsItWas() const {
  for (size_t i = 0; certain_ && i < kFiles; ++i) {
    if (!(Look(paths_[i]) == seen_[i])) {
      return false;
    }
  }
  return certain_;
}

}  // namespace sqlite_s3

#pragma once
// TempDir: a directory of its own for a test, removed with all that is in it.

#include <string>
#include <string_view>

namespace sqlite_s3 {

// Made with mkdtemp(3) under $TMPDIR, else /tmp. Aborts the test program when that is not possible.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace sqlite_s3

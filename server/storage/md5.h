#pragma once
// Md5: S3's etags are made of it. No security depends on it.

#include <array>
#include <memory>
#include <string>

#include "common/base/bytes.h"

namespace sqlite_s3::server {

class Md5 {
 public:
  Md5();
  ~Md5();
  Md5(Md5&&) noexcept;
  Md5& operator=(Md5&&) noexcept;
  void Update(ByteSpan bytes);
  // Ends it: no Update after this.
  std::array<uint8_t, 16> Finish();
  static std::string Hex(ByteSpan bytes);  // of all of `bytes`

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace sqlite_s3::server

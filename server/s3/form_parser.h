#pragma once
// FormParser: multipart/form-data (RFC 7578) as it comes: fields before the file in bounded memory,
// the file's bytes handed on, what follows the file ignored. One thread at a time.

#include <functional>
#include <optional>
#include <string>

#include "common/base/bytes.h"
#include "server/auth/s3_error.h"

namespace sqlite_s3::server {

class FormParser {
 public:
  struct Events {
    std::function<void(std::string name, std::string value)> on_field;
    std::function<void(std::string filename, std::string content_type)> on_file;
    std::function<void(ByteSpan)> on_bytes;
  };
  // Nothing unless the header says multipart/form-data with a boundary of 1 to 200 bytes.
  static std::optional<std::string> BoundaryOf(const std::string& content_type);
  FormParser(const std::string& boundary, Events events);
  void Feed(ByteSpan bytes);
  // The error, or nothing when the form was complete and had a file.
  std::optional<S3Error> Finish();

 private:
  enum class State : uint8_t { kBoundary, kAfterBoundary, kHeaders, kField, kFile, kDone };
  bool Step();  // false: more bytes are needed
  bool ReadHeaders();
  void Fail(std::string_view code);

  const std::string delimiter_;
  const Events events_;
  State state_ = State::kBoundary;
  std::string buffer_;
  std::string name_;
  size_t field_bytes_ = 0;
  bool had_file_ = false;
  std::optional<S3Error> error_;
};

}  // namespace sqlite_s3::server

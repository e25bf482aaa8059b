#pragma once
// RawClient: bytes on a socket, so that a test says exactly what the server hears.

#include <string>

namespace sqlite_s3::server {

class RawClient {
 public:
  explicit RawClient(unsigned short port);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False when the peer is gone.
  bool Send(const std::string& bytes);
  // Until `text` has come, or the end. What came since the last call.
  std::string ReadUntil(const std::string& text);
  std::string ReadToEnd() { return ReadUntil(""); }
  // After a read that ended: by a reset, not by an orderly close.
  bool was_reset() const { return reset_; }

 private:
  int fd_ = -1;
  bool reset_ = false;
};

}  // namespace sqlite_s3::server

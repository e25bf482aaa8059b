#pragma once
// A listening TCP socket.

#include <cstdint>
#include <string>

#include "common/base/status.h"

namespace sqlite_s3::server {

struct ListenSocket {
  int fd = -1;  // the caller's to close
  uint16_t port = 0;
};

// `host` is an IPv4 or IPv6 address. Errors: kInvalidArgument, kUnavailable (in use),
// kPermissionDenied, kIoError.
Result<ListenSocket> Listen(const std::string& host, uint16_t port);

struct HostPort {
  std::string host;
  uint16_t port = 0;
};
// "127.0.0.1:9000", "[::1]:9000", ":9000" (loopback), "9000". kInvalidArgument for anything else.
Result<HostPort> ParseListenAddress(const std::string& text);
bool IsLoopback(const std::string& host);

}  // namespace sqlite_s3::server

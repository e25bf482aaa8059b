#pragma once
// HttpTransport over libcurl. Connections are kept and used again. It lives in somebody else's
// process: it installs no signal handler, raises no SIGPIPE, follows no redirect, writes nowhere,
// and a child of fork(2) never touches its parent's connections.

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "common/store/http_transport.h"

namespace sqlite_s3 {

struct CurlTransportOptions {
  std::string ca_file = {};  // PEM; empty: the system's
  size_t max_idle = 16;      // connections kept for the next request
};

// TLS is 1.2 or newer and always verified, peer and name. kInternal when libcurl cannot start.
Result<std::shared_ptr<HttpTransport>> NewCurlTransport(const CurlTransportOptions& options);

// One transport for each ca_file, for a process with many stores: a store at rest then keeps
// neither a connection nor a TLS session, and one that works finds a connection that is open.
// Thread-safe.
class SharedTransports {
 public:
  Result<std::shared_ptr<HttpTransport>> Get(const std::string& ca_file);

 private:
  static constexpr size_t kMaxIdle = 64;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<HttpTransport>> transports_;
};

}  // namespace sqlite_s3

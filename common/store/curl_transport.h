#pragma once
// HttpTransport over libcurl. Connections are kept and used again. It lives in somebody else's
// process: it installs no signal handler, raises no SIGPIPE, follows no redirect, writes nowhere,
// and a child of fork(2) never touches its parent's connections.

#include <memory>
#include <string>

#include "common/store/http_transport.h"

namespace sqlite_s3 {

struct CurlTransportOptions {
  std::string ca_file = {};  // PEM; empty: the system's
};

// TLS is 1.2 or newer and always verified, peer and name. kInternal when libcurl cannot start.
Result<std::shared_ptr<HttpTransport>> NewCurlTransport(const CurlTransportOptions& options);

}  // namespace sqlite_s3

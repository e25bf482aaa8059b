#pragma once
// HttpServer: HTTP/1.1 on a socket, a thread per connection, over libmicrohttpd; the .cc is the
// only file that includes it. Bodies are streamed both ways in bounded memory.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "server/http/connection_watch.h"
#include "server/http/message.h"

namespace sqlite_s3::server {

struct HttpOptions {
  std::string host = "127.0.0.1";  // an address, not a name; "::1", "0.0.0.0"
  uint16_t port = 0;               // 0: any, see HttpServer::port
  Patience patience;
  unsigned max_connections_per_address = 0;  // 0: no such limit
  // A connection that sends or takes nothing for so long is closed.
  std::chrono::seconds idle_timeout{60};
  std::string tls_certificate_pem;  // both or none
  std::string tls_key_pem;
};

class HttpServer {
 public:
  // Listens and serves from own threads until Stop. `handler` must outlive the server.
  // Errors: kInvalidArgument (address, certificate), kUnavailable (address in use),
  // kPermissionDenied, kResourceExhausted.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpOptions& options, Handler& handler);
  virtual ~HttpServer() = default;  // Stop(0 s)
  virtual uint16_t port() const = 0;
  // No new connections from here on. Requests in flight may end within `grace`; what is left then
  // is cut off. Blocks until all threads have ended; idempotent.
  virtual void Stop(std::chrono::milliseconds grace) = 0;
  virtual unsigned connections() const = 0;
};

}  // namespace sqlite_s3::server

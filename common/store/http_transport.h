#pragma once
// HttpTransport: one HTTP exchange. The seam between what S3 means and what moves the bytes.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"

namespace sqlite_s3 {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;  // lower-case names

struct HttpRequest {
  std::string method;
  std::string url;      // complete, percent-encoded; sent as it is, "/../" too
  HttpHeaders headers;  // "host" is skipped: it comes from the URL
  ByteSpan body;        // must live until Send returns
  bool has_body = false;
  uint64_t max_response_bytes = 64 << 10;  // of a 2xx body; others are cut at 64 KiB
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{30'000};  // of the whole exchange
  std::chrono::seconds stall_timeout{20};     // without a KiB a second in either direction
  bool use_proxy = true;                      // the environment's; false for link-local services
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;
  Bytes body;
  // The body was longer than allowed: it is cut, and the rest was not read.
  bool too_large = false;
  // The protocol itself tells where the body ends, so a body that was cut short is an error.
  bool framed = false;

  // The first header of that (lower-case) name; empty when there is none.
  std::string_view Header(std::string_view name) const {
    for (const auto& header : headers) {
      if (header.first == name) return header.second;
    }
    return {};
  }
};

class HttpTransport {
 public:
  virtual ~HttpTransport() = default;
  // Any status of the server is OK here; no redirect is followed. kUnavailable: no complete answer
  // (refused, timed out, broken off, name unknown); kFailedPrecondition: the server's certificate
  // is not trusted; kInvalidArgument: the URL; kCancelled: the thread's CancelScope. The request
  // may have been carried out after any error. Thread-safe.
  virtual Result<HttpResponse> Send(const HttpRequest& request) = 0;
};

}  // namespace sqlite_s3

#pragma once
// S3Client: one signed request, and what its answer means. Learns the store's clock and renews
// credentials, once each per call; repeats nothing else. Thread-safe.

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/store/credentials.h"
#include "common/store/http_transport.h"
#include "common/store/s3_address.h"
#include "common/store/s3_error.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {

// Where requests go: an endpoint taken apart.
struct S3Endpoint {
  std::string base;  // "https://host[:port]", with the bucket in it in virtual-host style
  std::string host;  // "host[:port]", as the Host header says it
  std::string path;  // "" or "/bucket"
  bool tls = true;
};
// kInvalidArgument for an address that cannot be: virtual-host style of a name with dots over TLS,
// which no certificate covers.
Result<S3Endpoint> ResolveEndpoint(const S3Address& address, const std::string& region);

struct S3Request {
  std::string method;
  std::string key;    // the whole key in the bucket; empty: the bucket itself
  std::string query;  // encoded
  HttpHeaders headers;
  ByteSpan body;
  bool has_body = false;
  std::string payload_hash;  // hex SHA-256 of the body, when it is known already
  uint64_t max_response_bytes = 64 << 10;
  uint64_t expected_bytes = 0;  // of the answer, for the deadline
  // The answer's body is S3's own document, which may be an error's under status 200.
  bool document_expected = true;
};

struct S3Answer {
  HttpResponse response;
  bool failed = false;
  S3Failure failure;                 // when failed
  std::optional<int64_t> server_us;  // the Date header
};

class S3Client {
 public:
  // `clock` must outlive the client.
  S3Client(S3Endpoint endpoint, S3Address address, std::string region,
           std::shared_ptr<HttpTransport> transport, std::unique_ptr<CredentialSource> credentials,
           const Clock& clock = Clock::Real());

  // Errors: the transport's, and those of fetching credentials. An answer that says no is OK here,
  // with `failed` set.
  Result<S3Answer> Send(const S3Request& request);
  // Send, with a failure turned into a Status; `what` as for ToStatus.
  Result<S3Answer> Call(const S3Request& request, std::string_view what);

  // "s3://bucket/key", or "s3://bucket".
  std::string Name(std::string_view key) const;
  const S3Address& address() const { return address_; }
  const S3Endpoint& endpoint() const { return endpoint_; }
  const std::string& region() const { return region_; }
  // The store's clock minus ours, as last learnt from an answer that complained.
  int64_t clock_offset_us() const { return clock_offset_us_; }
  CredentialCache& credentials() { return credentials_; }

 private:
  Result<S3Answer> SendOnce(const S3Request& request, const std::string& payload_hash,
                            const Credentials& credentials);

  const S3Endpoint endpoint_;
  const S3Address address_;
  const std::string region_;
  const std::shared_ptr<HttpTransport> transport_;
  const Clock& clock_;
  CredentialCache credentials_;
  SigningKeyCache signing_keys_;
  std::atomic<int64_t> clock_offset_us_{0};
};

}  // namespace sqlite_s3

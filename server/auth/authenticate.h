#pragma once
// Who sent this request? Signature Version 4 in headers and presigned URLs, Version 2 likewise.
//
// Source: Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)", and for
// Version 2 the developer guide's "Signing and authenticating REST requests". Pure; thread-safe.

#include <cstdint>
#include <string>

#include "common/store/sigv4.h"
#include "server/auth/s3_error.h"
#include "server/auth/users.h"
#include "server/http/message.h"

namespace sqlite_s3::server {

inline constexpr int64_t kMaxSkewMicros = int64_t{15} * 60 * 1'000'000;

// What must be true of the body, by the signature.
enum class PayloadKind : uint8_t {
  kUnsigned,
  kHashed,          // payload_hash is its SHA-256
  kChunked,         // aws-chunked, each chunk signed
  kChunkedTrailer,  // and a signed trailer
  kUnsignedChunkedTrailer,
};

struct Identity {
  const User* user = nullptr;  // null: anonymous
  PayloadKind payload = PayloadKind::kUnsigned;
  std::string payload_hash;
  bool presigned = false;
  // For signed chunks.
  Sha256Hash signing_key{};
  std::string amz_date;
  std::string scope;
  std::string seed_signature;
};

// `virtual_bucket` is the bucket that the Host header names, or empty. Anonymous when the request
// carries no authentication at all: whether that is allowed is the caller's to say.
S3Result<Identity> Authenticate(const Request& request, const Query& query, const Users& users,
                                const std::string& virtual_bucket, int64_t now_us);

// Version 2; used by Authenticate. `date` is the Date header's text or Expires' seconds.
std::string StringToSignV2(const Request& request, const Query& query,
                           const std::string& virtual_bucket, const std::string& date);
S3Result<Identity> AuthenticateV2Header(const Request& request, const Query& query,
                                        const Users& users, const std::string& virtual_bucket,
                                        int64_t now_us);
S3Result<Identity> AuthenticateV2Query(const Request& request, const Query& query,
                                       const Users& users, const std::string& virtual_bucket,
                                       int64_t now_us);

// When the client says that it sent the request: its x-amz-date header, else its Date.
struct SentDate {
  int64_t us = 0;
  std::string text;
  bool is_amz = false;
};
// Errors: AccessDenied when neither header is a date, RequestTimeTooSkewed when it is more than
// kMaxSkewMicros from now_us.
S3Result<SentDate> CheckSentDate(const Request& request, int64_t now_us);

// "Thu, 17 Nov 2005 18:49:58 GMT" and with a numeric zone; also FormatAmzDate's and ISO 8601's
// form.
std::optional<int64_t> ParseAnyDate(const std::string& text);

}  // namespace sqlite_s3::server

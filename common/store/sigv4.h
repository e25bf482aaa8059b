#pragma once
// AWS Signature Version 4, the pure part: bytes in, strings out. The client signs with it and the
// server verifies with it, so that both mean the same by "canonical request". The only file that
// signs is sigv4.cc.
//
// Sources: Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)": header
// based, query parameters, and chunked upload with and without trailers. Thread-safe: the functions
// have no state.

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/bytes.h"

namespace sqlite_s3 {

using Sha256Hash = std::array<uint8_t, 32>;

Sha256Hash Sha256(ByteSpan bytes);
std::string Sha256Hex(ByteSpan bytes);
Sha256Hash HmacSha256(ByteSpan key, ByteSpan message);
// Takes the same time wherever the two differ; lengths are not secret.
bool EqualInConstantTime(std::string_view a, std::string_view b);

// What stands in place of a payload's hash (x-amz-content-sha256).
inline constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";
inline constexpr std::string_view kStreamingPayload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
inline constexpr std::string_view kStreamingPayloadTrailer =
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
inline constexpr std::string_view kStreamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
// SHA-256 of nothing.
inline constexpr std::string_view kEmptyPayloadHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
inline constexpr std::string_view kSigV4Algorithm = "AWS4-HMAC-SHA256";

// Every byte but A-Z a-z 0-9 - . _ ~ as %XX in capitals; '/' only with `encode_slash`.
std::string UriEncode(std::string_view text, bool encode_slash);
// "%41" -> "A"; '+' stays a plus. Nothing when a '%' is not followed by two hex digits.
std::optional<std::string> UriDecode(std::string_view text);

// The query in its canonical form: each name and value decoded and encoded again, sorted by encoded
// name, then value, "name=" for a name without '='. Parameters named `leave_out` are dropped
// (X-Amz-Signature when a presigned URL is verified). What is not valid percent-encoding is taken
// as the bytes it is.
std::string CanonicalQuery(std::string_view raw_query,
                           std::optional<std::string_view> leave_out = std::nullopt);

struct SignedRequest {
  std::string method;  // "GET"
  std::string path;    // percent-encoded as sent, begins with '/'; S3 signs it as it is
  std::string query;   // raw as sent, without '?'
  // Those to sign: lower-case names, in any order, the same name perhaps several times in the order
  // sent. Values are trimmed and runs of blanks in them become one.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string payload_hash;  // hex SHA-256 of the body, or one of the constants above
};

// "host;x-amz-date": sorted, each once.
std::string SignedHeaderNames(const SignedRequest& request);
std::string CanonicalRequest(const SignedRequest& request,
                             std::optional<std::string_view> leave_out_of_query = std::nullopt);

// "20130524/us-east-1/s3/aws4_request". REQUIRES: amz_date is "yyyymmddThhmmssZ".
std::string CredentialScope(std::string_view amz_date, std::string_view region,
                            std::string_view service);
// "20130524T000000Z", from microseconds since 1970 UTC.
std::string FormatAmzDate(int64_t wall_us);
// Nothing unless exactly as FormatAmzDate prints it, and a real date.
std::optional<int64_t> ParseAmzDate(std::string_view text);

std::string StringToSign(std::string_view amz_date, std::string_view scope,
                         std::string_view canonical_request);
// Good for one day, region and service: `date` is "yyyymmdd".
Sha256Hash DeriveSigningKey(std::string_view secret, std::string_view date, std::string_view region,
                            std::string_view service);
std::string Signature(const Sha256Hash& key, std::string_view string_to_sign);  // 64 hex digits

// aws-chunked uploads: what a chunk's signature signs, given the one before it (the first one's is
// the request's own). The last chunk is empty.
std::string ChunkStringToSign(std::string_view amz_date, std::string_view scope,
                              std::string_view previous_signature, std::string_view chunk_hash);
// ... and the trailer's; `trailer_hash` is of the trailing headers as "name:value\n" each.
std::string TrailerStringToSign(std::string_view amz_date, std::string_view scope,
                                std::string_view previous_signature, std::string_view trailer_hash);

struct SigningIdentity {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // empty: none
  std::string region;
  std::string service = "s3";
};

// The value of the Authorization header. `request.headers` must hold host and x-amz-date (and
// x-amz-security-token when there is a session token) already.
std::string AuthorizationHeader(const SignedRequest& request, std::string_view amz_date,
                                const SigningIdentity& identity);

// The same with the key that DeriveSigningKey made for that day and identity.
std::string AuthorizationHeader(const SignedRequest& request, std::string_view amz_date,
                                const SigningIdentity& identity, const Sha256Hash& key);

// The signing key of the last day and identity: deriving it is half the work of signing a request.
// Thread-safe.
class SigningKeyCache {
 public:
  // REQUIRES: amz_date as FormatAmzDate prints it.
  Sha256Hash Get(const SigningIdentity& identity, std::string_view amz_date);

 private:
  std::mutex mutex_;
  // All guarded by mutex_.
  std::string date_, secret_, region_, service_;
  Sha256Hash key_{};
};

// The whole query of a presigned URL, from `request` without its X-Amz-* parameters and with the
// host among its headers. The payload is unsigned. `expires_s` is 1..604800 (seven days).
std::string PresignedQuery(SignedRequest request, std::string_view amz_date, int expires_s,
                           const SigningIdentity& identity);

}  // namespace sqlite_s3

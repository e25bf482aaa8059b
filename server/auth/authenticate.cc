#include "server/auth/authenticate.h"

#include "common/base/ascii.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>

namespace sqlite_s3::server {
namespace {

struct Credential {
  std::string access_key;
  std::string date;
  std::string region;
  std::string service;
  std::string scope() const { return date + "/" + region + "/" + service + "/aws4_request"; }
};

// From the right, for an access key may hold slashes.
std::optional<Credential> ParseCredential(std::string_view text) {
  std::string parts[4];
  for (int i = 3; i >= 0; --i) {
    const size_t slash = text.rfind('/');
    if (slash == std::string_view::npos) {
      return std::nullopt;
    }
    parts[i] = text.substr(slash + 1);
    text = text.substr(0, slash);
  }
  if (text.empty() || parts[3] != "aws4_request" || parts[2] != "s3" || parts[0].size() != 8) {
    return std::nullopt;
  }
  return Credential{std::string(text), parts[0], parts[1], parts[2]};
}

bool IsHex64(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) {
      return parts;
    }
    text = text.substr(end + 1);
  }
}

SignedRequest ToSigned(const Request& request, const std::vector<std::string>& names,
                       const std::string& payload_hash) {
  SignedRequest out{request.method, request.path, request.query, {}, payload_hash};
  for (const std::string& name : names) {
    for (const auto& [header, value] : request.headers.items()) {
      if (EqualsIgnoringCase(header, name)) {
        out.headers.emplace_back(name, value);
      }
    }
  }
  return out;
}

// The path as sent, and as S3's own encoding of it: some clients sign the one, some the other.
bool SignatureMatches(SignedRequest signed_request, const Identity& identity,
                      const std::string& signature, bool presigned) {
  const auto leave_out =
      presigned ? std::optional<std::string_view>("X-Amz-Signature") : std::nullopt;
  const auto matches = [&] {
    return EqualInConstantTime(
        Signature(identity.signing_key, StringToSign(identity.amz_date, identity.scope,
                                                     CanonicalRequest(signed_request, leave_out))),
        signature);
  };
  if (matches()) {
    return true;
  }
  const std::optional<std::string> decoded = UriDecode(signed_request.path);
  if (!decoded) {
    return false;
  }
  std::string encoded = UriEncode(*decoded, false);
  if (encoded == signed_request.path) {
    return false;
  }
  signed_request.path = std::move(encoded);
  return matches();
}

S3Result<Identity> WithPayload(Identity identity, const std::string& hash) {
  if (hash == kUnsignedPayload) {
    identity.payload = PayloadKind::kUnsigned;
  } else if (hash == kStreamingPayload) {
    identity.payload = PayloadKind::kChunked;
  } else if (hash == kStreamingPayloadTrailer) {
    identity.payload = PayloadKind::kChunkedTrailer;
  } else if (hash == kStreamingUnsignedTrailer) {
    identity.payload = PayloadKind::kUnsignedChunkedTrailer;
  } else if (IsHex64(hash)) {
    identity.payload = PayloadKind::kHashed;
    identity.payload_hash = hash;
  } else {
    return MakeError("InvalidArgument",
                     "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, one of the STREAMING- values, "
                     "or 64 hex digits.");
  }
  return identity;
}

// Every x-amz- header must be signed, or a thief of a signature could add one.
std::optional<S3Error> CheckSignedHeaders(const Request& request,
                                          const std::vector<std::string>& names) {
  const auto is_signed = [&](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (!is_signed("host")) {
    return MakeError("AuthorizationHeaderMalformed", "'host' must be a signed header.");
  }
  for (const auto& [name, value] : request.headers.items()) {
    const std::string lower = ToLower(name);
    if (lower.rfind("x-amz-", 0) == 0 && lower != "x-amz-content-sha256" && !is_signed(lower)) {
      return MakeError("AccessDenied",
                       "There were headers present in the request which were not signed")
          .With("HeadersNotSigned", lower);
    }
  }
  return std::nullopt;
}

S3Result<Identity> IdentityOf(const Credential& credential, const std::string& amz_date,
                              const Users& users) {
  Identity identity;
  identity.user = users.Find(credential.access_key);
  if (!identity.user) {
    return MakeError("InvalidAccessKeyId").With("AWSAccessKeyId", credential.access_key);
  }
  identity.amz_date = amz_date;
  identity.scope = credential.scope();
  identity.signing_key = DeriveSigningKey(identity.user->secret_key, credential.date,
                                          credential.region, credential.service);
  return identity;
}

S3Error Mismatch(const Identity& identity) {
  return MakeError("SignatureDoesNotMatch").With("AWSAccessKeyId", identity.user->access_key);
}

S3Result<Identity> AuthenticateV4Header(const Request& request, const Users& users,
                                        int64_t now_us) {
  const std::string text = request.headers.Get("authorization");
  std::string credential_text;
  std::string signed_headers;
  std::string signature;
  for (const std::string& part :
       Split(std::string_view(text).substr(kSigV4Algorithm.size()), ',')) {
    const std::string_view item = TrimSpaces(part);
    const size_t equals = item.find('=');
    const std::string_view name = item.substr(0, equals);
    const std::string value(equals == std::string_view::npos ? "" : item.substr(equals + 1));
    if (name == "Credential") {
      credential_text = value;
    } else if (name == "SignedHeaders") {
      signed_headers = value;
    } else if (name == "Signature") {
      signature = value;
    }
  }
  const std::optional<Credential> credential = ParseCredential(credential_text);
  if (!credential || signed_headers.empty() || signature.empty()) {
    return MakeError("AuthorizationHeaderMalformed");
  }
  const S3Result<SentDate> sent = CheckSentDate(request, now_us);
  if (!sent.ok()) {
    return sent.error();
  }
  const std::string canonical_date = FormatAmzDate(sent->us);
  if (canonical_date.substr(0, 8) != credential->date) {
    return MakeError("AuthorizationHeaderMalformed",
                     "The credential's date is not that of the request.");
  }
  const std::string* hash = request.headers.Find("x-amz-content-sha256");
  if (!hash) {
    return MakeError("InvalidRequest",
                     "Missing required header for this request: x-amz-content-sha256");
  }
  const std::vector<std::string> names = Split(signed_headers, ';');
  if (std::optional<S3Error> error = CheckSignedHeaders(request, names)) {
    return *error;
  }
  S3Result<Identity> identity = IdentityOf(*credential, canonical_date, users);
  if (!identity.ok()) {
    return identity;
  }
  if (!SignatureMatches(ToSigned(request, names, *hash), *identity, signature, false)) {
    return Mismatch(*identity);
  }
  identity->seed_signature = signature;
  return WithPayload(std::move(*identity), *hash);
}

S3Result<Identity> AuthenticateV4Query(const Request& request, const Query& query,
                                       const Users& users, int64_t now_us) {
  const auto malformed = [](std::string_view what) {
    return MakeError("AuthorizationQueryParametersError", std::string(what));
  };
  std::set<std::string_view> names_seen;
  for (const auto& [name, value] : query.items()) {
    if (name.rfind("X-Amz-", 0) == 0 && !names_seen.insert(name).second) {
      return malformed("A parameter comes twice");
    }
  }
  if (query.Get("X-Amz-Algorithm") != kSigV4Algorithm) {
    return malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"");
  }
  const std::optional<Credential> credential = ParseCredential(query.Get("X-Amz-Credential"));
  const std::optional<int64_t> sent_us = ParseAmzDate(query.Get("X-Amz-Date"));
  if (!credential) {
    return malformed("Error parsing the X-Amz-Credential parameter");
  }
  if (!sent_us || query.Get("X-Amz-Date").substr(0, 8) != credential->date) {
    return malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
  }
  const std::string expires = query.Get("X-Amz-Expires");
  int64_t expires_s = 0;
  const auto [end, error] =
      std::from_chars(expires.data(), expires.data() + expires.size(), expires_s);
  if (error != std::errc() || end != expires.data() + expires.size() || expires_s < 1 ||
      expires_s > 604'800) {
    return malformed("X-Amz-Expires must be between 1 and 604800 seconds");
  }
  if (*sent_us - now_us > kMaxSkewMicros) {
    return MakeError("AccessDenied", "Request is not valid yet");
  }
  if (now_us > *sent_us + expires_s * 1'000'000) {
    return MakeError("AccessDenied", "Request has expired")
        .With("Expires", FormatAmzDate(*sent_us + expires_s * 1'000'000))
        .With("ServerTime", FormatAmzDate(now_us));
  }
  const std::vector<std::string> names = Split(query.Get("X-Amz-SignedHeaders"), ';');
  if (std::optional<S3Error> unsigned_header = CheckSignedHeaders(request, names)) {
    return *unsigned_header;
  }
  S3Result<Identity> identity = IdentityOf(*credential, query.Get("X-Amz-Date"), users);
  if (!identity.ok()) {
    return identity;
  }
  std::string hash(kUnsignedPayload);
  if (const std::string* in_query = query.Find("X-Amz-Content-Sha256")) {
    hash = *in_query;
  } else if (const std::string* in_header = request.headers.Find("x-amz-content-sha256");
             in_header &&
             std::find(names.begin(), names.end(), "x-amz-content-sha256") != names.end()) {
    hash = *in_header;
  }
  const std::string signature = query.Get("X-Amz-Signature");
  if (!SignatureMatches(ToSigned(request, names, hash), *identity, signature, true)) {
    return Mismatch(*identity);
  }
  identity->seed_signature = signature;
  identity->presigned = true;
  return WithPayload(std::move(*identity), hash);
}

}  // namespace

S3Result<SentDate> CheckSentDate(const Request& request, int64_t now_us) {
  const std::string* amz_date = request.headers.Find("x-amz-date");
  const std::string* date = amz_date ? amz_date : request.headers.Find("date");
  const std::optional<int64_t> sent_us = date ? ParseAnyDate(*date) : std::nullopt;
  if (!sent_us) {
    return MakeError("AccessDenied",
                     "AWS authentication requires a valid Date or x-amz-date header");
  }
  if (std::llabs(*sent_us - now_us) > kMaxSkewMicros) {
    return MakeError("RequestTimeTooSkewed")
        .With("RequestTime", *date)
        .With("ServerTime", FormatAmzDate(now_us))
        .With("MaxAllowedSkewMilliseconds", fmt::format("{}", kMaxSkewMicros / 1000));
  }
  return SentDate{*sent_us, *date, amz_date != nullptr};
}

S3Result<Identity> Authenticate(const Request& request, const Query& query, const Users& users,
                                const std::string& virtual_bucket, int64_t now_us) {
  const std::string* header = request.headers.Find("authorization");
  if (header && TrimSpaces(*header).empty()) {
    header = nullptr;
  }
  if (std::count_if(
          request.headers.items().begin(), request.headers.items().end(),
          [](const auto& item) { return EqualsIgnoringCase(item.first, "authorization"); }) > 1) {
    return MakeError("InvalidArgument", "There is more than one Authorization header.");
  }
  const bool v4_query = query.Has("X-Amz-Algorithm") || query.Has("X-Amz-Signature");
  const bool v2_query = query.Has("AWSAccessKeyId") && query.Has("Signature");
  if (header && (v4_query || v2_query)) {
    return MakeError("InvalidArgument",
                     "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
                     "Signature query string parameter or the Authorization header should be "
                     "specified");
  }
  if (header) {
    if (header->rfind(kSigV4Algorithm, 0) == 0) {
      return AuthenticateV4Header(request, users, now_us);
    }
    if (header->rfind("AWS ", 0) == 0) {
      return AuthenticateV2Header(request, query, users, virtual_bucket, now_us);
    }
    return MakeError("InvalidArgument", "Unsupported Authorization Type");
  }
  if (v4_query) {
    return AuthenticateV4Query(request, query, users, now_us);
  }
  if (v2_query) {
    return AuthenticateV2Query(request, query, users, virtual_bucket, now_us);
  }
  return Identity{};
}

}  // namespace sqlite_s3::server

// Signature Version 2: HMAC-SHA1 over a text that covers less of the request than Version 4 does.
// Old clients still send it: libs3 2.0, and boto3 when it presigns without a configuration.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>

#include "common/base/ascii.h"
#include "server/auth/authenticate.h"
#include "server/auth/digest.h"

namespace sqlite_s3::server {
namespace {

// Parameters that are part of the resource, sorted.
constexpr std::string_view kSubResources[] = {"accelerate",
                                              "acl",
                                              "analytics",
                                              "cors",
                                              "delete",
                                              "encryption",
                                              "inventory",
                                              "lifecycle",
                                              "location",
                                              "logging",
                                              "metrics",
                                              "notification",
                                              "object-lock",
                                              "partNumber",
                                              "policy",
                                              "replication",
                                              "requestPayment",
                                              "response-cache-control",
                                              "response-content-disposition",
                                              "response-content-encoding",
                                              "response-content-language",
                                              "response-content-type",
                                              "response-expires",
                                              "restore",
                                              "select",
                                              "select-type",
                                              "tagging",
                                              "torrent",
                                              "uploadId",
                                              "uploads",
                                              "versionId",
                                              "versioning",
                                              "versions",
                                              "website"};

S3Result<Identity> Verify(const std::string& access_key, const std::string& signature,
                          const std::string& string_to_sign, const Users& users) {
  Identity identity;
  identity.user = users.Find(access_key);
  if (!identity.user) {
    return MakeError("InvalidAccessKeyId").With("AWSAccessKeyId", access_key);
  }
  if (!EqualInConstantTime(HmacSha1Base64(identity.user->secret_key, string_to_sign), signature)) {
    return MakeError("SignatureDoesNotMatch").With("AWSAccessKeyId", access_key);
  }
  return identity;
}

}  // namespace

std::optional<int64_t> ParseAnyDate(const std::string& text) {
  if (const std::optional<int64_t> amz = ParseAmzDate(text)) {
    return amz;
  }
  constexpr std::array<const char*, 6> kFormats = {
      "%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S %z",  "%d %b %Y %H:%M:%S %z",
      "%a, %d %b %Y %H:%M:%S UTC", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"};
  for (const char* format : kFormats) {
    struct tm parsed {};
    const char* end = ::strptime(text.c_str(), format, &parsed);
    if (end && *end == '\0') {
      const long zone_s = parsed.tm_gmtoff;  // timegm clears it
      return (static_cast<int64_t>(::timegm(&parsed)) - zone_s) * 1'000'000;
    }
  }
  struct tm iso {};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &iso);
  if (rest) {
    const std::string_view tail(rest);
    if (tail == "Z" || (tail.size() > 2 && tail.front() == '.' && tail.back() == 'Z')) {
      return static_cast<int64_t>(::timegm(&iso)) * 1'000'000;
    }
  }
  return std::nullopt;
}

std::string StringToSignV2(const Request& request, const Query& query,
                           const std::string& virtual_bucket, const std::string& date) {
  std::string out = request.method + "\n" + request.headers.Get("content-md5") + "\n" +
                    request.headers.Get("content-type") + "\n" + date + "\n";
  std::map<std::string, std::string> amz;
  for (const auto& [name, value] : request.headers.items()) {
    const std::string lower = ToLower(name);
    if (lower.rfind("x-amz-", 0) != 0) {
      continue;
    }
    const auto [entry, is_new] = amz.emplace(lower, TrimSpaces(value));
    if (!is_new) {
      entry->second += ',';
      entry->second += TrimSpaces(value);
    }
  }
  for (const auto& [name, value] : amz) {
    out += name + ":" + value + "\n";
  }
  if (!virtual_bucket.empty()) {
    out += '/';
    out += virtual_bucket;
  }
  out += request.path;
  char separator = '?';
  for (const std::string_view name : kSubResources) {
    if (const std::string* value = query.Find(name)) {
      out += separator;
      out += name;
      if (!value->empty()) {
        out += '=';
        out += *value;
      }
      separator = '&';
    }
  }
  return out;
}

S3Result<Identity> AuthenticateV2Header(const Request& request, const Query& query,
                                        const Users& users, const std::string& virtual_bucket,
                                        int64_t now_us) {
  const std::string text = request.headers.Get("authorization");
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon <= 4 || colon + 1 == text.size()) {
    return MakeError("InvalidArgument",
                     "AWS authorization header is invalid. Expected "
                     "AwsAccessKeyId:signature");
  }
  const S3Result<SentDate> sent = CheckSentDate(request, now_us);
  if (!sent.ok()) {
    return sent.error();
  }
  return Verify(text.substr(4, colon - 4), text.substr(colon + 1),
                StringToSignV2(request, query, virtual_bucket, sent->is_amz ? "" : sent->text),
                users);
}

S3Result<Identity> AuthenticateV2Query(const Request& request, const Query& query,
                                       const Users& users, const std::string& virtual_bucket,
                                       int64_t now_us) {
  const std::string expires = query.Get("Expires");
  int64_t expires_s = 0;
  const auto [end, error] =
      std::from_chars(expires.data(), expires.data() + expires.size(), expires_s);
  if (error != std::errc() || end != expires.data() + expires.size()) {
    return MakeError("AccessDenied",
                     "Query-string authentication requires the Signature, Expires "
                     "and AWSAccessKeyId parameters");
  }
  if (now_us / 1'000'000 > expires_s) {
    return MakeError("AccessDenied", "Request has expired").With("Expires", expires);
  }
  S3Result<Identity> identity =
      Verify(query.Get("AWSAccessKeyId"), query.Get("Signature"),
             StringToSignV2(request, query, virtual_bucket, expires), users);
  if (identity.ok()) {
    identity->presigned = true;
  }
  return identity;
}

}  // namespace sqlite_s3::server

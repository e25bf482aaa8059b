#include "common/store/s3_client.h"

#include <algorithm>

#include "common/store/http_date.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kSlowestBytesPerSecond = 64 << 10;
constexpr int64_t kSkewThatMattersUs = int64_t{4} * 60 * 1'000'000;

// A name that can be a host's label: AWS's rule for buckets in virtual-host style.
bool IsHostLabel(std::string_view bucket) {
  return bucket.size() <= 63 && std::all_of(bucket.begin(), bucket.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

bool SaysExpired(std::string_view code) {
  return code == "ExpiredToken" || code == "TokenRefreshRequired" || code == "InvalidToken" ||
         code == "ExpiredTokenException";
}

}  // namespace

Result<S3Endpoint> ResolveEndpoint(const S3Address& address, const std::string& region) {
  std::string endpoint = address.endpoint;
  const bool aws = endpoint.empty();
  if (aws) {
    endpoint.append("https://s3.").append(region).append(".amazonaws.com");
    if (region.starts_with("cn-")) endpoint += ".cn";
  }
  S3Endpoint out;
  out.tls = endpoint.starts_with("https://");
  size_t scheme = out.tls ? 8 : 7;
  if (!out.tls && !endpoint.starts_with("http://")) {
    return InvalidArgumentError("option 'endpoint': not an endpoint, hint: https://host");
  }
  std::string_view host = std::string_view(endpoint).substr(scheme);
  // As libcurl writes it: a scheme's own port is not said.
  std::string_view default_port = out.tls ? ":443" : ":80";
  if (host.ends_with(default_port)) {
    host.remove_suffix(default_port.size());
  }
  const bool label = IsHostLabel(address.bucket);
  if (address.addressing == S3Addressing::kVirtual && out.tls && !label) {
    return InvalidArgumentError("bucket '" + address.bucket +
                                "' cannot be part of a host name that a certificate covers, hint: "
                                "addressing=path");
  }
  const bool in_host = address.addressing == S3Addressing::kVirtual ||
                       (address.addressing == S3Addressing::kAuto && aws && label);
  if (in_host) {
    out.host = address.bucket;
    out.host.push_back('.');
  } else {
    out.path.push_back('/');
    out.path += UriEncode(address.bucket, false);
  }
  out.host += host;
  out.base = (out.tls ? "https://" : "http://") + out.host;
  return out;
}

S3Client::S3Client(S3Endpoint endpoint, S3Address address, std::string region,
                   std::shared_ptr<HttpTransport> transport,
                   std::unique_ptr<CredentialSource> credentials, const Clock& clock)
    : endpoint_(std::move(endpoint)),
      address_(std::move(address)),
      region_(std::move(region)),
      transport_(std::move(transport)),
      clock_(clock),
      credentials_(std::move(credentials), clock) {}

std::string S3Client::Name(std::string_view key) const {
  std::string name = "s3://" + address_.bucket;
  if (!key.empty()) {
    name.push_back('/');
    name += key;
  }
  return name;
}

Result<S3Answer> S3Client::Send(const S3Request& request) {
  const std::string payload_hash =
      !request.payload_hash.empty() ? request.payload_hash : Sha256Hex(request.body);
  bool clock_learnt = false;
  bool renewed = false;
  while (true) {
    ASSIGN_OR_RETURN(const Credentials credentials, credentials_.Get());
    ASSIGN_OR_RETURN(S3Answer answer, SendOnce(request, payload_hash, credentials));
    if (!answer.failed) {
      return answer;
    }
    const int status = answer.failure.http_status;
    std::string& code = answer.failure.code;
    // HEAD's answers have no body that names the error: what fits is assumed.
    const bool nameless = request.method == "HEAD" && (status == 400 || status == 403);
    const int64_t now_us = clock_.WallMicros() + clock_offset_us_;
    const bool far = answer.server_us && std::abs(*answer.server_us - now_us) > kSkewThatMattersUs;
    if ((code == "RequestTimeTooSkewed" || nameless) && far && !clock_learnt) {
      clock_offset_us_ = *answer.server_us - clock_.WallMicros();
      clock_learnt = true;
      continue;
    }
    if ((SaysExpired(code) || (nameless && !credentials.session_token.empty())) && !renewed) {
      credentials_.Expire(credentials);
      renewed = true;
      continue;
    }
    return answer;
  }
}

Result<S3Answer> S3Client::SendOnce(const S3Request& request, const std::string& payload_hash,
                                    const Credentials& credentials) {
  const std::string amz_date = FormatAmzDate(clock_.WallMicros() + clock_offset_us_);
  SignedRequest to_sign;
  to_sign.method = request.method;
  to_sign.path = endpoint_.path + "/" + UriEncode(request.key, false);
  if (request.key.empty() && !endpoint_.path.empty()) {
    to_sign.path = endpoint_.path;
  }
  to_sign.query = request.query;
  to_sign.headers.reserve(request.headers.size() + 5);
  to_sign.headers = request.headers;
  to_sign.headers.emplace_back("host", endpoint_.host);
  to_sign.headers.emplace_back("x-amz-date", amz_date);
  to_sign.headers.emplace_back("x-amz-content-sha256", payload_hash);
  if (!credentials.session_token.empty()) {
    to_sign.headers.emplace_back("x-amz-security-token", credentials.session_token);
  }
  to_sign.payload_hash = payload_hash;
  const SigningIdentity identity = {.access_key_id = credentials.access_key_id,
                                    .secret_access_key = credentials.secret_access_key,
                                    .session_token = credentials.session_token,
                                    .region = region_};
  std::string authorization =
      AuthorizationHeader(to_sign, amz_date, identity, signing_keys_.Get(identity, amz_date));

  HttpRequest http;
  http.method = request.method;
  http.url = endpoint_.base + to_sign.path;
  if (!request.query.empty()) {
    http.url.push_back('?');
    http.url += request.query;
  }
  http.headers = std::move(to_sign.headers);
  http.headers.emplace_back("authorization", std::move(authorization));
  http.body = request.body;
  http.has_body = request.has_body;
  http.max_response_bytes = request.max_response_bytes;
  http.connect_timeout = address_.connect_timeout;
  const uint64_t bytes = request.body.size() + request.expected_bytes;
  http.timeout = address_.request_timeout +
                 std::chrono::seconds(std::min<uint64_t>(bytes / kSlowestBytesPerSecond, 86'400));
  // A store that takes its time is what a long request_timeout is for; one that stops in the middle
  // of a large object is not waited for as long as the object may take.
  http.stall_timeout =
      std::max(http.stall_timeout,
               std::chrono::duration_cast<std::chrono::seconds>(address_.request_timeout * 2 / 3));

  S3Answer answer;
  ASSIGN_OR_RETURN(answer.response, transport_->Send(http));
  answer.failed = IsFailure(answer.response, request.document_expected, answer.failure);
  answer.server_us = ParseHttpDate(answer.response.Header("date"));
  return answer;
}

Result<S3Answer> S3Client::Call(const S3Request& request, std::string_view what) {
  auto answer = Send(request);
  if (!answer.ok()) {
    return answer.status().WithContext(what);
  }
  if (answer->failed) {
    return ToStatus(answer->failure, what);
  }
  return answer;
}

}  // namespace sqlite_s3

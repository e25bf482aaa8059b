#include "common/store/credential_services.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/os/file.h"
#include "common/store/http_date.h"
#include "common/store/s3_error.h"
#include "common/store/s3_xml.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxTokenBytes = 64 << 10;
constexpr std::chrono::seconds kServiceTimeout{10};

std::string_view TrimmedRight(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  return text;
}

// A header's value or a path's part that a file or a service gave.
bool IsOneLine(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x1f && c < 0x7f; });
}

Result<std::string> ReadToken(const std::string& path) {
  ASSIGN_OR_RETURN(const Bytes bytes, ReadFile(path, kMaxTokenBytes));
  std::string token(TrimmedRight(AsText(bytes)));
  if (!IsOneLine(token)) {
    return PermissionDeniedError("'" + path + "' holds no token");
  }
  return token;
}

Result<Credentials> CallSts(const CredentialChainOptions& options, const std::string& form,
                            const std::string& action, const Credentials* base) {
  std::string endpoint = options.environment("AWS_ENDPOINT_URL_STS")
                             .value_or("https://sts." + options.region + ".amazonaws.com");
  while (endpoint.ends_with('/')) endpoint.pop_back();
  HttpRequest request;
  request.method = "POST";
  request.url = endpoint + "/";
  request.headers = {{"content-type", "application/x-www-form-urlencoded"}};
  request.body = AsBytes(form);
  request.has_body = true;
  request.connect_timeout = request.timeout = kServiceTimeout;
  if (base != nullptr) {
    SignedRequest to_sign;
    to_sign.method = "POST";
    to_sign.path = "/";
    to_sign.headers = request.headers;
    const std::string date = FormatAmzDate(options.clock->WallMicros());
    to_sign.headers.emplace_back("host", endpoint.substr(endpoint.find("://") + 3));
    to_sign.headers.emplace_back("x-amz-date", date);
    if (!base->session_token.empty()) {
      to_sign.headers.emplace_back("x-amz-security-token", base->session_token);
    }
    to_sign.payload_hash = Sha256Hex(request.body);
    std::string authorization = AuthorizationHeader(to_sign, date,
                                                    {.access_key_id = base->access_key_id,
                                                     .secret_access_key = base->secret_access_key,
                                                     .session_token = base->session_token,
                                                     .region = options.region,
                                                     .service = "sts"});
    request.headers = std::move(to_sign.headers);
    request.headers.emplace_back("authorization", std::move(authorization));
  }
  const std::string what = "credentials from STS (" + action + ")";
  auto response = options.transport->Send(request);
  if (!response.ok()) {
    return response.status().WithContext(what);
  }
  S3Failure failure;
  if (IsFailure(*response, true, failure)) {
    return ToStatus(failure, what);
  }
  const std::string root = action + "Result/Credentials/";
  auto field = [&](const char* name) {
    return ParseElementText(response->body, (root + name).c_str());
  };
  Credentials out;
  ASSIGN_OR_RETURN(out.access_key_id, field("AccessKeyId"));
  ASSIGN_OR_RETURN(out.secret_access_key, field("SecretAccessKey"));
  ASSIGN_OR_RETURN(out.session_token, field("SessionToken"));
  ASSIGN_OR_RETURN(const std::string expires, field("Expiration"));
  out.expires_us = ParseIsoDate(expires);
  if (!out.expires_us || !IsOneLine(out.access_key_id) || !IsOneLine(out.session_token)) {
    return CorruptionError(what + ": the answer is not what it can be");
  }
  out.source = "STS";
  return out;
}

std::string RoleForm(const CredentialChainOptions& options, const AssumedRole& role,
                     const std::string& action) {
  std::string name = role.session_name;
  if (name.empty()) {
    name = "sqlite-s3-" + std::to_string(options.clock->WallMicros() / 1'000'000);
  }
  std::string form = "Action=" + action +
                     "&Version=2011-06-15&RoleArn=" + UriEncode(role.role_arn, true) +
                     "&RoleSessionName=" + UriEncode(name, true);
  if (!role.external_id.empty()) form += "&ExternalId=" + UriEncode(role.external_id, true);
  if (!role.duration_seconds.empty()) {
    form += "&DurationSeconds=" + UriEncode(role.duration_seconds, true);
  }
  return form;
}

// Whom a token may be sent to in the clear.
bool IsTrustedHost(std::string_view url) {
  if (url.starts_with("https://")) return true;
  if (!url.starts_with("http://")) return false;
  url.remove_prefix(7);
  std::string_view authority = url.substr(0, url.find_first_of("/?#"));
  if (authority.find('@') != std::string_view::npos) return false;
  std::string_view host = authority;
  if (host.starts_with('[')) {
    host = host.substr(0, host.find(']') + 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]" || host == "169.254.170.2" ||
         host == "169.254.170.23" || host == "[fd00:ec2::23]";
}

Result<std::string> AskMetadata(const CredentialChainOptions& options, const std::string& method,
                                const std::string& path, HttpHeaders headers) {
  HttpRequest request;
  request.method = method;
  request.url =
      options.environment("AWS_EC2_METADATA_SERVICE_ENDPOINT").value_or("http://169.254.169.254");
  while (request.url.ends_with('/')) request.url.pop_back();
  request.url += path;
  request.headers = std::move(headers);
  request.has_body = method == "PUT";
  request.connect_timeout = request.timeout = options.metadata_timeout;
  request.use_proxy = false;  // link-local
  ASSIGN_OR_RETURN(HttpResponse response, options.transport->Send(request));
  if (response.status != 200 || response.too_large) {
    return NotFoundError("the metadata service says HTTP " + std::to_string(response.status));
  }
  return std::string(AsText(response.body));
}

}  // namespace

Result<Credentials> ParseCredentialDocument(std::string_view json, const std::string& source) {
  const auto document = nlohmann::json::parse(json.begin(), json.end(), nullptr, false);
  auto field = [&](const char* name) -> std::string {
    if (!document.is_object()) return {};
    auto found = document.find(name);
    return found != document.end() && found->is_string() ? found->get<std::string>()
                                                         : std::string();
  };
  Credentials out;
  out.access_key_id = field("AccessKeyId");
  out.secret_access_key = field("SecretAccessKey");
  out.session_token = field("Token");
  if (out.session_token.empty()) out.session_token = field("SessionToken");
  out.source = source;
  const std::string expires = field("Expiration");
  if (!expires.empty()) out.expires_us = ParseIsoDate(expires);
  if (!IsOneLine(out.access_key_id) || out.secret_access_key.empty() ||
      (!out.session_token.empty() && !IsOneLine(out.session_token)) ||
      (!expires.empty() && !out.expires_us)) {
    return CorruptionError("credentials from " + source + ": not the document that was expected");
  }
  return out;
}

Result<Credentials> AssumeRole(const CredentialChainOptions& options, const AssumedRole& role,
                               const Credentials& base) {
  return CallSts(options, RoleForm(options, role, "AssumeRole"), "AssumeRole", &base);
}

Result<Credentials> AssumeRoleWithWebIdentity(const CredentialChainOptions& options,
                                              const AssumedRole& role,
                                              const std::string& token_file) {
  auto token = ReadToken(token_file);  // again each time: it is rotated
  if (!token.ok()) {
    return PermissionDeniedError("web identity: " + token.status().message());
  }
  const std::string action = "AssumeRoleWithWebIdentity";
  return CallSts(options,
                 RoleForm(options, role, action) + "&WebIdentityToken=" + UriEncode(*token, true),
                 action, nullptr);
}

Result<Credentials> ContainerCredentials(const CredentialChainOptions& options) {
  auto relative = options.environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  auto full = options.environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!relative && !full) {
    return NotFoundError("no AWS_CONTAINER_CREDENTIALS_RELATIVE_URI in the environment");
  }
  HttpRequest request;
  request.method = "GET";
  request.url = relative ? "http://169.254.170.2" + *relative : *full;
  if (!IsTrustedHost(request.url)) {
    return PermissionDeniedError(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https:// nor this machine's or a container "
        "agent's address");
  }
  std::optional<std::string> token = options.environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (auto file = options.environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
    auto read = ReadToken(*file);
    if (!read.ok()) {
      return PermissionDeniedError("container credentials: " + read.status().message());
    }
    token = *std::move(read);
  }
  if (token) {
    if (!IsOneLine(*token)) {
      return PermissionDeniedError("AWS_CONTAINER_AUTHORIZATION_TOKEN is not one line of text");
    }
    request.headers = {{"authorization", *token}};
  }
  request.connect_timeout = request.timeout = kServiceTimeout;
  request.use_proxy = request.url.starts_with("https://");
  auto response = options.transport->Send(request);
  if (!response.ok()) {
    return response.status().WithContext("container credentials");
  }
  if (response->status != 200 || response->too_large) {
    std::string message = "container credentials: HTTP " + std::to_string(response->status);
    return response->status >= 500 ? UnavailableError(message) : PermissionDeniedError(message);
  }
  return ParseCredentialDocument(AsText(response->body), "the container's agent");
}

Result<Credentials> MachineCredentials(const CredentialChainOptions& options) {
  std::string disabled = options.environment("AWS_EC2_METADATA_DISABLED").value_or("");
  if (disabled == "true" || disabled == "TRUE" || disabled == "True") {
    return NotFoundError("the metadata service is switched off by AWS_EC2_METADATA_DISABLED");
  }
  auto token = AskMetadata(options, "PUT", "/latest/api/token",
                           {{"x-aws-ec2-metadata-token-ttl-seconds", "21600"}});
  if (!token.ok() || !IsOneLine(*token)) {
    return NotFoundError("no metadata service of the machine answers");
  }
  const HttpHeaders headers = {{"x-aws-ec2-metadata-token", *token}};
  const std::string path = "/latest/meta-data/iam/security-credentials/";
  ASSIGN_OR_RETURN(std::string role, AskMetadata(options, "GET", path, headers));
  role = role.substr(0, role.find('\n'));
  if (!IsOneLine(role)) {
    return NotFoundError("the machine has no role");
  }
  ASSIGN_OR_RETURN(std::string document,
                   AskMetadata(options, "GET", path + UriEncode(role, true), headers));
  return ParseCredentialDocument(document, "the machine's role");
}

}  // namespace sqlite_s3

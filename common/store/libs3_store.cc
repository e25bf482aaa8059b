#include "common/store/libs3_store.h"

#include <libs3.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "common/store/credential_chain.h"
#include "common/store/credential_profile.h"
#include "common/store/curl_transport.h"
#include "common/store/s3_digest.h"

// libs3.h has no version number. 4.x knows regions, session tokens and timeouts.
#ifdef SQLITE_S3_LIBS3_4
#define LIBS3_REQUEST nullptr, timeout_ms_
#else
#define LIBS3_REQUEST nullptr
#endif

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxOffset = ~uint64_t{0} >> 1;

// What the callbacks of one request fill. They are called from C: nothing is thrown through them.
struct Exchange {
  S3Status status = S3StatusInternalError;
  std::string message;
  uint64_t length = 0;
  int64_t modified_s = 0;
  ByteSpan upload;
  Bytes body;
  uint64_t max_bytes = 0;
  bool too_large = false;
  std::vector<ObjectInfo> listed;
  bool truncated = false;
};

S3Status OnProperties(const S3ResponseProperties* properties, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.length = properties->contentLength;
  exchange.modified_s = properties->lastModified;
  return S3StatusOK;
}

void OnComplete(S3Status status, const S3ErrorDetails* details, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.status = status;
  try {
    if (details != nullptr && details->message != nullptr) {
      exchange.message.assign(details->message, strnlen(details->message, 300));
      std::replace_if(
          exchange.message.begin(), exchange.message.end(),
          [](char c) { return c < 0x20 || c == 0x7f; }, '?');
    }
  } catch (...) {
    exchange.message.clear();
  }
}

S3Status OnData(int size, const char* data, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  if (exchange.body.size() + static_cast<size_t>(size) > exchange.max_bytes) {
    exchange.too_large = true;
    return S3StatusAbortedByCallback;
  }
  try {
    exchange.body.insert(exchange.body.end(), data, data + size);
  } catch (...) {
    return S3StatusOutOfMemory;
  }
  return S3StatusOK;
}

int OnUpload(int size, char* buffer, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const size_t n = std::min(static_cast<size_t>(size), exchange.upload.size());
  if (n > 0) std::memcpy(buffer, exchange.upload.data(), n);
  exchange.upload = exchange.upload.subspan(n);
  return static_cast<int>(n);
}

S3Status OnListed(int truncated, const char*, int count, const S3ListBucketContent* contents, int,
                  const char**, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.truncated = truncated != 0;
  try {
    for (int i = 0; i < count; ++i) {
      if (exchange.listed.size() >= kMaxListKeys) return S3StatusAbortedByCallback;
      exchange.listed.push_back(
          {contents[i].key, contents[i].size, contents[i].lastModified * 1'000'000});
    }
  } catch (...) {
    return S3StatusOutOfMemory;
  }
  return S3StatusOK;
}

const S3ResponseHandler kResponse = {&OnProperties, &OnComplete};

Status ToStatus(const Exchange& exchange, const std::string& what) {
  std::string text = what + ": " + S3_get_status_name(exchange.status);
  if (!exchange.message.empty()) text += ": " + exchange.message;
  switch (exchange.status) {
    case S3StatusOK:
      return Status::Ok();
    case S3StatusErrorNoSuchKey:
    case S3StatusHttpErrorNotFound:
      return NotFoundError(text);
    case S3StatusErrorNoSuchBucket:
      return FailedPreconditionError(text + ", hint: create the bucket, or correct its name");
    case S3StatusErrorAccessDenied:
    case S3StatusErrorAccountProblem:
    case S3StatusErrorInvalidAccessKeyId:
    case S3StatusErrorSignatureDoesNotMatch:
    case S3StatusErrorInvalidSecurity:
    case S3StatusErrorExpiredToken:
    case S3StatusErrorInvalidToken:
    case S3StatusErrorTokenRefreshRequired:
    case S3StatusErrorMethodNotAllowed:
    case S3StatusHttpErrorForbidden:
      return PermissionDeniedError(text +
                                   ", hint: check the credentials; AWS takes client=libcurl only");
    case S3StatusServerFailedVerification:
      return FailedPreconditionError(text + ", hint: client=libcurl with ca_file");
    case S3StatusErrorRequestTimeTooSkewed:
      return FailedPreconditionError(text + ", hint: set this machine's clock");
    case S3StatusErrorPermanentRedirect:
    case S3StatusErrorRedirect:
      return InvalidArgumentError(text + ", hint: check region and endpoint");
    case S3StatusOutOfMemory:
      return ResourceExhaustedError(text);
    case S3StatusErrorNotImplemented:
      return UnimplementedError(text);
    case S3StatusXmlDocumentTooLarge:
      return CorruptionError(text);
    case S3StatusXmlParseFailure:  // a proxy's page in place of S3's error, mostly
    case S3StatusErrorBadDigest:
    case S3StatusErrorSlowDown:
    case S3StatusErrorTemporaryRedirect:
    case S3StatusErrorOperationAborted:
    case S3StatusErrorIncompleteBody:
    case S3StatusErrorUnknown:
    case S3StatusHttpErrorUnknown:
    case S3StatusHttpErrorConflict:
      return UnavailableError(text);
    default:
      // libs3's own view of what may work later: connections, 5xx.
      return S3_status_is_retryable(exchange.status) != 0 ? UnavailableError(text)
                                                          : InvalidArgumentError(text);
  }
}

class Libs3Store : public ObjectStore {
 public:
  Libs3Store(S3Address address, std::string region, std::unique_ptr<CredentialSource> source,
             bool read_only)
      : address_(std::move(address)),
        region_(std::move(region)),
        host_(address_.endpoint.substr(address_.endpoint.find("://") + 3)),
        timeout_ms_(static_cast<int>(address_.request_timeout.count())),
        credentials_(std::move(source), Clock::Real()),
        read_only_(read_only) {}

  std::string Describe() const override {
    return Name(address_.prefix) + "?endpoint=" + address_.endpoint;
  }
  bool SupportsConditionalPut() const override { return false; }

  Result<PutResult> Put(std::string_view key, ByteSpan body) override {
    RETURN_IF_ERROR(CheckWrite(key));
    const std::string full_key = FullKey(key);
    const std::string md5 = Md5Base64(body).value_or("");
    S3PutProperties properties{};
    properties.contentType = "application/octet-stream";
    properties.md5 = md5.empty() ? nullptr : md5.c_str();
    properties.expires = -1;
    const S3PutObjectHandler handler = {kResponse, &OnUpload};
    Exchange exchange;
    exchange.upload = body;
    ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
    const S3BucketContext context = Context(credentials);
    S3_put_object(&context, full_key.c_str(), body.size(), &properties, LIBS3_REQUEST, &handler,
                  &exchange);
    RETURN_IF_ERROR(ToStatus(exchange, "put " + Name(full_key)));
    return PutResult{};
  }

  // Not atomic, and SupportsConditionalPut() says so.
  Result<PutResult> PutIfAbsent(std::string_view key, ByteSpan body) override {
    RETURN_IF_ERROR(CheckWrite(key));
    auto there = Head(key);
    if (there.ok()) {
      return AlreadyExistsError("put " + Name(FullKey(key)) + ": it is there");
    }
    if (there.code() != StatusCode::kNotFound) {
      return there.status();
    }
    return Put(key, body);
  }

  Result<PutResult> PutIfMatch(std::string_view key, ByteSpan, std::string_view etag) override {
    RETURN_IF_ERROR(CheckWrite(key));
    RETURN_IF_ERROR(ValidateEtag(etag));
    return UnimplementedError("put " + Name(FullKey(key)) +
                              ": libs3 has no conditional writes, hint: client=libcurl");
  }

  Result<Bytes> Get(std::string_view key, uint64_t max_bytes,
                    std::optional<ByteRange> range) override {
    RETURN_IF_ERROR(ValidateObjectKey(key));
    const std::string full_key = FullKey(key);
    const std::string what = "get " + Name(full_key);
    // libs3 cannot say "bytes=0-0 of nothing" and takes an answer of 416 for an error without a
    // name: the object's size decides first.
    if (range) {
      ASSIGN_OR_RETURN(const ObjectInfo info, Head(key));
      if (range->length == 0 || range->offset >= info.size_bytes) {
        return Bytes{};
      }
      range->length = std::min(range->length, info.size_bytes - range->offset);
    }
    const S3GetObjectHandler handler = {kResponse, &OnData};
    S3GetConditions conditions{-1, -1, nullptr, nullptr};
    Exchange exchange;
    exchange.max_bytes = max_bytes;
    ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
    const S3BucketContext context = Context(credentials);
    S3_get_object(&context, full_key.c_str(), &conditions, range ? range->offset : 0,
                  range ? range->length : 0, LIBS3_REQUEST, &handler, &exchange);
    if (exchange.too_large) {
      return ResourceExhaustedError(what + ": more than the " + std::to_string(max_bytes) +
                                    " bytes that may be read");
    }
    RETURN_IF_ERROR(ToStatus(exchange, what));
    if (exchange.body.size() != exchange.length ||
        (range && exchange.body.size() != range->length)) {
      return UnavailableError(what + ": the answer was cut short");
    }
    return std::move(exchange.body);
  }

  Result<ObjectInfo> Head(std::string_view key) override {
    RETURN_IF_ERROR(ValidateObjectKey(key));
    const std::string full_key = FullKey(key);
    Exchange exchange;
    ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
    const S3BucketContext context = Context(credentials);
    S3_head_object(&context, full_key.c_str(), LIBS3_REQUEST, &kResponse, &exchange);
    RETURN_IF_ERROR(ToStatus(exchange, "head " + Name(full_key)));
    return ObjectInfo{std::string(key), exchange.length, exchange.modified_s * 1'000'000};
  }

  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       int max_keys) override {
    RETURN_IF_ERROR(ValidateObjectPrefix(prefix));
    if (max_keys < 1 || max_keys > kMaxListKeys) {
      return InvalidArgumentError("list: max_keys " + std::to_string(max_keys) +
                                  " is not 1 to 1000");
    }
    const std::string full_prefix = FullKey(prefix);
    const size_t root = full_prefix.size() - prefix.size();
    const std::string what = "list " + Name(full_prefix);
    const S3ListBucketHandler handler = {kResponse, &OnListed};
    std::string last(start_after);
    std::string marker =
        start_after.empty() ? "" : full_prefix.substr(0, root) + StartAfterText(start_after);
    while (true) {
      Exchange exchange;
      ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
      const S3BucketContext context = Context(credentials);
      S3_list_bucket(&context, full_prefix.c_str(), marker.c_str(), nullptr, max_keys,
                     LIBS3_REQUEST, &handler, &exchange);
      RETURN_IF_ERROR(ToStatus(exchange, what));
      std::vector<ObjectInfo> out;
      for (ObjectInfo& object : exchange.listed) {
        if (!object.key.starts_with(full_prefix) || object.key.substr(root) <= last) {
          return CorruptionError(what + ": keys are foreign or not in ascending order");
        }
        marker = object.key;
        last = object.key.substr(root);
        if (ValidateObjectKey(last).ok()) {
          out.push_back({last, object.size_bytes, object.modified_us});
        }
      }
      if (!out.empty() || !exchange.truncated || exchange.listed.empty()) {
        return out;
      }
    }
  }

  Status Delete(std::string_view key) override {
    RETURN_IF_ERROR(CheckWrite(key));
    const std::string full_key = FullKey(key);
    Exchange exchange;
    ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
    const S3BucketContext context = Context(credentials);
    S3_delete_object(&context, full_key.c_str(), LIBS3_REQUEST, &kResponse, &exchange);
    Status status = ToStatus(exchange, "delete " + Name(full_key));
    return status.code() == StatusCode::kNotFound ? Status::Ok() : status;
  }

  // libs3 has no request for several.
  Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) override {
    RETURN_IF_ERROR(ValidateObjectKeys(keys));
    return DeleteOneByOne(*this, keys);
  }

 private:
  std::string Name(std::string_view key) const {
    std::string name = "s3://" + address_.bucket;
    if (!key.empty()) name.append("/").append(key);
    return name;
  }
  std::string FullKey(std::string_view key) const {
    return address_.prefix.empty() ? std::string(key) : address_.prefix + "/" + std::string(key);
  }
  Status CheckWrite(std::string_view key) const {
    RETURN_IF_ERROR(ValidateObjectKey(key));
    if (read_only_) {
      return PermissionDeniedError("write " + Name(FullKey(key)) +
                                   ": this store is open for reading only");
    }
    return Status::Ok();
  }
  Result<Credentials> Fetch() {
    ASSIGN_OR_RETURN(Credentials credentials, credentials_.Get());
#ifndef SQLITE_S3_LIBS3_4
    if (!credentials.session_token.empty()) {
      return FailedPreconditionError("credentials from " + credentials.source +
                                     " have a session token, which this libs3 cannot send, hint: "
                                     "client=libcurl");
    }
#endif
    return credentials;
  }
  S3BucketContext Context(const Credentials& credentials) const {
    S3BucketContext context{};
    context.hostName = host_.c_str();
    context.bucketName = address_.bucket.c_str();
    context.protocol = address_.endpoint.starts_with("https://") ? S3ProtocolHTTPS : S3ProtocolHTTP;
    context.uriStyle =
        address_.addressing == S3Addressing::kVirtual ? S3UriStyleVirtualHost : S3UriStylePath;
    context.accessKeyId = credentials.access_key_id.c_str();
    context.secretAccessKey = credentials.secret_access_key.c_str();
#ifdef SQLITE_S3_LIBS3_4
    context.securityToken =
        credentials.session_token.empty() ? nullptr : credentials.session_token.c_str();
    context.authRegion = region_.c_str();
#endif
    return context;
  }

  const S3Address address_;
  const std::string region_;
  const std::string host_;
  [[maybe_unused]] const int timeout_ms_;
  CredentialCache credentials_;
  const bool read_only_;
};

}  // namespace

Result<std::shared_ptr<ObjectStore>> OpenLibs3Store(const S3Address& address, bool read_only) {
  const struct {
    bool given;
    const char* option;
  } kUnsupported[] = {
      {address.checksum != S3Checksum::kCrc32c, "checksum"},  // it sends Content-MD5
      {!address.ca_file.empty(), "ca_file"},
      {!address.sse.empty(), "sse"},
      {!address.sse_c_key_file.empty(), "sse_c_key_file"},
      {!address.sse_kms_key_id.empty(), "sse_kms_key_id"},
      {!address.storage_class.empty(), "storage_class"},
      {!address.tags.empty(), "tags"},
  };
  for (const auto& option : kUnsupported) {
    if (option.given) {
      return InvalidArgumentError(std::string("option '") + option.option +
                                  "' is not for client=libs3, hint: client=libcurl");
    }
  }
  // It writes a space as '+' in paths, where that is a plus: only what needs no encoding is safe.
  if (!address.prefix.empty() && !ValidateObjectPrefix(address.prefix).ok()) {
    return InvalidArgumentError(
        "client=libs3 takes prefixes of letters, digits, '.', '-', '_' and '/' only, hint: "
        "client=libcurl");
  }
  CredentialChainOptions chain;
  S3Address resolved = address;
  if (resolved.endpoint.empty()) {
    if (auto host = chain.environment("S3_HOSTNAME")) resolved.endpoint = "https://" + *host;
  }
  if (resolved.endpoint.empty()) {
    return InvalidArgumentError(
        "client=libs3 needs an endpoint, hint: option 'endpoint' or S3_HOSTNAME");
  }
#ifndef S3_INIT_VERIFY_PEER
  // It accepts any certificate, and has no way to be told otherwise.
  if (resolved.endpoint.starts_with("https://")) {
    return InvalidArgumentError(
        "this libs3 does not verify certificates, so https:// would protect nothing, hint: "
        "client=libcurl");
  }
#endif
  chain.profile = address.profile;
  chain.region = address.region;
  if (chain.region.empty()) chain.region = chain.environment("AWS_REGION").value_or("");
  if (chain.region.empty()) chain.region = ProfileRegion(chain);
  if (chain.region.empty()) chain.region = "us-east-1";
  ASSIGN_OR_RETURN(chain.transport, NewCurlTransport({}));
  std::string region = chain.region;
#ifdef S3_INIT_VERIFY_PEER
  constexpr int kFlags = S3_INIT_ALL | S3_INIT_VERIFY_PEER;
#else
  constexpr int kFlags = S3_INIT_ALL;
#endif
  static const S3Status started = S3_initialize("sqlite-s3", kFlags, nullptr);
  if (started != S3StatusOK) {
    return InternalError(std::string("libs3: ") + S3_get_status_name(started));
  }
  return std::shared_ptr<ObjectStore>(std::make_shared<Libs3Store>(
      std::move(resolved), std::move(region), NewCredentialChain(std::move(chain)), read_only));
}

}  // namespace sqlite_s3

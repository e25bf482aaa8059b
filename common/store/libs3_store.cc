#include "common/store/libs3_store.h"

#include <algorithm>

#include "common/store/credential_chain.h"
#include "common/store/credential_profile.h"
#include "common/store/curl_transport.h"
#include "common/store/libs3_exchange.h"
#include "common/store/s3_digest.h"

// libs3.h has no version number. 4.x knows regions, session tokens and timeouts.
#ifdef SQLITE_S3_LIBS3_4
#define LIBS3_REQUEST nullptr, timeout_ms_
#else
#define LIBS3_REQUEST nullptr
#endif

namespace sqlite_s3 {
namespace {

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
    const S3PutObjectHandler handler = {Libs3Exchange::kResponse, &Libs3Exchange::OnUpload};
    Libs3Exchange exchange;
    exchange.upload = body;
    ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
    const S3BucketContext context = Context(credentials);
    S3_put_object(&context, full_key.c_str(), body.size(), &properties, LIBS3_REQUEST, &handler,
                  &exchange);
    RETURN_IF_ERROR(exchange.ToStatus("put " + Name(full_key)));
    // A portal, or a proxy whose store is away, says 200 to everything and names nothing (see
    // S3Store). libs3 shows no ETag of this answer, so the object itself has to be there.
    const auto there = Head(key);
    if (!there.ok() && there.code() != StatusCode::kNotFound) {
      return there.status();
    }
    if (!there.ok() || there->size_bytes != body.size()) {
      return UnavailableError("put " + Name(full_key) + ": taken, and the object is not there");
    }
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
    const S3GetObjectHandler handler = {Libs3Exchange::kResponse, &Libs3Exchange::OnData};
    S3GetConditions conditions{-1, -1, nullptr, nullptr};
    Libs3Exchange exchange;
    exchange.max_bytes = max_bytes;
    ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
    const S3BucketContext context = Context(credentials);
    S3_get_object(&context, full_key.c_str(), &conditions, range ? range->offset : 0,
                  range ? range->length : 0, LIBS3_REQUEST, &handler, &exchange);
    if (exchange.too_large) {
      return ResourceExhaustedError(what + ": more than the " + std::to_string(max_bytes) +
                                    " bytes that may be read");
    }
    RETURN_IF_ERROR(exchange.ToStatus(what));
    if (exchange.body.size() != exchange.length ||
        (range && exchange.body.size() != range->length)) {
      return UnavailableError(what + ": the answer was cut short");
    }
    return std::move(exchange.body);
  }

  Result<ObjectInfo> Head(std::string_view key) override {
    RETURN_IF_ERROR(ValidateObjectKey(key));
    const std::string full_key = FullKey(key);
    Libs3Exchange exchange;
    ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
    const S3BucketContext context = Context(credentials);
    S3_head_object(&context, full_key.c_str(), LIBS3_REQUEST, &Libs3Exchange::kResponse, &exchange);
    RETURN_IF_ERROR(exchange.ToStatus("head " + Name(full_key)));
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
    const S3ListBucketHandler handler = {Libs3Exchange::kResponse, &Libs3Exchange::OnListed};
    std::string last(start_after);
    std::string marker =
        start_after.empty() ? "" : full_prefix.substr(0, root) + StartAfterText(start_after);
    while (true) {
      Libs3Exchange exchange;
      ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
      const S3BucketContext context = Context(credentials);
      S3_list_bucket(&context, full_prefix.c_str(), marker.c_str(), nullptr, max_keys,
                     LIBS3_REQUEST, &handler, &exchange);
      RETURN_IF_ERROR(exchange.ToStatus(what));
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
    Libs3Exchange exchange;
    ASSIGN_OR_RETURN(const Credentials credentials, Fetch());
    const S3BucketContext context = Context(credentials);
    S3_delete_object(&context, full_key.c_str(), LIBS3_REQUEST, &Libs3Exchange::kResponse,
                     &exchange);
    Status status = exchange.ToStatus("delete " + Name(full_key));
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

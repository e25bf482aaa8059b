// From an address to an S3Store: options checked, files read, environment asked. No request.
#include <algorithm>

#include "common/os/file.h"
#include "common/store/credential_profile.h"
#include "common/store/curl_transport.h"
#include "common/store/s3_digest.h"
#include "common/store/s3_store.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kSseCKeyBytes = 32;

struct ObjectHeaders {
  HttpHeaders put;
  HttpHeaders read;
};

Result<ObjectHeaders> HeadersOf(const S3Address& address, bool tls) {
  ObjectHeaders out;
  if (!address.sse_c_key_file.empty()) {
    if (!address.sse.empty()) {
      return InvalidArgumentError("options 'sse' and 'sse_c_key_file' exclude each other");
    }
    if (!tls) {
      return InvalidArgumentError(
          "option 'sse_c_key_file' would send the key in the clear, hint: an https:// endpoint");
    }
    auto key = ReadFile(address.sse_c_key_file, kSseCKeyBytes);
    if (!key.ok()) {
      return key.status().WithContext("option 'sse_c_key_file'");
    }
    if (key->size() != kSseCKeyBytes) {
      return InvalidArgumentError("option 'sse_c_key_file': '" + address.sse_c_key_file +
                                  "' holds " + std::to_string(key->size()) +
                                  " bytes, a key has 32");
    }
    auto md5 = Md5Base64(*key);
    if (!md5) {
      return FailedPreconditionError(
          "option 'sse_c_key_file' needs MD5, which this system forbids");
    }
    const std::string family = "x-amz-server-side-encryption-customer-";
    out.read = {{family + "algorithm", "AES256"},
                {family + "key", Base64Encode(*key)},
                {family + "key-md5", *md5}};
    out.put = out.read;
  }
  if (!address.sse.empty()) {
    out.put.emplace_back("x-amz-server-side-encryption", address.sse);
  }
  if (!address.sse_kms_key_id.empty()) {
    if (address.sse != "aws:kms") {
      return InvalidArgumentError("option 'sse_kms_key_id' is for sse=aws:kms");
    }
    out.put.emplace_back("x-amz-server-side-encryption-aws-kms-key-id", address.sse_kms_key_id);
  }
  if (!address.storage_class.empty()) {
    out.put.emplace_back("x-amz-storage-class", address.storage_class);
  }
  if (!address.tags.empty()) {
    out.put.emplace_back("x-amz-tagging", CanonicalQuery(address.tags));
  }
  return out;
}

}  // namespace

Result<std::shared_ptr<S3Client>> OpenS3Client(const S3StoreOptions& options) {
  S3Address address = options.address;
  auto from_environment = [&](std::string& field, std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (field.empty()) field = options.environment(name).value_or("");
    }
  };
  from_environment(address.endpoint, {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"});
  if (address.endpoint.empty()) {
    if (auto host = options.environment("S3_HOSTNAME")) address.endpoint = "https://" + *host;
  }
  while (address.endpoint.ends_with('/')) address.endpoint.pop_back();
  std::string region = address.region;
  from_environment(region, {"AWS_REGION", "AWS_DEFAULT_REGION"});
  CredentialChainOptions chain;
  chain.environment = options.environment;
  chain.profile = address.profile;
  chain.clock = options.clock;
  if (region.empty()) region = ProfileRegion(chain);
  if (region.empty()) region = "us-east-1";
  chain.region = region;
  from_environment(address.ca_file, {"AWS_CA_BUNDLE"});
  if (!address.ca_file.empty()) {
    // Here, where the option can be named: libcurl would fail the first request.
    auto opened = ReadFile(address.ca_file, 16 << 20);
    if (!opened.ok()) {
      return opened.status().WithContext("option 'ca_file'");
    }
  }
  ASSIGN_OR_RETURN(S3Endpoint endpoint, ResolveEndpoint(address, region));
  auto transport = options.transport;
  if (!transport && options.transports) {
    ASSIGN_OR_RETURN(transport, options.transports->Get(address.ca_file));
  } else if (!transport) {
    ASSIGN_OR_RETURN(transport, NewCurlTransport({.ca_file = address.ca_file}));
  }
  chain.transport = transport;
  auto credentials = NewCredentialChain(std::move(chain));
  return std::make_shared<S3Client>(std::move(endpoint), std::move(address), std::move(region),
                                    std::move(transport), std::move(credentials), *options.clock);
}

Result<std::shared_ptr<ObjectStore>> OpenS3Store(const S3StoreOptions& options) {
  ASSIGN_OR_RETURN(auto client, OpenS3Client(options));
  ASSIGN_OR_RETURN(ObjectHeaders headers, HeadersOf(client->address(), client->endpoint().tls));
  return std::shared_ptr<ObjectStore>(std::make_shared<S3Store>(
      std::move(client), std::move(headers.put), std::move(headers.read), options.read_only));
}

}  // namespace sqlite_s3

#pragma once
// The S3 driver over libcurl: an ObjectStore in a bucket, under a prefix.
//
// PutIfAbsent is If-None-Match: *. Servers exist that ignore it, and would let two writers
// overwrite each other: whether this one honours it is found out with the object
// "~conditional-put" beside the others, which every start tries to create again. Should the server
// turn out not to, SupportsConditionalPut() is false, and PutIfAbsent looks before it writes.
//
// Objects above the part size are uploaded in parts, several at once; an upload that fails is
// aborted. PutIfAbsent is always one request, so at most 5 GiB. Names in the bucket that no key
// can have are invisible.
//
// Thread-safe. Requests are made on the caller's thread, parts also on threads that live as long as
// the call, with all signals blocked.

#include <atomic>
#include <memory>
#include <mutex>

#include "common/store/credential_chain.h"
#include "common/store/curl_transport.h"
#include "common/store/object_store.h"
#include "common/store/s3_client.h"

namespace sqlite_s3 {

struct S3StoreOptions {
  S3Address address;
  bool read_only = false;  // refuse writes with kPermissionDenied
  // Seams for tests.
  Environment environment = ProcessEnvironment();
  std::shared_ptr<HttpTransport> transport = {};      // null: libcurl
  std::shared_ptr<SharedTransports> transports = {};  // used for `transport` where there are some
  const Clock* clock = &Clock::Real();
};

// No request is made. kInvalidArgument: options that do not go together, an unreadable key or CA
// file (kNotFound, kPermissionDenied).
Result<std::shared_ptr<S3Client>> OpenS3Client(const S3StoreOptions& options);
Result<std::shared_ptr<ObjectStore>> OpenS3Store(const S3StoreOptions& options);

class S3Store : public ObjectStore {
 public:
  S3Store(std::shared_ptr<S3Client> client, HttpHeaders put_headers, HttpHeaders read_headers,
          bool read_only);

  std::string Describe() const override;
  // The first call makes up to two requests, unless a PutIfAbsent has. When the store cannot be
  // asked: true, and the first PutIfAbsent asks again before it writes anything.
  bool SupportsConditionalPut() const override;
  Result<PutResult> Put(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfAbsent(std::string_view key, ByteSpan body) override;
  // The first call asks the server first whether it honours If-Match, with "~conditional-put" too.
  Result<PutResult> PutIfMatch(std::string_view key, ByteSpan body, std::string_view etag) override;
  Result<Bytes> Get(std::string_view key, uint64_t max_bytes,
                    std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(std::string_view key) override;
  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       int max_keys) override;
  Status Delete(std::string_view key) override;
  Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) override;

  struct Condition {
    std::string header = {};  // empty: none
    std::string value = {};
  };

 private:
  enum class Conditional { kUnknown, kHonoured, kIgnored };

  std::string FullKey(std::string_view key) const;
  Status CheckWrite(std::string_view key) const;
  Result<PutResult> ConfirmPut(std::string_view key, ByteSpan body, Result<PutResult> put);
  Result<PutResult> ConfirmReplaced(std::string_view key, ByteSpan body, Result<PutResult> put);
  Result<PutResult> PutOnce(const std::string& full_key, ByteSpan body,
                            const Condition& condition) const;
  // The answer's own, or a request's to find out. Errors: those of the requests.
  Result<Conditional> AskConditional() const;
  Result<bool> HonoursIfMatch() const;
  Result<std::vector<DeleteFailure>> DeletePage(std::span<const std::string> keys) const;

  const std::shared_ptr<S3Client> client_;
  const HttpHeaders put_headers_;   // encryption, storage class, tags
  const HttpHeaders read_headers_;  // encryption with a key of the customer's
  const bool read_only_;
  mutable std::mutex probe_mutex_;                                       // one probe at a time
  mutable std::atomic<Conditional> conditional_{Conditional::kUnknown};  // If-None-Match
  mutable std::atomic<Conditional> if_match_{Conditional::kUnknown};
};

// An ETag header that can be sent again, or empty.
std::string UsableEtag(std::string_view header);

}  // namespace sqlite_s3

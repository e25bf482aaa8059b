// How an S3Store writes: conditions and whether the server honours them, single requests and parts,
// deletes.
#include <algorithm>
#include <iterator>
#include <map>

#include "common/store/s3_checksum.h"
#include "common/store/s3_digest.h"
#include "common/store/s3_multipart.h"
#include "common/store/s3_store.h"
#include "common/store/s3_xml.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

constexpr std::string_view kProbeKey = "~conditional-put";  // no key of a replica
constexpr std::string_view kProbeBody = "is If-None-Match honoured?\n";
// Of no object: the probe's is another.
constexpr const char* kNobodysEtag = "\"00000000000000000000000000000000\"";
constexpr uint64_t kMaxSinglePut = uint64_t{5} << 30;  // S3's
constexpr size_t kMaxDeletes = 1000;                   // of one request: S3's

const S3Store::Condition kAbsent = {"if-none-match", "*"};

// XML 1.0 has no way to write the others. They come from the prefix only.
bool CanBeWritten(std::string_view key) {
  return std::all_of(key.begin(), key.end(), [](char c) { return c >= ' ' || c < 0; });
}

}  // namespace

Status S3Store::CheckWrite(std::string_view key) const {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  if (read_only_) {
    return PermissionDeniedError("write " + client_->Name(FullKey(key)) +
                                 ": this store is open for reading only");
  }
  return Status::Ok();
}

Result<PutResult> S3Store::PutOnce(const std::string& full_key, ByteSpan body,
                                   const Condition& condition) const {
  const std::string what = "put " + client_->Name(full_key);
  if (body.size() > kMaxSinglePut) {
    return InvalidArgumentError(what + ": " + std::to_string(body.size()) +
                                " bytes are more than one request can carry (5 GiB)");
  }
  UploadChecksum checksum = ChecksumOf(body, client_->address().checksum, client_->endpoint().tls);
  S3Request request;
  request.method = "PUT";
  request.key = full_key;
  request.headers.reserve(put_headers_.size() + 3);
  request.headers = put_headers_;
  request.headers.emplace_back("content-type", "application/octet-stream");
  if (!checksum.header.empty()) {
    request.headers.emplace_back(checksum.header, checksum.value);
  }
  if (!condition.header.empty()) {
    request.headers.emplace_back(condition.header, condition.value);
  }
  request.body = body;
  request.has_body = true;
  request.payload_hash = std::move(checksum.payload_hash);
  ASSIGN_OR_RETURN(S3Answer answer, client_->Call(request, what));
  std::string_view stored = answer.response.Header(checksum.header);
  if (!stored.empty() && stored != checksum.value) {
    return CorruptionError(what + ": the store says that it took other bytes than were sent");
  }
  return PutResult{answer.server_us, UsableEtag(answer.response.Header("etag"))};
}

Result<PutResult> S3Store::Put(std::string_view key, ByteSpan body) {
  RETURN_IF_ERROR(CheckWrite(key));
  const std::string full_key = FullKey(key);
  if (body.size() <= client_->address().part_bytes) {
    return ConfirmReplaced(key, body, PutOnce(full_key, body, {}));
  }
  return UploadInParts(*client_, full_key, body, put_headers_, read_headers_);
}

Result<S3Store::Conditional> S3Store::AskConditional() const {
  if (auto known = conditional_.load(); known != Conditional::kUnknown) {
    return known;
  }
  std::lock_guard lock(probe_mutex_);
  if (auto known = conditional_.load(); known != Conditional::kUnknown) {
    return known;
  }
  // There after the first start ever, so most starts send one request. If both tries create it, the
  // condition is not honoured.
  const std::string full_key = FullKey(kProbeKey);
  for (int i = 0; i < 2; ++i) {
    auto put = PutOnce(full_key, AsBytes(kProbeBody), kAbsent);
    if (put.code() == StatusCode::kAlreadyExists) {
      conditional_ = Conditional::kHonoured;
      return Conditional::kHonoured;
    }
    if (put.code() == StatusCode::kUnimplemented) {
      break;
    }
    if (!put.ok()) {
      return put.status();
    }
  }
  conditional_ = Conditional::kIgnored;
  return Conditional::kIgnored;
}

bool S3Store::SupportsConditionalPut() const {
  if (read_only_) {
    return false;
  }
  auto answer = AskConditional();
  return !answer.ok() || *answer == Conditional::kHonoured;
}

// As ConfirmPut, but what replaces an object may find one of its own size: the bytes are compared.
Result<PutResult> S3Store::ConfirmReplaced(std::string_view key, ByteSpan body,
                                           Result<PutResult> put) {
  if (!put.ok() || !put->etag.empty()) {
    return put;
  }
  const auto there = Get(key, body.size());
  if (there.ok() && std::ranges::equal(*there, body)) {
    return put;
  }
  if (!there.ok() && there.code() != StatusCode::kNotFound &&
      there.code() != StatusCode::kResourceExhausted) {  // larger
    return there.status();
  }
  return UnavailableError("put " + client_->Name(FullKey(key)) +
                          ": an answer without ETag, and the object is not there");
}

// Every store names what it took. Something else that answers every request with 200 (a portal, a
// proxy whose store is away) took nothing, and its word would cost the bytes.
Result<PutResult> S3Store::ConfirmPut(std::string_view key, ByteSpan body, Result<PutResult> put) {
  if (!put.ok() || !put->etag.empty()) {
    return put;
  }
  const auto there = Head(key);
  if (there.ok() && there->size_bytes == body.size()) {
    return put;
  }
  if (!there.ok() && there.code() != StatusCode::kNotFound) {
    return there.status();
  }
  return UnavailableError("put " + client_->Name(FullKey(key)) +
                          ": an answer without ETag, and the object is not there");
}

Result<PutResult> S3Store::PutIfAbsent(std::string_view key, ByteSpan body) {
  RETURN_IF_ERROR(CheckWrite(key));
  const std::string full_key = FullKey(key);
  ASSIGN_OR_RETURN(Conditional conditional, AskConditional());
  if (conditional == Conditional::kHonoured) {
    return ConfirmPut(key, body, PutOnce(full_key, body, kAbsent));
  }
  // Not atomic, and SupportsConditionalPut() says so.
  auto there = Head(key);
  if (there.ok()) {
    return AlreadyExistsError("put " + client_->Name(full_key) + ": it is there");
  }
  if (there.code() != StatusCode::kNotFound) {
    return there.status();
  }
  return ConfirmPut(key, body, PutOnce(full_key, body, {}));
}

Result<bool> S3Store::HonoursIfMatch() const {
  if (auto known = if_match_.load(); known != Conditional::kUnknown) {
    return known == Conditional::kHonoured;
  }
  std::lock_guard lock(probe_mutex_);
  const std::string full_key = FullKey(kProbeKey);
  Status put;
  for (int i = 0; i < 2; ++i) {
    put = PutOnce(full_key, AsBytes(kProbeBody), {"if-match", kNobodysEtag}).status();
    if (put.code() != StatusCode::kNotFound) {
      break;
    }
    // It was never asked whether this server honours If-None-Match.
    RETURN_IF_ERROR(PutOnce(full_key, AsBytes(kProbeBody), {}).status());
  }
  if (!put.ok() && put.code() != StatusCode::kAlreadyExists &&
      put.code() != StatusCode::kUnimplemented && put.code() != StatusCode::kNotFound) {
    return put;
  }
  const bool honoured = put.code() == StatusCode::kAlreadyExists;
  if_match_ = honoured ? Conditional::kHonoured : Conditional::kIgnored;
  return honoured;
}

Result<PutResult> S3Store::PutIfMatch(std::string_view key, ByteSpan body, std::string_view etag) {
  RETURN_IF_ERROR(CheckWrite(key));
  RETURN_IF_ERROR(ValidateEtag(etag));
  const std::string full_key = FullKey(key);
  ASSIGN_OR_RETURN(const bool honoured, HonoursIfMatch());
  if (!honoured) {
    return UnimplementedError("put " + client_->Name(full_key) +
                              ": the store does not honour If-Match");
  }
  auto put = PutOnce(full_key, body, {"if-match", std::string(etag)});
  return put.code() == StatusCode::kAlreadyExists ? AbortedError(put.status().message())
                                                  : ConfirmReplaced(key, body, std::move(put));
}

Status S3Store::Delete(std::string_view key) {
  RETURN_IF_ERROR(CheckWrite(key));
  S3Request request;
  request.method = "DELETE";
  request.key = FullKey(key);
  const std::string what = "delete " + client_->Name(request.key);
  auto answer = client_->Call(request, what);
  if (!answer.ok() && answer.code() != StatusCode::kNotFound) {
    return answer.status();
  }
  return Status::Ok();
}

// One request of S3's for at most a thousand. Returns the failures it named.
Result<std::vector<DeleteFailure>> S3Store::DeletePage(std::span<const std::string> keys) const {
  const std::string what = "delete " + std::to_string(keys.size()) + " objects of " +
                           client_->Name(client_->address().prefix);
  std::map<std::string, std::string> by_full_key;
  std::vector<std::string> full_keys;
  for (const std::string& key : keys) {
    full_keys.push_back(FullKey(key));
    by_full_key[full_keys.back()] = key;
  }
  const std::string document = FormatDelete(full_keys);
  S3Request request;
  request.method = "POST";
  request.query = "delete=";
  request.headers = {{"content-type", "application/xml"}};
  // S3 takes no such request without one of the two.
  if (auto md5 = Md5Base64(AsBytes(document))) {
    request.headers.emplace_back("content-md5", *md5);
  } else {
    request.headers.emplace_back("x-amz-checksum-sha256", Base64Encode(Sha256(AsBytes(document))));
  }
  request.body = AsBytes(document);
  request.has_body = true;
  request.max_response_bytes = kMaxXmlBytes;
  ASSIGN_OR_RETURN(S3Answer answer, client_->Call(request, what));
  auto errors = ParseDeleteErrors(answer.response.body);
  if (!errors.ok()) {
    return errors.status().WithContext(what);
  }
  std::vector<DeleteFailure> failures;
  for (const S3DeleteError& error : *errors) {
    auto found = by_full_key.find(error.key);
    if (found == by_full_key.end()) {
      return CorruptionError(what + ": the answer is about a key that was not in the request");
    }
    const S3Failure failure{
        answer.response.status, PrintableText(error.code), PrintableText(error.message), {}};
    Status status = ToStatus(failure, "delete " + client_->Name(error.key));
    if (status.code() != StatusCode::kNotFound) {
      failures.push_back({found->second, std::move(status)});
    }
  }
  return failures;
}

Result<std::vector<DeleteFailure>> S3Store::DeleteMany(std::span<const std::string> keys) {
  for (const std::string& key : keys) {
    RETURN_IF_ERROR(CheckWrite(key));
  }
  if (!CanBeWritten(client_->address().prefix)) {
    return DeleteOneByOne(*this, keys);
  }
  std::vector<DeleteFailure> failures;
  while (!keys.empty()) {
    const auto page = keys.first(std::min(keys.size(), kMaxDeletes));
    keys = keys.subspan(page.size());
    auto failed = DeletePage(page);
    // Some stores have no such request: Google's.
    if (failed.code() == StatusCode::kUnimplemented) {
      failed = DeleteOneByOne(*this, page);
    }
    RETURN_IF_ERROR(failed.status());
    std::move(failed->begin(), failed->end(), std::back_inserter(failures));
  }
  return failures;
}

}  // namespace sqlite_s3

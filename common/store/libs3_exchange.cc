#include "common/store/libs3_exchange.h"

#include <algorithm>
#include <cstring>

namespace sqlite_s3 {

S3Status Libs3Exchange::OnProperties(const S3ResponseProperties* properties, void* user) {
  auto& exchange = *static_cast<Libs3Exchange*>(user);
  exchange.length = properties->contentLength;
  exchange.modified_s = properties->lastModified;
  return S3StatusOK;
}

void Libs3Exchange::OnComplete(S3Status status, const S3ErrorDetails* details, void* user) {
  auto& exchange = *static_cast<Libs3Exchange*>(user);
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

S3Status Libs3Exchange::OnData(int size, const char* data, void* user) {
  auto& exchange = *static_cast<Libs3Exchange*>(user);
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

int Libs3Exchange::OnUpload(int size, char* buffer, void* user) {
  auto& exchange = *static_cast<Libs3Exchange*>(user);
  const size_t n = std::min(static_cast<size_t>(size), exchange.upload.size());
  if (n > 0) std::memcpy(buffer, exchange.upload.data(), n);
  exchange.upload = exchange.upload.subspan(n);
  return static_cast<int>(n);
}

S3Status Libs3Exchange::OnListed(int truncated, const char*, int count,
                                 const S3ListBucketContent* contents, int, const char**,
                                 void* user) {
  auto& exchange = *static_cast<Libs3Exchange*>(user);
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

const S3ResponseHandler Libs3Exchange::kResponse = {&OnProperties, &OnComplete};

Status Libs3Exchange::ToStatus(const std::string& what) const {
  std::string text = what + ": " + S3_get_status_name(status);
  if (!message.empty()) text += ": " + message;
  switch (status) {
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
      return S3_status_is_retryable(status) != 0 ? UnavailableError(text)
                                                 : InvalidArgumentError(text);
  }
}

}  // namespace sqlite_s3

#include "common/store/s3_error.h"

#include <algorithm>

#include "common/store/s3_xml.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kMaxMessage = 300;

const char* CodeOf(int status) {
  switch (status) {
    case 301:
      return "PermanentRedirect";
    case 302:
    case 307:
    case 308:
      return "TemporaryRedirect";
    case 403:
      return "AccessDenied";
    case 404:
      return "NoSuchKey";
    case 405:
      return "MethodNotAllowed";
    case 409:
      return "OperationAborted";
    case 411:
      return "MissingContentLength";
    case 412:
      return "PreconditionFailed";
    case 416:
      return "InvalidRange";
    case 429:
      return "TooManyRequests";
    case 501:
      return "NotImplemented";
    case 503:
      return "ServiceUnavailable";
    case 507:
      return "InsufficientStorage";
    default:
      return status >= 500 ? "InternalError" : "BadRequest";
  }
}

struct Row {
  std::string_view code;
  StatusCode status;
  std::string_view hint;
};
constexpr std::string_view kRightsHint =
    "the credentials lack a right, `sqlite-s3-restore doctor` says which";
constexpr std::string_view kKeyHint = "check the credentials: environment, profile or role";
constexpr Row kRows[] = {
    {"NoSuchKey", StatusCode::kNotFound, ""},
    {"NotFound", StatusCode::kNotFound, ""},
    {"NoSuchVersion", StatusCode::kNotFound, ""},
    {"NoSuchUpload", StatusCode::kUnavailable, ""},  // it was aborted: the next try begins anew
    {"NoSuchBucket", StatusCode::kFailedPrecondition, "create the bucket, or correct its name"},
    {"PreconditionFailed", StatusCode::kAlreadyExists, ""},
    {"ConditionalRequestConflict", StatusCode::kUnavailable, ""},
    {"OperationAborted", StatusCode::kUnavailable, ""},
    {"SlowDown", StatusCode::kUnavailable, ""},
    {"SlowDownRead", StatusCode::kUnavailable, ""},
    {"SlowDownWrite", StatusCode::kUnavailable, ""},
    {"Throttling", StatusCode::kUnavailable, ""},
    {"ThrottlingException", StatusCode::kUnavailable, ""},
    {"RequestLimitExceeded", StatusCode::kUnavailable, ""},
    {"TooManyRequests", StatusCode::kUnavailable, ""},
    {"Busy", StatusCode::kUnavailable, ""},
    {"RequestTimeout", StatusCode::kUnavailable, ""},
    {"IncompleteBody", StatusCode::kUnavailable, ""},
    {"BadDigest", StatusCode::kUnavailable, ""},
    {"XAmzContentSHA256Mismatch", StatusCode::kUnavailable, ""},
    {"XAmzContentChecksumMismatch", StatusCode::kUnavailable, ""},
    {"InternalError", StatusCode::kUnavailable, ""},
    {"ServiceUnavailable", StatusCode::kUnavailable, ""},
    {"AccessDenied", StatusCode::kPermissionDenied, kRightsHint},
    {"AllAccessDisabled", StatusCode::kPermissionDenied, ""},
    {"AccountProblem", StatusCode::kPermissionDenied, ""},
    {"MethodNotAllowed", StatusCode::kPermissionDenied, ""},
    {"InvalidAccessKeyId", StatusCode::kPermissionDenied, kKeyHint},
    {"SignatureDoesNotMatch", StatusCode::kPermissionDenied,
     "the secret access key is wrong, or a proxy changes requests"},
    {"ExpiredToken", StatusCode::kPermissionDenied, "the credentials have expired"},
    {"TokenRefreshRequired", StatusCode::kPermissionDenied, "the credentials have expired"},
    {"InvalidToken", StatusCode::kPermissionDenied, kKeyHint},
    {"RequestTimeTooSkewed", StatusCode::kFailedPrecondition,
     "the clocks of this machine and of the store differ too much"},
    {"InvalidObjectState", StatusCode::kFailedPrecondition,
     "the object is archived: restore it in the store first"},
    {"InsufficientStorage", StatusCode::kResourceExhausted, ""},
    {"QuotaExceeded", StatusCode::kResourceExhausted, ""},
    {"XMinioStorageFull", StatusCode::kResourceExhausted, ""},
    {"EntityTooLarge", StatusCode::kInvalidArgument, ""},
    {"NotImplemented", StatusCode::kUnimplemented, ""},
};

bool IsRedirect(const S3Failure& failure) {
  return (failure.http_status >= 300 && failure.http_status < 400) ||
         failure.code == "PermanentRedirect" || failure.code == "TemporaryRedirect" ||
         failure.code == "AuthorizationHeaderMalformed" || failure.code == "IncorrectEndpoint";
}

}  // namespace

std::string PrintableText(std::string_view text) {
  std::string out(text.substr(0, kMaxMessage));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < 0x20 || c == 0x7f; }, '?');
  return out;
}

bool IsFailure(const HttpResponse& response, bool document_expected, S3Failure& out) {
  const bool success = response.status >= 200 && response.status < 300;
  S3ErrorDocument document;
  const bool read = (!success || document_expected) && !response.body.empty() &&
                    !response.too_large && ParseErrorDocument(response.body, document);
  if (success && !read) {
    return false;
  }
  out.http_status = response.status;
  out.code = read ? PrintableText(document.code) : CodeOf(response.status);
  out.message = read ? PrintableText(document.message) : std::string();
  out.region = PrintableText(response.Header("x-amz-bucket-region"));
  if (out.region.empty()) {
    out.region = PrintableText(document.region);
  }
  return true;
}

Status ToStatus(const S3Failure& failure, std::string_view what) {
  std::string text(what);
  text += ": " + failure.code + " (HTTP " + std::to_string(failure.http_status) + ")";
  if (!failure.message.empty()) {
    text += ": " + failure.message;
  }
  auto with_hint = [&](StatusCode code, std::string_view hint) {
    return Status(code, hint.empty() ? text : text + ", hint: " + std::string(hint));
  };
  if (IsRedirect(failure)) {
    if (!failure.region.empty()) {
      return with_hint(StatusCode::kInvalidArgument, "the bucket is in region=" + failure.region);
    }
    if (failure.http_status == 307) {
      return Status(StatusCode::kUnavailable, text);  // a bucket made a moment ago
    }
    return with_hint(StatusCode::kInvalidArgument, "check region and endpoint");
  }
  for (const Row& row : kRows) {
    if (row.code == failure.code) {
      return with_hint(row.status, row.hint);
    }
  }
  if (failure.code.starts_with("KMS.")) {
    return with_hint(StatusCode::kFailedPrecondition, "check the key that sse_kms_key_id names");
  }
  // A code that this version does not know: the HTTP status says as much.
  if (failure.http_status >= 500 || failure.http_status == 429) {
    return Status(StatusCode::kUnavailable, text);
  }
  if (failure.http_status == 401 || failure.http_status == 403) {
    return with_hint(StatusCode::kPermissionDenied, kRightsHint);
  }
  if (failure.http_status == 404) {
    return Status(StatusCode::kNotFound, text);
  }
  if (failure.http_status >= 200 && failure.http_status < 300) {
    return Status(StatusCode::kUnavailable, text);
  }
  return Status(StatusCode::kInvalidArgument, text);
}

}  // namespace sqlite_s3

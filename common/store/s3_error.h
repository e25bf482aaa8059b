#pragma once
// The one place where an answer of S3 becomes a Status. Pure; thread-safe.

#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/store/http_transport.h"

namespace sqlite_s3 {

struct S3Failure {
  int http_status = 0;
  std::string code;     // "NoSuchKey"; made up from the HTTP status when there is no document
  std::string message;  // the server's, made printable and cut
  std::string region;   // where the bucket is, when that is what is wrong
};

// Text of the server's, for a message: printable, and cut.
std::string PrintableText(std::string_view text);

// Whether the answer is a failure, and which: every status but 2xx, and with `document_expected` a
// 200 whose body is an error document (CompleteMultipartUpload and proxies do that).
bool IsFailure(const HttpResponse& response, bool document_expected, S3Failure& out);

// `what` names the operation and the object: "put s3://bucket/key".
//   kNotFound NoSuchKey; kAlreadyExists PreconditionFailed; kUnavailable what may work later
//   (throttling, 5xx, conflicts of conditional writes, a body damaged on its way);
//   kPermissionDenied; kInvalidArgument wrong region, names, options; kFailedPrecondition no such
//   bucket, archived objects, keys of KMS; kResourceExhausted quotas; kUnimplemented.
Status ToStatus(const S3Failure& failure, std::string_view what);

}  // namespace sqlite_s3

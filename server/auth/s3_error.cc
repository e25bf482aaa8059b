#include "server/auth/s3_error.h"

#include <algorithm>
#include <iterator>

namespace sqlite_s3::server {
namespace {

struct Row {
  std::string_view code;
  int status;
  std::string_view message;
};

// Amazon S3 API reference, "Error responses", as far as this server has use for them.
constexpr Row kRows[] = {
    {"AccessDenied", 403, "Access Denied"},
    {"AuthorizationHeaderMalformed", 400, "The authorization header is malformed."},
    {"AuthorizationQueryParametersError", 400, "The authorization parameters are malformed."},
    {"BadRequest", 400, "Bad request."},
    {"BadDigest", 400, "The Content-MD5 or checksum value does not match what was received."},
    {"BucketAlreadyExists", 409, "The bucket name is taken by another owner."},
    {"BucketAlreadyOwnedByYou", 409, "You own a bucket of this name already."},
    {"BucketNotEmpty", 409, "The bucket is not empty."},
    {"EntityTooLarge", 400, "The upload is larger than the largest allowed object."},
    {"EntityTooSmall", 400, "A part is smaller than 5 MiB and not the last one."},
    {"IllegalVersioningConfigurationException", 400, "The versioning configuration is invalid."},
    {"IncompleteBody", 400, "The body is not as long as its announced length."},
    {"InternalError", 500, "An internal error occurred. Try again."},
    {"InvalidAccessKeyId", 403, "The access key id does not exist here."},
    {"InvalidArgument", 400, "Invalid argument."},
    {"InvalidBucketName", 400, "The bucket name is not valid."},
    {"InvalidBucketState", 409, "The bucket's state does not allow this."},
    {"InvalidDigest", 400, "The Content-MD5 or checksum value is not valid."},
    {"InvalidEncryptionAlgorithmError", 400, "The encryption algorithm is not supported."},
    {"InvalidLocationConstraint", 400, "The location constraint is not valid."},
    {"InvalidPart", 400, "A part is missing, or its ETag or checksum is another one."},
    {"InvalidPartNumber", 416, "The requested part number is not satisfiable."},
    {"InvalidPartOrder", 400, "The parts are not in ascending order."},
    {"InvalidPolicyDocument", 400, "The form's policy document is not valid."},
    {"InvalidRange", 416, "The requested range is not satisfiable."},
    {"InvalidRequest", 400, "Invalid request."},
    {"InvalidStorageClass", 400, "The storage class is not supported."},
    {"InvalidTag", 400, "A tag's key or value is not valid."},
    {"InvalidURI", 400, "The URI could not be parsed."},
    {"KeyTooLongError", 400, "The key is too long."},
    {"MalformedACLError", 400, "The access control document is not valid."},
    {"MalformedPOSTRequest", 400, "The body of the POST request is not well-formed form data."},
    {"MalformedTrailerError", 400, "The request's trailer is not well-formed."},
    {"MalformedXML", 400, "The XML document is not well-formed or not as the schema wants it."},
    {"MaxMessageLengthExceeded", 400, "The request is too long."},
    {"MaxPostPreDataLengthExceededError", 400, "The form's fields before the file are too long."},
    {"MetadataTooLarge", 400, "The metadata headers are larger than 2 KiB."},
    {"MethodNotAllowed", 405, "The method is not allowed against this resource."},
    {"MissingContentLength", 411, "The Content-Length header is needed."},
    {"MissingSecurityHeader", 400, "A needed header is missing."},
    {"NoSuchBucket", 404, "The bucket does not exist."},
    {"NoSuchBucketPolicy", 404, "The bucket has no policy."},
    {"NoSuchCORSConfiguration", 404, "The bucket has no CORS configuration."},
    {"NoSuchKey", 404, "The key does not exist."},
    {"NoSuchLifecycleConfiguration", 404, "The bucket has no lifecycle configuration."},
    {"NoSuchObjectLockConfiguration", 404, "The object has no lock configuration."},
    {"NoSuchPublicAccessBlockConfiguration", 404, "The bucket has no public access block."},
    {"NoSuchTagSet", 404, "There are no tags."},
    {"NoSuchUpload", 404, "The multipart upload does not exist."},
    {"NoSuchVersion", 404, "The version does not exist."},
    {"NoSuchWebsiteConfiguration", 404, "The bucket has no website configuration."},
    {"NotImplemented", 501, "This server does not do that."},
    {"ObjectLockConfigurationNotFoundError", 404, "The bucket has no object lock configuration."},
    {"OwnershipControlsNotFoundError", 404, "The bucket has no ownership controls."},
    {"PreconditionFailed", 412, "A condition of the request does not hold."},
    {"ReplicationConfigurationNotFoundError", 404, "The bucket has no replication configuration."},
    {"RequestTimeTooSkewed", 403, "The request's time and the server's differ too much."},
    {"ServerSideEncryptionConfigurationNotFoundError", 404, "The bucket has no encryption."},
    {"SignatureDoesNotMatch", 403,
     "The signature is not what the secret key makes of the request."},
    {"SlowDown", 503, "Please reduce the request rate."},
    {"ServiceUnavailable", 503, "Please reduce the request rate."},
    {"RequestTimeout", 400, "The connection was idle for too long."},
    {"ConditionalRequestConflict", 409, "Another request is changing this object."},
    {"UserKeyMustBeSpecified", 400, "The form needs a field 'key'."},
    {"XAmzContentSHA256Mismatch", 400, "x-amz-content-sha256 is not the SHA-256 of the body."},
};

}  // namespace

S3Error MakeError(std::string_view code, std::string message) {
  const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                 [&](const Row& r) { return r.code == code; });
  S3Error error;
  error.code = code;
  error.message = std::move(message);
  if (row != std::end(kRows)) {
    error.status = row->status;
    if (error.message.empty()) {
      error.message = row->message;
    }
  }
  return error;
}

}  // namespace sqlite_s3::server

#include "server/s3/answers.h"

#include "server/s3/xml.h"

namespace sqlite_s3::server {

Response ErrorAnswer(const S3Error& error, const std::string& resource,
                     const std::string& request_id) {
  Response response;
  response.status = error.status;
  if (error.status != 304) {
    XmlDocument document("Error", false);
    document.Add("Code", error.code);
    document.Add("Message", error.message);
    for (const auto& [name, value] : error.details) {
      document.Add(name.c_str(), value);
    }
    document.Add("Resource", resource);
    document.Add("RequestId", request_id);
    document.Add("HostId", request_id);
    response = document.Answer(error.status);
  }
  for (const auto& [name, value] : error.headers) {
    response.headers.Add(name, value);
  }
  return response;
}

S3Error FromStorage(const StorageStatus& status) {
  switch (status.reason()) {
    case Reason::kDeleteMarker:
      return MakeError("NoSuchKey")
          .WithHeader("x-amz-delete-marker", "true")
          .WithHeader("x-amz-version-id", status.version_id());
    case Reason::kIsDeleteMarker:
      return MakeError("MethodNotAllowed")
          .WithHeader("x-amz-delete-marker", "true")
          .WithHeader("x-amz-version-id", status.version_id())
          .WithHeader("Last-Modified", FormatHttpTime(status.modified_us()))
          .WithHeader("Allow", "DELETE");
    case Reason::kNotModified: {
      S3Error error = MakeError("NotModified");
      error.status = 304;
      return error;
    }
    case Reason::kKeyTooLong:
      return MakeError("KeyTooLongError").With("MaxSizeAllowed", "1024");
    case Reason::kInvalidArgument:
      return MakeError("InvalidArgument", status.status().message());
    case Reason::kReadOnly:
      return MakeError("AccessDenied", "This server or bucket is read-only.");
    case Reason::kDiskFull: {
      S3Error error = MakeError("InternalError", "The disk is full.");
      error.status = 507;
      return error;
    }
    case Reason::kBusy:
      return MakeError("SlowDown");
    case Reason::kBucketAlreadyExists:
      return MakeError("BucketAlreadyExists");
    case Reason::kCorrupt:
      return MakeError("InternalError", "The bucket's file is damaged.");
    case Reason::kNoSuchBucket:
    case Reason::kBucketNotEmpty:
    case Reason::kInvalidBucketName:
    case Reason::kNoSuchKey:
    case Reason::kNoSuchVersion:
    case Reason::kNoSuchUpload:
    case Reason::kInvalidPart:
    case Reason::kInvalidPartOrder:
    case Reason::kEntityTooSmall:
    case Reason::kEntityTooLarge:
    case Reason::kPreconditionFailed:
    case Reason::kInvalidBucketState:
      return MakeError(ReasonName(status.reason()));
    case Reason::kOk:
    case Reason::kNoSuchDocument:  // whoever asked for the document knows its code
    case Reason::kInternal:
      break;
  }
  return MakeError("InternalError");
}

S3Result<std::shared_ptr<Bucket>> Call::OpenBucket() const {
  StorageResult<std::shared_ptr<Bucket>> found = buckets->Get(bucket);
  if (!found.ok()) {
    return FromStorage(found.status()).With("BucketName", bucket);
  }
  return std::move(found).value();
}

}  // namespace sqlite_s3::server

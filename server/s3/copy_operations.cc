#include <fmt/format.h>

#include "common/base/ascii.h"
#include "server/auth/digest.h"
#include "server/s3/answers.h"
#include "server/s3/conditions.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

struct SourceName {
  std::string bucket;
  CopySource source;
};

// "bucket/key?versionId=..." or "/bucket/key", percent-encoded; and the conditions on it.
S3Result<SourceName> ReadSource(const Call& call) {
  const Headers& headers = call.request.headers;
  std::string_view text = call.header_or_empty("x-amz-copy-source");
  SourceName out;
  const size_t question = text.find("?versionId=");
  if (question != std::string_view::npos) {
    out.source.version_id = std::string(text.substr(question + 11));
    text = text.substr(0, question);
  }
  const std::optional<std::string> decoded = PercentDecode(text, false);
  if (!decoded) {
    return MakeError("InvalidArgument", "The copy source must be percent-encoded.");
  }
  std::string_view path(*decoded);
  if (!path.empty() && path.front() == '/') {
    path.remove_prefix(1);
  }
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == path.size() ||
      path.find('\0') != std::string_view::npos || !IsValidUtf8(path)) {
    return MakeError("InvalidArgument",
                     "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
  }
  out.bucket = path.substr(0, slash);
  out.source.key = path.substr(slash + 1);
  if (const std::string* match = headers.Find("x-amz-copy-source-if-match")) {
    out.source.if_match = StripEtag(*match);
  }
  if (const std::string* none = headers.Find("x-amz-copy-source-if-none-match")) {
    out.source.if_none_match = StripEtag(*none);
  }
  if (const std::string* since = headers.Find("x-amz-copy-source-if-modified-since")) {
    if (const auto when = ParseAnyDate(*since)) {
      out.source.if_modified_since_seconds = *when / 1'000'000;
    }
  }
  if (const std::string* since = headers.Find("x-amz-copy-source-if-unmodified-since")) {
    if (const auto when = ParseAnyDate(*since)) {
      out.source.if_unmodified_since_seconds = *when / 1'000'000;
    }
  }
  if (call.identity.user && !MayUseBucket(*call.identity.user, out.bucket)) {
    return MakeError("AccessDenied");
  }
  return out;
}

// Storage checks the conditions of copies within a bucket; between buckets this does.
std::optional<S3Error> CheckSourceConditions(const CopySource& source, const ObjectInfo& info) {
  Headers headers;
  if (source.if_match) {
    headers.Add("if-match", *source.if_match);
  }
  if (source.if_none_match) {
    headers.Add("if-none-match", *source.if_none_match);
  }
  if (source.if_modified_since_seconds) {
    headers.Add("if-modified-since", FormatHttpTime(*source.if_modified_since_seconds * 1'000'000));
  }
  if (source.if_unmodified_since_seconds) {
    headers.Add("if-unmodified-since",
                FormatHttpTime(*source.if_unmodified_since_seconds * 1'000'000));
  }
  if (CheckReadConditions(headers, info)) {
    return MakeError("PreconditionFailed");
  }
  return std::nullopt;
}

S3Error SourceError(const StorageStatus& status, const std::string& key) {
  if (status.reason() == Reason::kNotModified) {
    return MakeError("PreconditionFailed");
  }
  if (status.reason() == Reason::kIsDeleteMarker) {
    return MakeError("InvalidRequest",
                     "The source of a copy request may not specifically refer to a delete marker "
                     "by version id.");
  }
  return FromStorage(status).With("Key", key);
}

S3Result<std::shared_ptr<Bucket>> OpenSourceBucket(const Call& call, const std::string& name) {
  StorageResult<std::shared_ptr<Bucket>> found = call.buckets->Get(name);
  if (!found.ok()) {
    return FromStorage(found.status()).With("BucketName", name);
  }
  return std::move(found).value();
}

bool Replaces(const Call& call, const char* header) {
  return EqualsIgnoringCase(call.header_or_empty(header), "REPLACE");
}

std::optional<S3Error> CheckDirectives(const Call& call, const SourceName& source) {
  for (const char* name : {"x-amz-metadata-directive", "x-amz-tagging-directive"}) {
    const std::string& value = call.header_or_empty(name);
    if (!value.empty() && !EqualsIgnoringCase(value, "COPY") &&
        !EqualsIgnoringCase(value, "REPLACE")) {
      return MakeError("InvalidArgument", std::string("Unknown directive in ") + name);
    }
  }
  const bool changes = Replaces(call, "x-amz-metadata-directive") ||
                       Replaces(call, "x-amz-tagging-directive") ||
                       call.request.headers.Has("x-amz-storage-class") ||
                       call.request.headers.Has("x-amz-website-redirect-location") ||
                       source.source.version_id.has_value();
  if (!changes && source.bucket == call.bucket && source.source.key == call.key) {
    return MakeError(
        "InvalidRequest",
        "This copy request is illegal because it is trying to copy an object to itself "
        "without changing the object's metadata, storage class, website redirect "
        "location or encryption attributes.");
  }
  return std::nullopt;
}

StorageResult<CopyResult> CopyBetween(Bucket& from, Bucket& to, const CopyRequest& request,
                                      std::optional<S3Error>& refused) {
  ReadOptions options;
  options.version_id = request.source.version_id;
  StorageResult<OpenedObject> opened = from.Open(request.source.key, options);
  if (!opened.ok()) {
    return opened.status();
  }
  refused = CheckSourceConditions(request.source, opened->info);
  if (refused) {
    return StorageStatus(Reason::kPreconditionFailed, "the copy source's condition does not hold");
  }
  const std::unique_ptr<BodyWriter> body = to.NewBody();
  RETURN_IF_STORAGE_ERROR(CopyBody(*opened->body, *body));
  PutRequest put;
  put.key = request.key;
  put.attributes = request.attributes ? *request.attributes : opened->info.attributes;
  if (!request.attributes && request.storage_class) {
    put.attributes.storage_class = *request.storage_class;
  }
  put.attributes.tags = request.tags ? *request.tags : opened->info.attributes.tags;
  put.attributes.owner = request.owner;
  put.attributes.acl = request.acl;
  put.etag = opened->info.etag;
  put.checksum = opened->info.checksum;
  put.conditions = request.conditions;
  StorageResult<PutResult> result = to.Put(put, body.get());
  if (!result.ok()) {
    return result.status();
  }
  CopyResult out;
  out.put = *result;
  out.source_version_id = opened->info.version_id;
  out.source_versioned = opened->info.version_id != kNullVersion;
  return out;
}

}  // namespace

Answer CopyObject(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  ASSIGN_OR_RETURN(const SourceName source, ReadSource(call));
  if (std::optional<S3Error> error = CheckDirectives(call, source)) {
    return *error;
  }
  ASSIGN_OR_RETURN(ObjectAttributes attributes, ReadAttributes(call));
  CopyRequest request;
  request.source = source.source;
  request.key = call.key;
  request.owner = call.owner();
  request.acl = attributes.acl;
  request.conditions = ReadWriteConditions(call);
  if (Replaces(call, "x-amz-tagging-directive")) {
    request.tags = attributes.tags;
  }
  if (Replaces(call, "x-amz-metadata-directive")) {
    request.attributes = attributes;
  } else if (call.request.headers.Has("x-amz-storage-class")) {
    request.storage_class = attributes.storage_class;
  }
  std::optional<S3Error> refused;
  const auto copy = [&]() -> S3Result<CopyResult> {
    if (source.bucket == call.bucket) {
      StorageResult<CopyResult> result = bucket->Copy(request);
      return result.ok() ? S3Result<CopyResult>(*result) : SourceError(result.status(), call.key);
    }
    S3Result<std::shared_ptr<Bucket>> from = OpenSourceBucket(call, source.bucket);
    if (!from.ok()) {
      return from.error();
    }
    StorageResult<CopyResult> result = CopyBetween(**from, *bucket, request, refused);
    return result.ok() ? S3Result<CopyResult>(*result) : SourceError(result.status(), call.key);
  };
  ASSIGN_OR_RETURN(const CopyResult copied, copy());
  XmlDocument document("CopyObjectResult");
  document.Add("LastModified", FormatIsoMillis(copied.put.modified_us));
  document.Add("ETag", Quoted(copied.put.etag));
  if (!copied.put.checksum.value.empty()) {
    document.Add(("Checksum" + copied.put.checksum.algorithm).c_str(), copied.put.checksum.value);
    document.Add("ChecksumType", copied.put.checksum.type);
  }
  Response response = document.Answer();
  if (copied.put.versioned) {
    response.headers.Add("x-amz-version-id", copied.put.version_id);
  }
  if (copied.source_versioned) {
    response.headers.Add("x-amz-copy-source-version-id", copied.source_version_id);
  }
  return response;
}

Answer UploadPartCopy(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  ASSIGN_OR_RETURN(const int number, ReadPartNumber(call));
  const std::string upload_id = call.query.Get("uploadId");
  StorageResult<UploadInfo> upload = bucket->GetUpload(call.key, upload_id);
  if (!upload.ok()) {
    return FromStorage(upload.status()).With("UploadId", upload_id);
  }
  ASSIGN_OR_RETURN(const SourceName source, ReadSource(call));
  ASSIGN_OR_RETURN(const auto from, OpenSourceBucket(call, source.bucket));
  ReadOptions options;
  options.version_id = source.source.version_id;
  StorageResult<OpenedObject> opened = from->Open(source.source.key, options);
  if (!opened.ok()) {
    return SourceError(opened.status(), source.source.key);
  }
  if (std::optional<S3Error> failed = CheckSourceConditions(source.source, opened->info)) {
    return *failed;
  }
  if (const std::string* range = call.request.headers.Find("x-amz-copy-source-range")) {
    S3Result<std::optional<ByteRange>> bytes = ParseRange(*range, opened->info.size_bytes);
    const size_t dash = range->find('-');
    if (!bytes.ok() || !*bytes || dash + 1 == range->size() || range->rfind("bytes=-", 0) == 0) {
      return MakeError(
          bytes.ok() ? "InvalidArgument" : "InvalidRange",
          "The x-amz-copy-source-range value must be of the form bytes=first-last "
          "where first and last are the zero-based offsets of the first and last bytes "
          "to copy");
    }
    // Unlike GET's, this range must lie inside.
    if (std::strtoull(range->c_str() + dash + 1, nullptr, 10) >= opened->info.size_bytes) {
      return MakeError("InvalidRange");
    }
    opened->body->SetRange((*bytes)->offset, (*bytes)->length);
  }
  const std::unique_ptr<BodyWriter> body = bucket->NewBody();
  const std::unique_ptr<StreamingDigest> md5 = NewDigest(DigestKind::kMd5);
  const auto kind = ParseChecksumAlgorithm(upload->checksum_algorithm);
  const std::unique_ptr<StreamingDigest> checksum = kind ? NewDigest(*kind) : nullptr;
  for (;;) {
    StorageResult<ByteSpan> next = opened->body->Next();
    if (!next.ok()) {
      return FromStorage(next.status());
    }
    if (next->empty()) {
      break;
    }
    md5->Update(*next);
    if (checksum) {
      checksum->Update(*next);
    }
    const StorageStatus appended = body->Append(*next);
    if (!appended.ok()) {
      return FromStorage(appended);
    }
  }
  PartInfo part;
  part.number = number;
  part.size_bytes = body->size_bytes();
  part.etag = HexEncode(md5->Finish());
  if (checksum) {
    part.checksum = {upload->checksum_algorithm, EncodeBase64(checksum->Finish()), "FULL_OBJECT"};
  }
  const StorageStatus put = bucket->PutPart(call.key, upload_id, part, body.get());
  if (!put.ok()) {
    return FromStorage(put);
  }
  XmlDocument document("CopyPartResult");
  document.Add("LastModified", FormatIsoMillis(call.clock->WallMicros()));
  document.Add("ETag", Quoted(part.etag));
  if (checksum) {
    document.Add(("Checksum" + part.checksum.algorithm).c_str(), part.checksum.value);
  }
  Response response = document.Answer();
  if (opened->info.version_id != kNullVersion) {
    response.headers.Add("x-amz-copy-source-version-id", opened->info.version_id);
  }
  return response;
}

}  // namespace sqlite_s3::server

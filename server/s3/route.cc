#include <algorithm>
#include <iterator>

#include "server/s3/call.h"

#include "common/base/ascii.h"

namespace sqlite_s3::server {
namespace {

struct Row {
  std::string_view method;
  std::string_view parameter;
  Op op;
};

// The first row whose method and parameter are there.
constexpr Row kBucketRows[] = {
    {"GET", "location", Op::kGetBucketLocation},  {"GET", "versioning", Op::kGetBucketVersioning},
    {"GET", "versions", Op::kListObjectVersions}, {"GET", "uploads", Op::kListMultipartUploads},
    {"GET", "tagging", Op::kGetBucketTagging},    {"GET", "acl", Op::kGetBucketAcl},
    {"GET", "cors", Op::kGetBucketCors},          {"PUT", "versioning", Op::kPutBucketVersioning},
    {"PUT", "tagging", Op::kPutBucketTagging},    {"PUT", "acl", Op::kPutBucketAcl},
    {"PUT", "cors", Op::kPutBucketCors},          {"DELETE", "tagging", Op::kDeleteBucketTagging},
    {"DELETE", "cors", Op::kDeleteBucketCors},    {"POST", "delete", Op::kDeleteObjects},
};
constexpr Row kObjectRows[] = {
    {"GET", "uploadId", Op::kListParts},
    {"GET", "tagging", Op::kGetObjectTagging},
    {"GET", "acl", Op::kGetObjectAcl},
    {"GET", "attributes", Op::kGetObjectAttributes},
    {"GET", "legal-hold", Op::kGetObjectSetting},
    {"GET", "retention", Op::kGetObjectSetting},
    {"GET", "torrent", Op::kNotImplemented},
    {"PUT", "tagging", Op::kPutObjectTagging},
    {"PUT", "acl", Op::kPutObjectAcl},
    {"PUT", "legal-hold", Op::kNotImplemented},
    {"PUT", "retention", Op::kNotImplemented},
    {"PUT", "renameObject", Op::kNotImplemented},
    {"DELETE", "uploadId", Op::kAbortMultipartUpload},
    {"DELETE", "tagging", Op::kDeleteObjectTagging},
    {"POST", "uploads", Op::kCreateMultipartUpload},
    {"POST", "uploadId", Op::kCompleteMultipartUpload},
    {"POST", "restore", Op::kNotImplemented},
    {"POST", "select", Op::kNotImplemented},
};
// Features of a bucket that this server does not have: reading says so, removing removes nothing.
constexpr std::string_view kBucketSettings[] = {
    "accelerate",        "analytics", "encryption",   "intelligent-tiering", "inventory",
    "lifecycle",         "logging",   "metrics",      "notification",        "object-lock",
    "ownershipControls", "policy",    "policyStatus", "publicAccessBlock",   "replication",
    "requestPayment",    "website"};

Op Default(const std::string& method, const Request& request, const Query& query, bool has_key) {
  if (!has_key) {
    if (method == "GET") {
      return query.Get("list-type") == "2" ? Op::kListObjectsV2 : Op::kListObjects;
    }
    if (method == "HEAD") {
      return Op::kHeadBucket;
    }
    if (method == "PUT") {
      return Op::kCreateBucket;
    }
    if (method == "DELETE") {
      return Op::kDeleteBucket;
    }
    const std::string type = ToLower(request.headers.Get("content-type"));
    return method == "POST" && type.rfind("multipart/form-data", 0) == 0 ? Op::kPostObject
                                                                         : Op::kMethodNotAllowed;
  }
  if (method == "GET") {
    return Op::kGetObject;
  }
  if (method == "HEAD") {
    return Op::kHeadObject;
  }
  if (method == "DELETE") {
    return Op::kDeleteObject;
  }
  if (method != "PUT") {
    return Op::kMethodNotAllowed;
  }
  const bool copies = request.headers.Has("x-amz-copy-source");
  if (query.Has("uploadId") || query.Has("partNumber")) {
    return copies ? Op::kUploadPartCopy : Op::kUploadPart;
  }
  return copies ? Op::kCopyObject : Op::kPutObject;
}

}  // namespace

Op Route(const Request& request, const Query& query, bool has_bucket, bool has_key) {
  const std::string& method = request.method;
  if (method == "OPTIONS") {
    return Op::kPreflight;
  }
  if (!has_bucket) {
    return method == "GET" || method == "HEAD" ? Op::kListBuckets : Op::kMethodNotAllowed;
  }
  const auto find = [&](const auto& rows) -> const Row* {
    const auto* row = std::find_if(std::begin(rows), std::end(rows), [&](const Row& r) {
      return r.method == method && query.Has(r.parameter);
    });
    return row == std::end(rows) ? nullptr : row;
  };
  if (const Row* row = has_key ? find(kObjectRows) : find(kBucketRows)) {
    return row->op;
  }
  if (!has_key && std::any_of(std::begin(kBucketSettings), std::end(kBucketSettings),
                              [&](std::string_view name) { return query.Has(name); })) {
    if (method == "GET") {
      return Op::kGetBucketSetting;
    }
    return method == "DELETE" ? Op::kDeleteBucketSetting : Op::kNotImplemented;
  }
  return Default(method, request, query, has_key);
}

const char* OpName(Op op) {
  static constexpr const char* kNames[] = {"AbortMultipartUpload",
                                           "CompleteMultipartUpload",
                                           "CopyObject",
                                           "CreateBucket",
                                           "CreateMultipartUpload",
                                           "DeleteBucket",
                                           "DeleteBucketCors",
                                           "DeleteBucketSetting",
                                           "DeleteBucketTagging",
                                           "DeleteObject",
                                           "DeleteObjectTagging",
                                           "DeleteObjects",
                                           "GetBucketAcl",
                                           "GetBucketCors",
                                           "GetBucketLocation",
                                           "GetBucketSetting",
                                           "GetBucketTagging",
                                           "GetBucketVersioning",
                                           "GetObject",
                                           "GetObjectAcl",
                                           "GetObjectAttributes",
                                           "GetObjectSetting",
                                           "GetObjectTagging",
                                           "HeadBucket",
                                           "HeadObject",
                                           "ListBuckets",
                                           "ListMultipartUploads",
                                           "ListObjectVersions",
                                           "ListObjects",
                                           "ListObjectsV2",
                                           "ListParts",
                                           "MethodNotAllowed",
                                           "NotImplemented",
                                           "PostObject",
                                           "Preflight",
                                           "PutBucketAcl",
                                           "PutBucketCors",
                                           "PutBucketTagging",
                                           "PutBucketVersioning",
                                           "PutObject",
                                           "PutObjectAcl",
                                           "PutObjectTagging",
                                           "UploadPart",
                                           "UploadPartCopy"};
  static_assert(std::size(kNames) == kOpCount);
  return kNames[static_cast<size_t>(op)];
}

bool IsWrite(Op op) {
  switch (op) {
    case Op::kGetBucketAcl:
    case Op::kGetBucketCors:
    case Op::kGetBucketLocation:
    case Op::kGetBucketSetting:
    case Op::kGetBucketTagging:
    case Op::kGetBucketVersioning:
    case Op::kGetObject:
    case Op::kGetObjectAcl:
    case Op::kGetObjectAttributes:
    case Op::kGetObjectSetting:
    case Op::kGetObjectTagging:
    case Op::kHeadBucket:
    case Op::kHeadObject:
    case Op::kListBuckets:
    case Op::kListMultipartUploads:
    case Op::kListObjectVersions:
    case Op::kListObjects:
    case Op::kListObjectsV2:
    case Op::kListParts:
    case Op::kMethodNotAllowed:
    case Op::kNotImplemented:
    case Op::kPreflight:
      return false;
    default:
      return true;
  }
}

}  // namespace sqlite_s3::server

#include "server/s3/acl.h"

#include "common/base/ascii.h"

#include <algorithm>
#include <iterator>

namespace sqlite_s3::server {
namespace {

constexpr std::string_view kCanned[] = {
    "private",       "public-read",       "public-read-write",         "authenticated-read",
    "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control", "log-delivery-write"};

bool GrantsReading(const Call& call, const std::string& acl) {
  return acl == "public-read" || acl == "public-read-write" ||
         (acl == "authenticated-read" && call.identity.user);
}

}  // namespace

S3Result<std::string> ReadCannedAcl(const Call& call) {
  for (const auto& [name, value] : call.request.headers.items()) {
    if (ToLower(name).rfind("x-amz-grant-", 0) == 0) {
      return MakeError("NotImplemented",
                       "Grants are not supported here; rights are in the server's configuration.")
          .With("Header", name);
    }
  }
  const std::string canned = call.request.headers.Get("x-amz-acl");
  if (canned.empty()) {
    return canned;
  }
  if (std::find(std::begin(kCanned), std::end(kCanned), canned) == std::end(kCanned)) {
    return MakeError("InvalidArgument")
        .With("ArgumentName", "x-amz-acl")
        .With("ArgumentValue", canned);
  }
  if (std::optional<S3Error> error = CheckAcl(call, canned)) {
    return *error;
  }
  return canned;
}

std::optional<S3Error> CheckAcl(const Call& call, const std::string& canned) {
  const bool writes = canned == "public-read-write";
  if (call.options->allow_anonymous || canned.find("-read") == std::string::npos ||
      canned.find("owner-read") != std::string::npos || canned == "aws-exec-read" ||
      (call.options->public_acls && !writes)) {
    return std::nullopt;
  }
  return MakeError("AccessDenied",
                   writes ? "Nobody may write without credentials here."
                          : "Public lists have no effect here. The operator allows them with "
                            "--public-acls.");
}

bool MayReadByAcl(const Call& call) {
  if (!call.options->public_acls || call.bucket.empty()) {
    return false;
  }
  const bool of_object = call.op == Op::kGetObject || call.op == Op::kHeadObject;
  if (!of_object && call.op != Op::kListObjects && call.op != Op::kListObjectsV2 &&
      call.op != Op::kHeadBucket) {
    return false;
  }
  const S3Result<std::shared_ptr<Bucket>> bucket = call.OpenBucket();
  if (!bucket.ok()) {
    return false;
  }
  if (of_object) {
    ReadOptions options;
    if (const std::string* version = call.query.Find("versionId")) {
      options.version_id = *version;
    }
    const StorageResult<ObjectInfo> info = bucket.value()->Head(call.key, options);
    if (info.ok()) {
      return GrantsReading(call, info->attributes.acl);
    }
  }
  const StorageResult<std::string> acl = bucket.value()->GetDocument("acl");
  return acl.ok() && GrantsReading(call, *acl);
}

}  // namespace sqlite_s3::server

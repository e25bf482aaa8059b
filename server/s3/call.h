#pragma once
// Call: one S3 request on its way through the server, and what operations share.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "server/auth/authenticate.h"
#include "server/auth/s3_error.h"
#include "server/http/message.h"
#include "server/storage/bucket_set.h"

namespace sqlite_s3::server {

// The operations by their S3 names; OpName has them as text.
enum class Op : uint8_t {
  kAbortMultipartUpload,
  kCompleteMultipartUpload,
  kCopyObject,
  kCreateBucket,
  kCreateMultipartUpload,
  kDeleteBucket,
  kDeleteBucketCors,
  kDeleteBucketSetting,  // of a feature that is never configured here
  kDeleteBucketTagging,
  kDeleteObject,
  kDeleteObjectTagging,
  kDeleteObjects,
  kGetBucketAcl,
  kGetBucketCors,
  kGetBucketLocation,
  kGetBucketSetting,
  kGetBucketTagging,
  kGetBucketVersioning,
  kGetObject,
  kGetObjectAcl,
  kGetObjectAttributes,
  kGetObjectSetting,
  kGetObjectTagging,
  kHeadBucket,
  kHeadObject,
  kListBuckets,
  kListMultipartUploads,
  kListObjectVersions,
  kListObjects,
  kListObjectsV2,
  kListParts,
  kMethodNotAllowed,
  kNotImplemented,
  kPostObject,
  kPreflight,
  kPutBucketAcl,
  kPutBucketCors,
  kPutBucketTagging,
  kPutBucketVersioning,
  kPutObject,
  kPutObjectAcl,
  kPutObjectTagging,
  kUploadPart,
  kUploadPartCopy,
};
inline constexpr size_t kOpCount = static_cast<size_t>(Op::kUploadPartCopy) + 1;
const char* OpName(Op op);
bool IsWrite(Op op);

// Which operation a request asks for, by method, place and parameters alone. Pure.
Op Route(const Request& request, const Query& query, bool has_bucket, bool has_key);

struct ServiceOptions {
  std::string region = "us-east-1";
  std::string domain;  // BUCKET.domain names a bucket too; empty: path style only
  bool allow_anonymous = false;
  bool public_acls = false;  // see acl.h
};

// How a LIST lies, for tests of clients: see faults/.
struct ListFault {
  bool reversed = false;
  bool loops = false;    // each page's token leads back to that page
  size_t leave_out = 0;  // newest keys that are not seen yet
  int max_keys = 0;      // pages of at most so many; 0: as asked
};

struct Call {
  BucketSet* buckets = nullptr;
  const ServiceOptions* options = nullptr;
  const Clock* clock = nullptr;
  const Users* users = nullptr;

  Op op = Op::kNotImplemented;
  Request request;
  Query query;
  std::string bucket;  // names, decoded; empty when the request names none
  std::string key;
  Identity identity;
  std::string request_id;
  bool ignore_conditions = false;  // a fault: a store without conditional writes
  ListFault list_fault;

  const std::string& header_or_empty(std::string_view name) const {
    static const std::string empty;
    const std::string* value = request.headers.Find(name);
    return value ? *value : empty;
  }
  std::string owner() const { return identity.user ? identity.user->name : "anonymous"; }
  S3Result<std::shared_ptr<Bucket>> OpenBucket() const;
};

using Answer = S3Result<Response>;

}  // namespace sqlite_s3::server

#pragma once
// The operations, one function each, grouped by file. Those that take no body return their answer;
// the others return the exchange that will. Thread-safe: all state is in the call and in storage.

#include <memory>
#include <string>

#include "server/http/message.h"
#include "server/s3/call.h"
#include "server/storage/object.h"

namespace sqlite_s3::server {

using SharedCall = std::shared_ptr<Call>;

// bucket_operations.cc
Answer ListBuckets(Call& call);
Answer CreateBucket(Call& call, const std::string& document);
Answer DeleteBucket(Call& call);
Answer HeadBucket(Call& call);
Answer GetBucketLocation(Call& call);
Answer GetBucketVersioning(Call& call);
Answer PutBucketVersioning(Call& call, const std::string& document);
Answer GetBucketSetting(Call& call);
Answer DeleteBucketSetting(Call& call);

// list_operations.cc
Answer ListObjects(Call& call);
Answer ListObjectsV2(Call& call);
Answer ListObjectVersions(Call& call);

// object_reads.cc
Answer GetObject(Call& call);
Answer HeadObject(Call& call);
Answer GetObjectAttributes(Call& call);

// object_writes.cc
std::unique_ptr<Exchange> PutObject(SharedCall call);
std::unique_ptr<Exchange> UploadPart(SharedCall call);
void AddPutHeaders(const PutResult& result, Headers& headers);

// delete_operations.cc
Answer DeleteObject(Call& call);
Answer DeleteObjects(Call& call, const std::string& document);

// copy_operations.cc
Answer CopyObject(Call& call);
Answer UploadPartCopy(Call& call);

// multipart_operations.cc
Answer CreateMultipartUpload(Call& call);
Answer CompleteMultipartUpload(Call& call, const std::string& document);
Answer AbortMultipartUpload(Call& call);
Answer ListParts(Call& call);
Answer ListMultipartUploads(Call& call);
// 1..10000, or InvalidArgument.
S3Result<int> ReadPartNumber(const Call& call);

// tagging_operations.cc
Answer GetTagging(Call& call);
Answer PutTagging(Call& call, const std::string& document);
Answer DeleteTagging(Call& call);

// acl_operations.cc
Answer GetAcl(Call& call);
Answer PutAcl(Call& call, const std::string& document);

// cors.cc
Answer GetBucketCors(Call& call);
Answer PutBucketCors(Call& call, const std::string& document);
Answer DeleteBucketCors(Call& call);
Answer Preflight(Call& call);
// What a browser wants to see beside the answer, when the bucket's rules allow its origin.
void AddCorsHeaders(const Call& call, Response& response);

// post_form.cc
std::unique_ptr<Exchange> PostObject(SharedCall call);

}  // namespace sqlite_s3::server

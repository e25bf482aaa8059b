#pragma once
// Multipart uploads.

#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/store/object_store.h"
#include "common/store/s3_client.h"

namespace sqlite_s3 {

// Uploads `body` as `key` in parts, several at once, as the client's address says. After an error
// the upload is aborted, if the store can be reached for it: what cannot be aborted costs storage
// until it is found (`sqlite-s3-restore doctor --abort-uploads`, or the bucket's lifecycle rules).
// `part_headers` (a customer's key) go with each part and the last request, `headers` with the
// first.
Result<PutResult> UploadInParts(S3Client& client, const std::string& key, ByteSpan body,
                                const HttpHeaders& headers, const HttpHeaders& part_headers);

// Uploads under the prefix that began before `before_us` (by the store's clock), at most `limit`.
struct OrphanedUpload {
  std::string key;
  std::string id;
  int64_t initiated_us = 0;
};
Result<std::vector<OrphanedUpload>> ListUploads(S3Client& client, std::string_view prefix,
                                                int64_t before_us, size_t limit);
Status AbortUpload(S3Client& client, const std::string& key, const std::string& id);

}  // namespace sqlite_s3

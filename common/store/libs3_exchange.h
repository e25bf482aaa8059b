#pragma once
// Libs3Exchange: one request to libs3 and its answer. The only includer of <libs3.h>.

#include <libs3.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/store/object_store.h"

namespace sqlite_s3 {

// What the callbacks of one request fill. They are called from C: nothing is thrown through them.
struct Libs3Exchange {
  S3Status status = S3StatusInternalError;
  std::string message;
  uint64_t length = 0;
  int64_t modified_s = 0;
  ByteSpan upload;
  Bytes body;
  uint64_t max_bytes = 0;
  bool too_large = false;
  std::vector<ObjectInfo> listed;
  bool truncated = false;

  // OK, or what the answer means; `what` was asked for.
  Status ToStatus(const std::string& what) const;

  // `user` is a Libs3Exchange.
  static const S3ResponseHandler kResponse;  // of OnProperties and OnComplete
  static S3Status OnProperties(const S3ResponseProperties* properties, void* user);
  static void OnComplete(S3Status status, const S3ErrorDetails* details, void* user);
  static S3Status OnData(int size, const char* data, void* user);
  static int OnUpload(int size, char* buffer, void* user);
  static S3Status OnListed(int truncated, const char* marker, int count,
                           const S3ListBucketContent* contents, int prefix_count,
                           const char** prefixes, void* user);
};

}  // namespace sqlite_s3

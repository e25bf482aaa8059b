#pragma once
// The documents S3 answers with. They come from the network: size and depth are bounded, no
// external entity is ever read. The only file that includes <pugixml.hpp> is s3_xml.cc. Pure;
// thread-safe.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"

namespace sqlite_s3 {

inline constexpr uint64_t kMaxXmlBytes = 16 << 20;  // 1000 keys of 1 KiB, percent-encoded, fit

struct S3ErrorDocument {
  std::string code;
  std::string message;
  std::string region;  // where the bucket is, when the error is about that
};
// False when `body` is no <Error> document (nor STS's <ErrorResponse>).
bool ParseErrorDocument(ByteSpan body, S3ErrorDocument& out);

struct S3ListedObject {
  std::string key;  // decoded
  uint64_t size_bytes = 0;
  int64_t modified_us = 0;
};
struct S3ListPage {
  std::vector<S3ListedObject> objects;
  bool truncated = false;
  std::string continuation_token;
};
// kCorruption when it is no ListBucketResult, or one with impossible values.
Result<S3ListPage> ParseListPage(ByteSpan body);

// kCorruption without an UploadId.
Result<std::string> ParseInitiatedUpload(ByteSpan body);

struct S3Upload {
  std::string key;
  std::string id;
  int64_t initiated_us = 0;
};
struct S3UploadPage {
  std::vector<S3Upload> uploads;
  bool truncated = false;
  std::string next_key, next_id;
};
Result<S3UploadPage> ParseUploadPage(ByteSpan body);

// The text of the only element with that path below the root, "AssumeRoleResult/Credentials/...";
// kCorruption when the document or the element is missing.
Result<std::string> ParseElementText(ByteSpan body, const char* path);

struct S3DeleteError {
  std::string key;
  std::string code;
  std::string message;
};
// The errors of a DeleteResult. kCorruption when it is none.
Result<std::vector<S3DeleteError>> ParseDeleteErrors(ByteSpan body);
// Asks for errors only in the answer. REQUIRES: keys without control characters.
std::string FormatDelete(const std::vector<std::string>& keys);

struct S3CompletedPart {
  std::string etag;
  std::string checksum;  // base64; empty: none
};
// Of parts 1, 2, ...; `algorithm` names their checksums: "CRC32C".
std::string FormatCompleteUpload(const std::vector<S3CompletedPart>& parts,
                                 std::string_view algorithm);

}  // namespace sqlite_s3

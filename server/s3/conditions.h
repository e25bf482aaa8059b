#pragma once
// ETags, conditions and ranges: which requests are about this object as it is. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/auth/s3_error.h"
#include "server/http/message.h"
#include "server/s3/call.h"
#include "server/storage/object.h"

namespace sqlite_s3::server {

std::string Quoted(const std::string& etag);
// Without quotes and weak prefix; a list keeps its first. "*" stays.
std::string StripEtag(std::string_view text);
// True when the header's list of ETags has `etag` or is "*".
bool EtagListed(const std::string& header, const std::string& etag);
WriteConditions ReadWriteConditions(const Call& call);
// RFC 9110 section 13.2.2's order. 304 or 412 with the object's ETag, or nothing.
std::optional<S3Error> CheckReadConditions(const Headers& headers, const ObjectInfo& info);

struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;
};
// Nothing: no range, or one to be ignored (malformed, several): the whole object. InvalidRange when
// it lies outside.
S3Result<std::optional<ByteRange>> ParseRange(const std::string& header, uint64_t size_bytes);

}  // namespace sqlite_s3::server

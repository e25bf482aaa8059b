#pragma once
// Between headers and an object's attributes, both ways; conditions and ranges. Pure.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/auth/s3_error.h"
#include "server/http/message.h"
#include "server/s3/call.h"
#include "server/storage/object.h"

namespace sqlite_s3::server {

// What a PUT, copy or upload says about its object. Refuses what this server does not do rather
// than pretend: encryption, object lock, unknown storage classes.
S3Result<ObjectAttributes> ReadAttributes(const Call& call);
// "k1=v1&k2=v2", percent-encoded, or InvalidTag.
S3Result<NameValues> ParseTagHeader(const std::string& text);
// At most `limit` tags, their lengths, no key twice.
std::optional<S3Error> CheckTags(const NameValues& tags, size_t limit);

// Type, metadata, ETag, Last-Modified and the rest of what GET and HEAD say.
void AddObjectHeaders(const ObjectInfo& info, Headers& headers);
void AddChecksum(const Checksum& checksum, Headers& headers);
// response-content-type and its like; anonymous requests may not.
std::optional<S3Error> ApplyOverrides(const Call& call, Headers& headers);

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

// A whole number of 0..max; `fallback` when empty. InvalidArgument otherwise.
S3Result<int> ParseCount(const std::string& text, const char* name, int fallback, int max);
std::string Quoted(const std::string& etag);
// How documents spell keys: percent-encoded with encoding-type=url.
std::string EncodeForList(const std::string& text, bool url);
// From `encoding-type`; InvalidArgument unless "url" or absent.
S3Result<bool> ReadEncodingType(const Query& query);
bool IsValidUtf8(std::string_view text);

}  // namespace sqlite_s3::server

#pragma once
// Between headers and an object's attributes, both ways. Pure.

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

// A whole number of 0..max; `fallback` when empty. InvalidArgument otherwise.
S3Result<int> ParseCount(const std::string& text, const char* name, int fallback, int max);
// How documents spell keys: percent-encoded with encoding-type=url.
std::string EncodeForList(const std::string& text, bool url);
// From `encoding-type`; InvalidArgument unless "url" or absent.
S3Result<bool> ReadEncodingType(const Query& query);
bool IsValidUtf8(std::string_view text);

}  // namespace sqlite_s3::server

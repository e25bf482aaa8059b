#include "server/s3/object_headers.h"
#include "common/base/ascii.h"
#include "server/s3/acl.h"
#include "server/s3/conditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "common/store/sigv4.h"
#include "server/s3/verified_body.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

constexpr std::string_view kMetaPrefix = "x-amz-meta-";
constexpr size_t kMaxMetadataBytes = 2048;

constexpr std::string_view kStorageClasses[] = {
    "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA",     "INTELLIGENT_TIERING",
    "GLACIER",  "DEEP_ARCHIVE",       "GLACIER_IR",  "EXPRESS_ONEZONE"};

std::optional<S3Error> RefuseUnsupported(const Headers& headers) {
  for (const char* name :
       {"x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date",
        "x-amz-object-lock-legal-hold", "x-amz-write-offset-bytes"}) {
    if (headers.Has(name)) {
      return MakeError("NotImplemented", std::string("This server does not do what the header ") +
                                             name + " asks for.")
          .With("Header", name);
    }
  }
  return std::nullopt;
}

// What aws-chunked was is over when the body is stored.
std::string ContentEncoding(const std::string& header) {
  std::string out;
  size_t begin = 0;
  while (begin <= header.size()) {
    const size_t end = std::min(header.find(',', begin), header.size());
    const std::string_view item = TrimSpaces(std::string_view(header).substr(begin, end - begin));
    if (!item.empty() && !EqualsIgnoringCase(item, "aws-chunked")) {
      out += out.empty() ? "" : ",";
      out += item;
    }
    begin = end + 1;
  }
  return out;
}

void AddIf(Headers& headers, const char* name, const std::string& value) {
  if (!value.empty()) {
    headers.Add(name, value);
  }
}

}  // namespace

S3Result<ObjectAttributes> ReadAttributes(const Call& call) {
  const Headers& headers = call.request.headers;
  if (std::optional<S3Error> error = RefuseUnsupported(headers)) {
    return *error;
  }
  ObjectAttributes out;
  out.content_type = headers.Get("content-type");
  out.content_encoding = ContentEncoding(headers.Get("content-encoding"));
  out.content_language = headers.Get("content-language");
  out.content_disposition = headers.Get("content-disposition");
  out.cache_control = headers.Get("cache-control");
  out.expires = headers.Get("expires");
  out.redirect = headers.Get("x-amz-website-redirect-location");
  out.owner = call.owner();
  ASSIGN_OR_RETURN(out.acl, ReadCannedAcl(call));
  out.storage_class = headers.Get("x-amz-storage-class");
  if (!out.storage_class.empty() &&
      std::find(std::begin(kStorageClasses), std::end(kStorageClasses), out.storage_class) ==
          std::end(kStorageClasses)) {
    return MakeError("InvalidStorageClass");
  }
  if (out.storage_class == "STANDARD") {
    out.storage_class.clear();
  }
  size_t bytes = 0;
  for (const auto& [name, value] : headers.items()) {
    const std::string lower = ToLower(name);
    if (lower.rfind(kMetaPrefix, 0) != 0) {
      continue;
    }
    const std::string short_name = lower.substr(kMetaPrefix.size());
    bytes += short_name.size() + value.size();
    const auto same = std::find_if(out.metadata.begin(), out.metadata.end(),
                                   [&](const auto& item) { return item.first == short_name; });
    if (same != out.metadata.end()) {
      same->second += ',';
      same->second += value;
    } else {
      out.metadata.emplace_back(short_name, value);
    }
  }
  if (bytes > kMaxMetadataBytes) {
    return MakeError("MetadataTooLarge")
        .With("Size", fmt::format("{}", bytes))
        .With("MaxSizeAllowed", fmt::format("{}", kMaxMetadataBytes));
  }
  if (const std::string* tags = headers.Find("x-amz-tagging")) {
    ASSIGN_OR_RETURN(out.tags, ParseTagHeader(*tags));
  }
  return out;
}

S3Result<NameValues> ParseTagHeader(const std::string& text) {
  const std::optional<Query> parsed = Query::Parse(text);
  if (!parsed) {
    return MakeError("InvalidArgument",
                     "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL "
                     "query parameters without tag name duplicates.");
  }
  NameValues tags = parsed->items();
  if (std::optional<S3Error> error = CheckTags(tags, 10)) {
    return *error;
  }
  return tags;
}

std::optional<S3Error> CheckTags(const NameValues& tags, size_t limit) {
  if (tags.size() > limit) {
    return limit == 10 ? MakeError("BadRequest", "Object tags cannot be greater than 10")

                       : MakeError("InvalidTag", "There are too many tags.");
  }
  std::set<std::string> keys;
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > 128 * 4 || !IsValidUtf8(key) || key.rfind("aws:", 0) == 0) {
      return MakeError("InvalidTag", "The TagKey you have provided is invalid");
    }
    size_t characters = 0;
    for (const char c : key) {
      characters += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }
    if (characters > 128) {
      return MakeError("InvalidTag", "The TagKey you have provided is invalid");
    }
    characters = 0;
    for (const char c : value) {
      characters += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }
    if (characters > 256 || !IsValidUtf8(value)) {
      return MakeError("InvalidTag", "The TagValue you have provided is invalid");
    }
    if (!keys.insert(key).second) {
      return MakeError("InvalidTag", "Cannot provide multiple Tags with the same key");
    }
  }
  return std::nullopt;
}

void AddChecksum(const Checksum& checksum, Headers& headers) {
  if (checksum.value.empty()) {
    return;
  }
  headers.Set(ChecksumHeaderName(checksum.algorithm), checksum.value);
  if (!checksum.type.empty()) {
    headers.Set("x-amz-checksum-type", checksum.type);
  }
}

void AddObjectHeaders(const ObjectInfo& info, Headers& headers) {
  const ObjectAttributes& a = info.attributes;
  headers.Add("ETag", Quoted(info.etag));
  headers.Add("Last-Modified", FormatHttpTime(info.modified_us));
  headers.Add("Accept-Ranges", "bytes");
  headers.Add("Content-Type", a.content_type.empty() ? "binary/octet-stream" : a.content_type);
  AddIf(headers, "Content-Encoding", a.content_encoding);
  AddIf(headers, "Content-Language", a.content_language);
  AddIf(headers, "Content-Disposition", a.content_disposition);
  AddIf(headers, "Cache-Control", a.cache_control);
  AddIf(headers, "Expires", a.expires);
  AddIf(headers, "x-amz-website-redirect-location", a.redirect);
  AddIf(headers, "x-amz-storage-class", a.storage_class);
  for (const auto& [name, value] : a.metadata) {
    headers.Add(std::string(kMetaPrefix) + name, value);
  }
  if (!a.tags.empty()) {
    headers.Add("x-amz-tagging-count", fmt::format("{}", a.tags.size()));
  }
}

std::optional<S3Error> ApplyOverrides(const Call& call, Headers& headers) {
  static constexpr std::pair<std::string_view, const char*> kOverrides[] = {
      {"response-content-type", "Content-Type"},
      {"response-content-language", "Content-Language"},
      {"response-expires", "Expires"},
      {"response-cache-control", "Cache-Control"},
      {"response-content-disposition", "Content-Disposition"},
      {"response-content-encoding", "Content-Encoding"}};
  for (const auto& [parameter, header] : kOverrides) {
    const std::string* value = call.query.Find(parameter);
    if (!value) {
      continue;
    }
    if (!call.identity.user && !call.options->allow_anonymous) {
      return MakeError("InvalidRequest",
                       "Request specific response headers cannot be used for anonymous GET "
                       "requests.");
    }
    if (std::any_of(value->begin(), value->end(),
                    [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
      return MakeError("InvalidArgument", "A header cannot hold control characters.");
    }
    headers.Set(header, *value);
  }
  return std::nullopt;
}

S3Result<int> ParseCount(const std::string& text, const char* name, int fallback, int max) {
  if (text.empty()) {
    return fallback;
  }
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range && text.front() != '-') {
    value = max;
  } else if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    return MakeError("InvalidArgument", fmt::format("Provided {} not an integer or within integer "
                                                    "range",
                                                    name))
        .With("ArgumentName", name)
        .With("ArgumentValue", text);
  }
  return std::min(value, max);
}

std::string EncodeForList(const std::string& text, bool url) {
  return url ? UriEncode(text, false) : text;
}

S3Result<bool> ReadEncodingType(const Query& query) {
  const std::string* type = query.Find("encoding-type");
  if (!type || type->empty()) {
    return false;
  }
  if (*type != "url") {
    return MakeError("InvalidArgument", "Invalid Encoding Method specified in Request")
        .With("ArgumentName", "encoding-type")
        .With("ArgumentValue", *type);
  }
  return true;
}

bool IsValidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char lead = byte(i);
    const size_t more = lead < 0x80   ? 0
                        : lead < 0xc2 ? 9
                        : lead < 0xe0 ? 1
                        : lead < 0xf0 ? 2
                        : lead < 0xf5 ? 3
                                      : 9;
    if (more == 9 || i + more >= text.size()) {
      return false;
    }
    for (size_t k = 1; k <= more; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) {
        return false;
      }
    }
    if ((lead == 0xe0 && byte(i + 1) < 0xa0) || (lead == 0xed && byte(i + 1) > 0x9f) ||
        (lead == 0xf0 && byte(i + 1) < 0x90) || (lead == 0xf4 && byte(i + 1) > 0x8f)) {
      return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace sqlite_s3::server

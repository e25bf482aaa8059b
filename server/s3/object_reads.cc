#include <fmt/format.h>

#include <algorithm>

#include "common/base/ascii.h"
#include "server/s3/answers.h"
#include "server/s3/conditions.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

constexpr uint64_t kInMemoryBytes = 64 * 1024;

class ReaderStream : public BodyStream {
 public:
  explicit ReaderStream(std::unique_ptr<BodyReader> reader) : reader_(std::move(reader)) {}
  Result<size_t> Read(std::span<uint8_t> out) override {
    StorageResult<size_t> n = reader_->Read(out);
    if (!n.ok()) {
      return n.status().status();
    }
    return *n;
  }

 private:
  std::unique_ptr<BodyReader> reader_;
};

// What GET and HEAD have in common: which bytes of which version, and the headers.
struct Selected {
  Response response;
  uint64_t offset = 0;
  uint64_t length = 0;
};

ReadOptions ReadOptionsOf(const Call& call) {
  ReadOptions options;
  if (const std::string* version = call.query.Find("versionId")) {
    options.version_id = *version;
  }
  options.with_parts = call.query.Has("partNumber");
  return options;
}

std::optional<S3Error> SelectPart(const Call& call, const ObjectInfo& info, Selected& out) {
  ASSIGN_OR_RETURN(const int number,
                   ParseCount(call.query.Get("partNumber"), "partNumber", 0, kMaxPartNumber + 1));
  if (number < 1 || number > kMaxPartNumber) {
    return MakeError("InvalidArgument",
                     "Part number must be an integer between 1 and 10000, "
                     "inclusive");
  }
  if (info.parts.empty()) {
    if (number != 1) {
      return MakeError("InvalidPartNumber");
    }
  } else {
    out.length = 0;
    bool found = false;
    uint64_t offset = 0;
    for (size_t i = 0; i < info.parts.size(); ++i) {
      if (i + 1 == static_cast<size_t>(number)) {
        out.offset = offset;
        out.length = info.parts[i].size_bytes;
        found = true;
      }
      offset += info.parts[i].size_bytes;
    }
    if (!found) {
      return MakeError("InvalidPartNumber");
    }
    out.response.headers.Add("x-amz-mp-parts-count", fmt::format("{}", info.parts.size()));
  }
  if (info.size_bytes > 0) {
    out.response.status = 206;
    out.response.headers.Add(
        "Content-Range",
        fmt::format("bytes {}-{}/{}", out.offset, out.offset + out.length - 1, info.size_bytes));
  }
  return std::nullopt;
}

S3Result<Selected> Select(const Call& call, const ObjectInfo& info) {
  const Headers& headers = call.request.headers;
  if (std::optional<S3Error> failed = CheckReadConditions(headers, info)) {
    return *failed;
  }
  Selected out;
  out.length = info.size_bytes;
  const std::string* range = headers.Find("range");
  if (call.query.Has("partNumber")) {
    if (range) {
      return MakeError("InvalidRequest",
                       "Cannot specify both Range header and partNumber query parameter");
    }
    if (std::optional<S3Error> error = SelectPart(call, info, out)) {
      return *error;
    }
  } else if (range) {
    const std::string* if_range = headers.Find("if-range");
    if (!if_range || StripEtag(*if_range) == info.etag) {
      ASSIGN_OR_RETURN(const std::optional<ByteRange> bytes, ParseRange(*range, info.size_bytes));
      if (bytes) {
        out.offset = bytes->offset;
        out.length = bytes->length;
        out.response.status = 206;
        out.response.headers.Add("Content-Range",
                                 fmt::format("bytes {}-{}/{}", bytes->offset,
                                             bytes->offset + bytes->length - 1, info.size_bytes));
      }
    }
  }
  AddObjectHeaders(info, out.response.headers);
  if (info.version_id != kNullVersion || call.query.Has("versionId")) {
    out.response.headers.Add("x-amz-version-id", info.version_id);
  }
  // The checksum is of the whole object: beside a part of it clients would check the wrong bytes.
  if (EqualsIgnoringCase(headers.Get("x-amz-checksum-mode"), "ENABLED") &&
      out.response.status == 200) {
    AddChecksum(info.checksum, out.response.headers);
  }
  if (std::optional<S3Error> error = ApplyOverrides(call, out.response.headers)) {
    return *error;
  }
  return out;
}

}  // namespace

Answer GetObject(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  StorageResult<OpenedObject> opened = bucket->Open(call.key, ReadOptionsOf(call));
  if (!opened.ok()) {
    return FromStorage(opened.status()).With("Key", call.key);
  }
  ASSIGN_OR_RETURN(Selected selected, Select(call, opened->info));
  Response response = std::move(selected.response);
  opened->body->SetRange(selected.offset, selected.length);
  if (selected.length > kInMemoryBytes) {
    response.stream = std::make_unique<ReaderStream>(std::move(opened->body));
    response.stream_size = selected.length;
    return response;
  }
  response.body.reserve(static_cast<size_t>(selected.length));
  for (;;) {
    StorageResult<ByteSpan> next = opened->body->Next();
    if (!next.ok()) {
      return FromStorage(next.status());
    }
    if (next->empty()) {
      break;
    }
    response.body += AsText(*next);
  }
  if (response.body.size() != selected.length) {
    return MakeError("InternalError", "The object's bytes are not all there.");
  }
  return response;
}

Answer HeadObject(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  StorageResult<ObjectInfo> info = bucket->Head(call.key, ReadOptionsOf(call));
  if (!info.ok()) {
    return FromStorage(info.status()).With("Key", call.key);
  }
  ASSIGN_OR_RETURN(Selected selected, Select(call, *info));
  selected.response.head_content_length = selected.length;
  return std::move(selected.response);
}

Answer GetObjectAttributes(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  const std::string* wanted = call.request.headers.Find("x-amz-object-attributes");
  if (!wanted) {
    return MakeError("InvalidArgument", "The x-amz-object-attributes header is needed.");
  }
  const auto wants = [&](std::string_view name) {
    return fmt::format(",{},", *wanted).find(fmt::format(",{},", name)) != std::string::npos;
  };
  ReadOptions options = ReadOptionsOf(call);
  options.with_parts = true;
  StorageResult<ObjectInfo> found = bucket->Head(call.key, options);
  if (!found.ok()) {
    return FromStorage(found.status()).With("Key", call.key);
  }
  const ObjectInfo& info = *found;
  XmlDocument document("GetObjectAttributesResponse");
  if (wants("ETag")) {
    document.Add("ETag", info.etag);
  }
  if (wants("Checksum") && !info.checksum.value.empty()) {
    pugi::xml_node node = document.root().append_child("Checksum");
    XmlDocument::AddTo(node, ("Checksum" + info.checksum.algorithm).c_str(), info.checksum.value);
    XmlDocument::AddTo(node, "ChecksumType", info.checksum.type);
  }
  if (wants("ObjectParts") && !info.parts.empty()) {
    ASSIGN_OR_RETURN(const int max_parts,
                     ParseCount(call.request.headers.Get("x-amz-max-parts"), "max-parts",
                                kMaxListEntries, kMaxListEntries));
    ASSIGN_OR_RETURN(const int marker,
                     ParseCount(call.request.headers.Get("x-amz-part-number-marker"),
                                "part-number-marker", 0, kMaxPartNumber));
    pugi::xml_node node = document.root().append_child("ObjectParts");
    XmlDocument::AddTo(node, "PartsCount", fmt::format("{}", info.parts.size()));
    XmlDocument::AddTo(node, "PartNumberMarker", fmt::format("{}", marker));
    XmlDocument::AddTo(node, "MaxParts", fmt::format("{}", max_parts));
    int count = 0;
    int last = marker;
    bool truncated = false;
    for (const PartInfo& part : info.parts) {
      if (part.number <= marker) {
        continue;
      }
      if (count == max_parts) {
        truncated = true;
        break;
      }
      ++count;
      last = part.number;
      if (part.checksum.value.empty()) {
        continue;  // S3 lists parts only of objects with checksums for each
      }
      pugi::xml_node child = node.append_child("Part");
      XmlDocument::AddTo(child, "PartNumber", fmt::format("{}", part.number));
      XmlDocument::AddTo(child, "Size", fmt::format("{}", part.size_bytes));
      XmlDocument::AddTo(child, ("Checksum" + part.checksum.algorithm).c_str(),
                         part.checksum.value);
    }
    XmlDocument::AddTo(node, "NextPartNumberMarker", fmt::format("{}", last));
    XmlDocument::AddTo(node, "IsTruncated", truncated ? "true" : "false");
  }
  if (wants("StorageClass")) {
    document.Add("StorageClass", info.attributes.storage_class.empty()
                                     ? "STANDARD"
                                     : info.attributes.storage_class);
  }
  if (wants("ObjectSize")) {
    document.Add("ObjectSize", fmt::format("{}", info.size_bytes));
  }
  Response response = document.Answer();
  response.headers.Add("Last-Modified", FormatHttpTime(info.modified_us));
  if (info.version_id != kNullVersion) {
    response.headers.Add("x-amz-version-id", info.version_id);
  }
  return response;
}

}  // namespace sqlite_s3::server

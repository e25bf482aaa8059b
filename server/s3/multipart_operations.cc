#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "common/base/ascii.h"
#include "server/auth/digest.h"
#include "server/s3/answers.h"
#include "server/s3/conditions.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/verified_body.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

void AddPerson(pugi::xml_node parent, const char* name, const std::string& id) {
  pugi::xml_node node = parent.append_child(name);
  XmlDocument::AddTo(node, "ID", id);
  XmlDocument::AddTo(node, "DisplayName", id);
}

std::string ClassOf(const ObjectAttributes& attributes) {
  return attributes.storage_class.empty() ? "STANDARD" : attributes.storage_class;
}

S3Result<std::vector<CompletedPart>> ReadParts(const pugi::xml_node& root) {
  std::vector<CompletedPart> parts;
  for (const pugi::xml_node& node : root.children("Part")) {
    CompletedPart part;
    const std::string number = ChildText(node, "PartNumber");
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), part.number);
    if (error != std::errc() || end != number.data() + number.size() || !node.child("ETag") ||
        parts.size() >= static_cast<size_t>(kMaxPartNumber)) {
      return MakeError("MalformedXML");
    }
    part.etag = StripEtag(ChildText(node, "ETag"));
    for (const DigestKind kind : {DigestKind::kCrc32, DigestKind::kCrc32c, DigestKind::kCrc64Nvme,
                                  DigestKind::kSha1, DigestKind::kSha256}) {
      const std::string name = ChecksumAlgorithmName(kind);
      const std::string value = ChildText(node, ("Checksum" + name).c_str());
      if (!value.empty()) {
        part.checksum = {name, value, "FULL_OBJECT"};
      }
    }
    parts.push_back(std::move(part));
  }
  if (parts.empty()) {
    return MakeError("MalformedXML");
  }
  return parts;
}

S3Result<std::vector<PartInfo>> AllParts(Bucket& bucket, const std::string& key,
                                         const std::string& upload_id) {
  std::vector<PartInfo> parts;
  int marker = 0;
  for (;;) {
    StorageResult<ListPartsResult> page = bucket.ListParts(key, upload_id, marker, kMaxListEntries);
    if (!page.ok()) {
      return FromStorage(page.status()).With("UploadId", upload_id);
    }
    parts.insert(parts.end(), page->parts.begin(), page->parts.end());
    if (!page->is_truncated) {
      return parts;
    }
    marker = page->next_part_number_marker;
  }
}

// The whole object's checksum out of its parts': combined when CRCs allow it and the upload wants
// it, else the digest of the digests with their number. Empty when a part has none.
S3Result<Checksum> CombineChecksums(const UploadInfo& upload,
                                    const std::vector<CompletedPart>& wanted,
                                    const std::vector<PartInfo>& parts) {
  const auto kind = ParseChecksumAlgorithm(upload.checksum_algorithm);
  if (!kind) {
    return Checksum{};
  }
  const bool full = upload.checksum_type == "FULL_OBJECT";
  const std::unique_ptr<StreamingDigest> digest = NewDigest(*kind);
  Bytes combined;
  for (const CompletedPart& part : wanted) {
    const auto found = std::find_if(parts.begin(), parts.end(), [&](const PartInfo& info) {
      return info.number == part.number;
    });
    const std::optional<Bytes> value =
        found == parts.end() ? std::nullopt : DecodeBase64(found->checksum.value);
    if (!value || value->size() != DigestSize(*kind)) {
      return Checksum{};  // Complete says what is wrong with that part
    }
    digest->Update(*value);
    if (full) {
      combined = combined.empty() ? *value : CombineCrc(*kind, combined, *value, found->size_bytes);
    }
  }
  if (full) {
    return Checksum{upload.checksum_algorithm, EncodeBase64(combined), "FULL_OBJECT"};
  }
  return Checksum{upload.checksum_algorithm,
                  fmt::format("{}-{}", EncodeBase64(digest->Finish()), wanted.size()), "COMPOSITE"};
}

// What the client says that the whole object's checksum is.
std::optional<S3Error> CheckClaimedChecksum(const Call& call, const Checksum& computed) {
  const std::string* type = call.request.headers.Find("x-amz-checksum-type");
  if (type && !computed.type.empty() && *type != computed.type) {
    return MakeError("InvalidRequest", "The upload was created with another checksum type.");
  }
  for (const auto& [name, value] : call.request.headers.items()) {
    const std::string lower = ToLower(name);
    if (computed.algorithm.empty() || lower != ChecksumHeaderName(computed.algorithm)) {
      continue;
    }
    // A composite one may come without its number of parts.
    if (value != computed.value && value != computed.value.substr(0, computed.value.rfind('-'))) {
      return MakeError("BadDigest", "The " + computed.algorithm +
                                        " you specified did not match the calculated checksum.");
    }
  }
  return std::nullopt;
}

}  // namespace

S3Result<int> ReadPartNumber(const Call& call) {
  const std::string text = call.query.Get("partNumber");
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1 ||
      number > kMaxPartNumber) {
    return MakeError("InvalidArgument",
                     "Part number must be an integer between 1 and 10000, inclusive")
        .With("ArgumentName", "partNumber")
        .With("ArgumentValue", text);
  }
  return number;
}

Answer CreateMultipartUpload(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  CreateUploadRequest request;
  request.key = call.key;
  ASSIGN_OR_RETURN(request.attributes, ReadAttributes(call));
  const std::string algorithm = call.request.headers.Get("x-amz-checksum-algorithm");
  const std::string type = call.request.headers.Get("x-amz-checksum-type");
  if (!algorithm.empty()) {
    const auto kind = ParseChecksumAlgorithm(algorithm);
    if (!kind) {
      return MakeError("InvalidRequest", "Checksum algorithm provided is unsupported.");
    }
    request.checksum_algorithm = ChecksumAlgorithmName(*kind);
    request.checksum_type = !type.empty()                     ? type
                            : *kind == DigestKind::kCrc64Nvme ? "FULL_OBJECT"
                                                              : "COMPOSITE";
    const bool valid = request.checksum_type == "COMPOSITE"
                           ? *kind != DigestKind::kCrc64Nvme
                           : request.checksum_type == "FULL_OBJECT" && IsCrc(*kind);
    if (!valid) {
      return MakeError("InvalidRequest", "The " + type + " checksum type cannot be used with the " +
                                             algorithm + " checksum algorithm.");
    }
  } else if (!type.empty()) {
    return MakeError("InvalidRequest",
                     "The x-amz-checksum-type header can only be used with the "
                     "x-amz-checksum-algorithm header.");
  }
  StorageResult<UploadInfo> created = bucket->CreateUpload(request);
  if (!created.ok()) {
    return FromStorage(created.status());
  }
  XmlDocument document("InitiateMultipartUploadResult");
  document.Add("Bucket", call.bucket);
  document.Add("Key", call.key);
  document.Add("UploadId", created->upload_id);
  Response response = document.Answer();
  if (!request.checksum_algorithm.empty()) {
    response.headers.Add("x-amz-checksum-algorithm", request.checksum_algorithm);
    response.headers.Add("x-amz-checksum-type", request.checksum_type);
  }
  return response;
}

Answer CompleteMultipartUpload(Call& call, const std::string& document) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  CompleteRequest request;
  request.key = call.key;
  request.upload_id = call.query.Get("uploadId");
  StorageResult<UploadInfo> upload = bucket->GetUpload(call.key, request.upload_id);
  if (!upload.ok()) {
    return FromStorage(upload.status()).With("UploadId", request.upload_id);
  }
  const auto parsed = ParseDocument(document, "CompleteMultipartUpload");
  if (!parsed) {
    return MakeError("MalformedXML");
  }
  ASSIGN_OR_RETURN(request.parts, ReadParts(parsed->document_element()));
  request.conditions = ReadWriteConditions(call);
  if (const std::string* size = call.request.headers.Find("x-amz-mp-object-size")) {
    request.size_bytes = std::strtoull(size->c_str(), nullptr, 10);
  }
  if (!upload->checksum_algorithm.empty()) {
    ASSIGN_OR_RETURN(const std::vector<PartInfo> parts,
                     AllParts(*bucket, call.key, request.upload_id));
    ASSIGN_OR_RETURN(request.checksum, CombineChecksums(*upload, request.parts, parts));
    if (std::optional<S3Error> error = CheckClaimedChecksum(call, request.checksum)) {
      return *error;
    }
  }
  StorageResult<PutResult> completed = bucket->CompleteUpload(request);
  if (!completed.ok()) {
    return FromStorage(completed.status()).With("UploadId", request.upload_id);
  }
  XmlDocument answer("CompleteMultipartUploadResult");
  answer.Add("Location", fmt::format("{}://{}/{}/{}", call.request.tls ? "https" : "http",
                                     call.request.headers.Get("host"), call.bucket,
                                     UriEncode(call.key, false)));
  answer.Add("Bucket", call.bucket);
  answer.Add("Key", call.key);
  answer.Add("ETag", Quoted(completed->etag));
  if (!completed->checksum.value.empty()) {
    answer.Add(("Checksum" + completed->checksum.algorithm).c_str(), completed->checksum.value);
    answer.Add("ChecksumType", completed->checksum.type);
  }
  Response response = answer.Answer();
  if (completed->versioned) {
    response.headers.Add("x-amz-version-id", completed->version_id);
  }
  return response;
}

Answer AbortMultipartUpload(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  const std::string upload_id = call.query.Get("uploadId");
  const StorageStatus aborted = bucket->AbortUpload(call.key, upload_id);
  if (!aborted.ok()) {
    return FromStorage(aborted).With("UploadId", upload_id);
  }
  Response response;
  response.status = 204;
  return response;
}

Answer ListParts(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  ASSIGN_OR_RETURN(const bool url, ReadEncodingType(call.query));
  ASSIGN_OR_RETURN(const int max_parts, ParseCount(call.query.Get("max-parts"), "max-parts",
                                                   kMaxListEntries, kMaxListEntries));
  ASSIGN_OR_RETURN(const int marker, ParseCount(call.query.Get("part-number-marker"),
                                                "part-number-marker", 0, kMaxPartNumber));
  const std::string upload_id = call.query.Get("uploadId");
  StorageResult<ListPartsResult> listed = bucket->ListParts(call.key, upload_id, marker, max_parts);
  if (!listed.ok()) {
    return FromStorage(listed.status()).With("UploadId", upload_id);
  }
  const ListPartsResult& result = *listed;
  XmlDocument document("ListPartsResult");
  document.Add("Bucket", call.bucket);
  document.Add("Key", EncodeForList(call.key, url));
  document.Add("UploadId", upload_id);
  AddPerson(document.root(), "Initiator", result.upload.attributes.owner);
  AddPerson(document.root(), "Owner", result.upload.attributes.owner);
  document.Add("StorageClass", ClassOf(result.upload.attributes));
  document.Add("PartNumberMarker", fmt::format("{}", marker));
  document.Add("NextPartNumberMarker", fmt::format("{}", result.next_part_number_marker));
  document.Add("MaxParts", fmt::format("{}", max_parts));
  document.Add("IsTruncated", result.is_truncated ? "true" : "false");
  if (!result.upload.checksum_algorithm.empty()) {
    document.Add("ChecksumAlgorithm", result.upload.checksum_algorithm);
    document.Add("ChecksumType", result.upload.checksum_type);
  }
  for (const PartInfo& part : result.parts) {
    pugi::xml_node node = document.root().append_child("Part");
    XmlDocument::AddTo(node, "PartNumber", fmt::format("{}", part.number));
    XmlDocument::AddTo(node, "LastModified", FormatIsoMillis(part.modified_us));
    XmlDocument::AddTo(node, "ETag", Quoted(part.etag));
    XmlDocument::AddTo(node, "Size", fmt::format("{}", part.size_bytes));
    if (!part.checksum.value.empty()) {
      XmlDocument::AddTo(node, ("Checksum" + part.checksum.algorithm).c_str(), part.checksum.value);
    }
  }
  return document.Answer();
}

Answer ListMultipartUploads(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  ASSIGN_OR_RETURN(const bool url, ReadEncodingType(call.query));
  ListUploadsRequest request;
  ASSIGN_OR_RETURN(request.max_uploads, ParseCount(call.query.Get("max-uploads"), "max-uploads",
                                                   kMaxListEntries, kMaxListEntries));
  request.prefix = call.query.Get("prefix");
  request.delimiter = call.query.Get("delimiter");
  request.key_marker = call.query.Get("key-marker");
  request.upload_id_marker = call.query.Get("upload-id-marker");
  StorageResult<ListUploadsResult> listed = bucket->ListUploads(request);
  if (!listed.ok()) {
    return FromStorage(listed.status());
  }
  const ListUploadsResult& result = *listed;
  XmlDocument document("ListMultipartUploadsResult");
  document.Add("Bucket", call.bucket);
  document.Add("KeyMarker", EncodeForList(request.key_marker, url));
  document.Add("UploadIdMarker", request.upload_id_marker);
  document.Add("NextKeyMarker", EncodeForList(result.next_key_marker, url));
  document.Add("NextUploadIdMarker", result.next_upload_id_marker);
  document.Add("Prefix", EncodeForList(request.prefix, url));
  if (!request.delimiter.empty()) {
    document.Add("Delimiter", EncodeForList(request.delimiter, url));
  }
  if (url) {
    document.Add("EncodingType", "url");
  }
  document.Add("MaxUploads", fmt::format("{}", request.max_uploads));
  document.Add("IsTruncated", result.is_truncated ? "true" : "false");
  for (const UploadInfo& upload : result.uploads) {
    pugi::xml_node node = document.root().append_child("Upload");
    XmlDocument::AddTo(node, "Key", EncodeForList(upload.key, url));
    XmlDocument::AddTo(node, "UploadId", upload.upload_id);
    AddPerson(node, "Initiator", upload.attributes.owner);
    AddPerson(node, "Owner", upload.attributes.owner);
    XmlDocument::AddTo(node, "StorageClass", ClassOf(upload.attributes));
    XmlDocument::AddTo(node, "Initiated", FormatIsoMillis(upload.initiated_us));
  }
  for (const std::string& prefix : result.common_prefixes) {
    pugi::xml_node node = document.root().append_child("CommonPrefixes");
    XmlDocument::AddTo(node, "Prefix", EncodeForList(prefix, url));
  }
  return document.Answer();
}

}  // namespace sqlite_s3::server

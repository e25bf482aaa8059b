#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "server/auth/digest.h"
#include "server/s3/answers.h"
#include "server/s3/conditions.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

void AddOwner(pugi::xml_node node, const std::string& owner) {
  pugi::xml_node child = node.append_child("Owner");
  XmlDocument::AddTo(child, "ID", owner);
  XmlDocument::AddTo(child, "DisplayName", owner);
}

void AddContents(XmlDocument& document, const ListResult& result, bool url, bool with_owner) {
  for (const ObjectInfo& info : result.objects) {
    pugi::xml_node node = document.root().append_child("Contents");
    XmlDocument::AddTo(node, "Key", EncodeForList(info.key, url));
    XmlDocument::AddTo(node, "LastModified", FormatIsoMillis(info.modified_us));
    XmlDocument::AddTo(node, "ETag", Quoted(info.etag));
    if (!info.checksum.algorithm.empty()) {
      XmlDocument::AddTo(node, "ChecksumAlgorithm", info.checksum.algorithm);
      XmlDocument::AddTo(node, "ChecksumType", info.checksum.type);
    }
    XmlDocument::AddTo(node, "Size", fmt::format("{}", info.size_bytes));
    if (with_owner) {
      AddOwner(node, info.attributes.owner);
    }
    XmlDocument::AddTo(
        node, "StorageClass",
        info.attributes.storage_class.empty() ? "STANDARD" : info.attributes.storage_class);
  }
}

void AddPrefixes(XmlDocument& document, const std::vector<std::string>& prefixes, bool url) {
  for (const std::string& prefix : prefixes) {
    pugi::xml_node node = document.root().append_child("CommonPrefixes");
    XmlDocument::AddTo(node, "Prefix", EncodeForList(prefix, url));
  }
}

// A list as a store with a stale or unordered index would give it, when a test asked for that.
void Distort(const ListFault& fault, const std::string& start_after, ListResult& result) {
  if (fault.leave_out > 0) {
    // The newest of this page; later keys first among equals.
    std::vector<size_t> by_age(result.objects.size());
    std::iota(by_age.begin(), by_age.end(), size_t{0});
    std::stable_sort(by_age.begin(), by_age.end(), [&](size_t a, size_t b) {
      return result.objects[a].modified_us < result.objects[b].modified_us;
    });
    by_age.resize(by_age.size() - std::min(by_age.size(), fault.leave_out));
    std::sort(by_age.begin(), by_age.end());
    std::vector<ObjectInfo> seen;
    for (const size_t index : by_age) {
      seen.push_back(std::move(result.objects[index]));
    }
    result.objects = std::move(seen);
  }
  if (fault.reversed) {
    std::reverse(result.objects.begin(), result.objects.end());
  }
  if (fault.loops) {
    result.is_truncated = true;
    result.next_marker = start_after.empty() ? " " : start_after;
  }
}

struct ListQuery {
  ListRequest request;
  bool url = false;
};

S3Result<ListQuery> ReadListQuery(const Call& call) {
  ListQuery out;
  ASSIGN_OR_RETURN(out.url, ReadEncodingType(call.query));
  ASSIGN_OR_RETURN(out.request.max_keys, ParseCount(call.query.Get("max-keys"), "max-keys",
                                                    kMaxListEntries, kMaxListEntries));
  if (call.list_fault.max_keys > 0) {
    out.request.max_keys = std::min(out.request.max_keys, call.list_fault.max_keys);
  }
  out.request.prefix = call.query.Get("prefix");
  out.request.delimiter = call.query.Get("delimiter");
  return out;
}

S3Result<ListResult> RunList(const Call& call, const ListRequest& request) {
  S3Result<std::shared_ptr<Bucket>> bucket = call.OpenBucket();
  if (!bucket.ok()) {
    return bucket.error();
  }
  StorageResult<ListResult> listed = (*bucket)->List(request);
  if (!listed.ok()) {
    return FromStorage(listed.status());
  }
  Distort(call.list_fault, request.start_after, *listed);
  return std::move(listed).value();
}

}  // namespace

Answer ListObjects(Call& call) {
  ASSIGN_OR_RETURN(ListQuery list, ReadListQuery(call));
  const std::string marker = call.query.Get("marker");
  list.request.start_after = marker;
  ASSIGN_OR_RETURN(const ListResult result, RunList(call, list.request));
  XmlDocument document("ListBucketResult");
  document.Add("Name", call.bucket);
  document.Add("Prefix", EncodeForList(list.request.prefix, list.url));
  document.Add("Marker", EncodeForList(marker, list.url));
  // Only with a delimiter: without one the last key is the marker.
  if (result.is_truncated && !list.request.delimiter.empty()) {
    document.Add("NextMarker", EncodeForList(result.next_marker, list.url));
  }
  document.Add("MaxKeys", fmt::format("{}", list.request.max_keys));
  if (!list.request.delimiter.empty()) {
    document.Add("Delimiter", EncodeForList(list.request.delimiter, list.url));
  }
  if (list.url) {
    document.Add("EncodingType", "url");
  }
  document.Add("IsTruncated", result.is_truncated ? "true" : "false");
  AddContents(document, result, list.url, true);
  AddPrefixes(document, result.common_prefixes, list.url);
  return document.Answer();
}

Answer ListObjectsV2(Call& call) {
  ASSIGN_OR_RETURN(ListQuery list, ReadListQuery(call));
  const std::string start_after = call.query.Get("start-after");
  list.request.start_after = start_after;
  // A token is the marker itself: it needs no memory here and outlives the process.
  const std::string* token = call.query.Find("continuation-token");
  if (token) {
    const std::optional<Bytes> marker = DecodeBase64(*token);
    if (!marker || marker->empty()) {
      return MakeError("InvalidArgument", "The continuation token provided is incorrect")
          .With("ArgumentName", "continuation-token");
    }
    list.request.start_after = AsText(*marker);
  }
  ASSIGN_OR_RETURN(const ListResult result, RunList(call, list.request));
  XmlDocument document("ListBucketResult");
  document.Add("Name", call.bucket);
  document.Add("Prefix", EncodeForList(list.request.prefix, list.url));
  if (token) {
    document.Add("ContinuationToken", *token);
  }
  if (result.is_truncated) {
    document.Add("NextContinuationToken", EncodeBase64(AsBytes(result.next_marker)));
  }
  document.Add("KeyCount",
               fmt::format("{}", result.objects.size() + result.common_prefixes.size()));
  document.Add("MaxKeys", fmt::format("{}", list.request.max_keys));
  if (!list.request.delimiter.empty()) {
    document.Add("Delimiter", EncodeForList(list.request.delimiter, list.url));
  }
  if (list.url) {
    document.Add("EncodingType", "url");
  }
  if (!start_after.empty()) {
    document.Add("StartAfter", EncodeForList(start_after, list.url));
  }
  document.Add("IsTruncated", result.is_truncated ? "true" : "false");
  AddContents(document, result, list.url, call.query.Get("fetch-owner") == "true");
  AddPrefixes(document, result.common_prefixes, list.url);
  return document.Answer();
}

Answer ListObjectVersions(Call& call) {
  ASSIGN_OR_RETURN(const ListQuery list, ReadListQuery(call));
  ListVersionsRequest request;
  request.prefix = list.request.prefix;
  request.delimiter = list.request.delimiter;
  request.max_keys = list.request.max_keys;
  request.key_marker = call.query.Get("key-marker");
  request.version_id_marker = call.query.Get("version-id-marker");
  if (request.key_marker.empty() && !request.version_id_marker.empty()) {
    return MakeError("InvalidArgument",
                     "A version-id marker cannot be specified without a key marker.");
  }
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  StorageResult<ListVersionsResult> listed = bucket->ListVersions(request);
  if (!listed.ok()) {
    return FromStorage(listed.status());
  }
  const ListVersionsResult& result = *listed;
  XmlDocument document("ListVersionsResult");
  document.Add("Name", call.bucket);
  document.Add("Prefix", EncodeForList(request.prefix, list.url));
  document.Add("KeyMarker", EncodeForList(request.key_marker, list.url));
  document.Add("VersionIdMarker", request.version_id_marker);
  if (result.is_truncated) {
    document.Add("NextKeyMarker", EncodeForList(result.next_key_marker, list.url));
    document.Add("NextVersionIdMarker", result.next_version_id_marker);
  }
  document.Add("MaxKeys", fmt::format("{}", request.max_keys));
  if (!request.delimiter.empty()) {
    document.Add("Delimiter", EncodeForList(request.delimiter, list.url));
  }
  if (list.url) {
    document.Add("EncodingType", "url");
  }
  document.Add("IsTruncated", result.is_truncated ? "true" : "false");
  for (const ObjectInfo& info : result.versions) {
    pugi::xml_node node =
        document.root().append_child(info.is_delete_marker ? "DeleteMarker" : "Version");
    XmlDocument::AddTo(node, "Key", EncodeForList(info.key, list.url));
    XmlDocument::AddTo(node, "VersionId", info.version_id);
    XmlDocument::AddTo(node, "IsLatest", info.is_latest ? "true" : "false");
    XmlDocument::AddTo(node, "LastModified", FormatIsoMillis(info.modified_us));
    if (!info.is_delete_marker) {
      XmlDocument::AddTo(node, "ETag", Quoted(info.etag));
      XmlDocument::AddTo(node, "Size", fmt::format("{}", info.size_bytes));
      XmlDocument::AddTo(
          node, "StorageClass",
          info.attributes.storage_class.empty() ? "STANDARD" : info.attributes.storage_class);
    }
    AddOwner(node, info.attributes.owner);
  }
  AddPrefixes(document, result.common_prefixes, list.url);
  return document.Answer();
}

}  // namespace sqlite_s3::server

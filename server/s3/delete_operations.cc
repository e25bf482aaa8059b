#include <charconv>

#include "common/base/ascii.h"
#include "server/s3/answers.h"
#include "server/s3/conditions.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kMaxDeletes = 1000;

std::optional<uint64_t> ParseSize(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return text.empty() || error != std::errc() || end != text.data() + text.size()
             ? std::nullopt
             : std::optional<uint64_t>(value);
}

}  // namespace

Answer DeleteObject(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  DeleteRequest request;
  request.key = call.key;
  if (const std::string* version = call.query.Find("versionId")) {
    request.version_id = *version;
  }
  const Headers& headers = call.request.headers;
  if (!call.ignore_conditions) {
    if (const std::string* match = headers.Find("if-match")) {
      request.if_match = StripEtag(*match);
    }
    if (const std::string* size = headers.Find("x-amz-if-match-size")) {
      request.if_match_size_bytes = ParseSize(*size);
    }
    if (const std::string* time = headers.Find("x-amz-if-match-last-modified-time")) {
      if (const auto when = ParseAnyDate(*time)) {
        request.if_match_modified_seconds = *when / 1'000'000;
      }
    }
  }
  StorageResult<DeleteResult> deleted = bucket->Delete(request);
  if (!deleted.ok()) {
    return FromStorage(deleted.status()).With("Key", call.key);
  }
  Response response;
  response.status = 204;
  if (deleted->versioned || request.version_id) {
    response.headers.Add("x-amz-version-id", deleted->version_id);
  }
  if (deleted->is_delete_marker) {
    response.headers.Add("x-amz-delete-marker", "true");
  }
  return response;
}

Answer DeleteObjects(Call& call, const std::string& document) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  const auto parsed = ParseDocument(document, "Delete");
  if (!parsed) {
    return MakeError("MalformedXML");
  }
  const pugi::xml_node root = parsed->document_element();
  const bool quiet = EqualsIgnoringCase(ChildText(root, "Quiet"), "true");
  std::vector<DeleteRequest> requests;
  for (const pugi::xml_node& node : root.children("Object")) {
    DeleteRequest request;
    request.key = node.child("Key").text().get();
    if (request.key.empty() || requests.size() == kMaxDeletes) {
      return MakeError("MalformedXML");
    }
    if (const pugi::xml_node version = node.child("VersionId")) {
      request.version_id = version.text().get();
    }
    if (const pugi::xml_node etag = node.child("ETag"); etag && !call.ignore_conditions) {
      request.if_match = StripEtag(etag.text().get());
    }
    requests.push_back(std::move(request));
  }
  if (requests.empty()) {
    return MakeError("MalformedXML");
  }
  const std::vector<StorageResult<DeleteResult>> results = bucket->DeleteMany(requests);
  XmlDocument answer("DeleteResult");
  for (size_t i = 0; i < results.size(); ++i) {
    const DeleteRequest& request = requests[i];
    if (!results[i].ok()) {
      const S3Error error = FromStorage(results[i].status());
      pugi::xml_node node = answer.root().append_child("Error");
      XmlDocument::AddTo(node, "Key", request.key);
      if (request.version_id) {
        XmlDocument::AddTo(node, "VersionId", *request.version_id);
      }
      XmlDocument::AddTo(node, "Code", error.code);
      XmlDocument::AddTo(node, "Message", error.message);
      continue;
    }
    if (quiet) {
      continue;
    }
    const DeleteResult& result = results[i].value();
    pugi::xml_node node = answer.root().append_child("Deleted");
    XmlDocument::AddTo(node, "Key", request.key);
    if (request.version_id) {
      XmlDocument::AddTo(node, "VersionId", *request.version_id);
    }
    if (result.is_delete_marker) {
      XmlDocument::AddTo(node, "DeleteMarker", "true");
      XmlDocument::AddTo(node, "DeleteMarkerVersionId", result.version_id);
    }
  }
  return answer.Answer();
}

}  // namespace sqlite_s3::server

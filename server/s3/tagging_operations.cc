#include "server/s3/answers.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kMaxObjectTags = 10;
constexpr size_t kMaxBucketTags = 50;

std::optional<std::string> VersionOf(const Call& call) {
  const std::string* version = call.query.Find("versionId");
  return version ? std::optional<std::string>(*version) : std::nullopt;
}

S3Result<NameValues> ReadTags(const pugi::xml_node& root, size_t limit) {
  NameValues tags;
  const pugi::xml_node set = root.child("TagSet");
  if (!set) {
    return MakeError("MalformedXML");
  }
  for (const pugi::xml_node& tag : set.children("Tag")) {
    if (!tag.child("Key") || !tag.child("Value")) {
      return MakeError("MalformedXML");
    }
    tags.emplace_back(tag.child("Key").text().get(), tag.child("Value").text().get());
  }
  if (std::optional<S3Error> error = CheckTags(tags, limit)) {
    return *error;
  }
  return tags;
}

Response WithVersion(const Call& call, const ObjectInfo& info, Response response) {
  if (info.version_id != kNullVersion || call.query.Has("versionId")) {
    response.headers.Add("x-amz-version-id", info.version_id);
  }
  return response;
}

}  // namespace

Answer GetTagging(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  if (call.key.empty()) {
    StorageResult<std::string> stored = bucket->GetDocument("tagging");
    if (!stored.ok()) {
      return stored.reason() == Reason::kNoSuchDocument ? MakeError("NoSuchTagSet")
                                                        : FromStorage(stored.status());
    }
    Response response;
    response.headers.Add("Content-Type", "application/xml");
    response.body = std::move(*stored);
    return response;
  }
  ReadOptions options;
  options.version_id = VersionOf(call);
  StorageResult<ObjectInfo> info = bucket->Head(call.key, options);
  if (!info.ok()) {
    return FromStorage(info.status()).With("Key", call.key);
  }
  XmlDocument document("Tagging");
  pugi::xml_node set = document.root().append_child("TagSet");
  for (const auto& [key, value] : info->attributes.tags) {
    pugi::xml_node tag = set.append_child("Tag");
    XmlDocument::AddTo(tag, "Key", key);
    XmlDocument::AddTo(tag, "Value", value);
  }
  return WithVersion(call, *info, document.Answer());
}

Answer PutTagging(Call& call, const std::string& document) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  const auto parsed = ParseDocument(document, "Tagging");
  if (!parsed) {
    return MakeError("MalformedXML");
  }
  ASSIGN_OR_RETURN(
      const NameValues tags,
      ReadTags(parsed->document_element(), call.key.empty() ? kMaxBucketTags : kMaxObjectTags));
  Response response;
  if (call.key.empty()) {
    // Written anew, not kept as sent: what is answered later is ours.
    XmlDocument stored("Tagging");
    pugi::xml_node set = stored.root().append_child("TagSet");
    for (const auto& [key, value] : tags) {
      pugi::xml_node tag = set.append_child("Tag");
      XmlDocument::AddTo(tag, "Key", key);
      XmlDocument::AddTo(tag, "Value", value);
    }
    const StorageStatus put = bucket->PutDocument("tagging", stored.Text());
    if (!put.ok()) {
      return FromStorage(put);
    }
    response.status = 204;
    return response;
  }
  StorageResult<ObjectInfo> info = bucket->SetTags(call.key, VersionOf(call), tags);
  if (!info.ok()) {
    return FromStorage(info.status()).With("Key", call.key);
  }
  return WithVersion(call, *info, std::move(response));
}

Answer DeleteTagging(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  Response response;
  response.status = 204;
  if (call.key.empty()) {
    const StorageStatus deleted = bucket->DeleteDocument("tagging");
    if (!deleted.ok()) {
      return FromStorage(deleted);
    }
    return response;
  }
  StorageResult<ObjectInfo> info = bucket->SetTags(call.key, VersionOf(call), {});
  if (!info.ok()) {
    return FromStorage(info.status()).With("Key", call.key);
  }
  return WithVersion(call, *info, std::move(response));
}

}  // namespace sqlite_s3::server

// Access control lists: kept, answered, and without effect. Who may do what is said in the server's
// configuration; a canned name is answered as the grants that S3 would make of it.
#include <algorithm>
#include <iterator>

#include "server/s3/answers.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

constexpr std::string_view kCanned[] = {
    "private",       "public-read",       "public-read-write",         "authenticated-read",
    "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control", "log-delivery-write"};
constexpr char kAllUsers[] = "http://acs.amazonaws.com/groups/global/AllUsers";
constexpr char kAuthenticated[] = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

void AddGrant(pugi::xml_node list, const char* type, const std::string& who,
              const char* permission) {
  pugi::xml_node grant = list.append_child("Grant");
  pugi::xml_node grantee = grant.append_child("Grantee");
  grantee.append_attribute("xmlns:xsi") = "http://www.w3.org/2001/XMLSchema-instance";
  grantee.append_attribute("xsi:type") = type;
  if (std::string_view(type) == "Group") {
    XmlDocument::AddTo(grantee, "URI", who);
  } else {
    XmlDocument::AddTo(grantee, "ID", who);
    XmlDocument::AddTo(grantee, "DisplayName", who);
  }
  XmlDocument::AddTo(grant, "Permission", permission);
}

Response PolicyDocument(const std::string& owner, const std::string& canned) {
  XmlDocument document("AccessControlPolicy");
  pugi::xml_node node = document.root().append_child("Owner");
  XmlDocument::AddTo(node, "ID", owner);
  XmlDocument::AddTo(node, "DisplayName", owner);
  pugi::xml_node list = document.root().append_child("AccessControlList");
  if (canned.rfind("public-read", 0) == 0) {
    AddGrant(list, "Group", kAllUsers, "READ");
  }
  if (canned == "public-read-write") {
    AddGrant(list, "Group", kAllUsers, "WRITE");
  }
  if (canned == "authenticated-read") {
    AddGrant(list, "Group", kAuthenticated, "READ");
  }
  AddGrant(list, "CanonicalUser", owner, "FULL_CONTROL");
  return document.Answer();
}

}  // namespace

Answer GetAcl(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  std::string owner = bucket->Info().owner;
  std::string acl;
  if (call.key.empty()) {
    StorageResult<std::string> stored = bucket->GetDocument("acl");
    if (stored.ok()) {
      acl = *stored;
    } else if (stored.reason() != Reason::kNoSuchDocument) {
      return FromStorage(stored.status());
    }
  } else {
    ReadOptions options;
    if (const std::string* version = call.query.Find("versionId")) {
      options.version_id = *version;
    }
    StorageResult<ObjectInfo> info = bucket->Head(call.key, options);
    if (!info.ok()) {
      return FromStorage(info.status()).With("Key", call.key);
    }
    acl = info->attributes.acl;
    owner = info->attributes.owner;
  }
  return PolicyDocument(owner.empty() ? call.owner() : owner, acl);
}

Answer PutAcl(Call& call, const std::string& document) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  const std::string canned = call.request.headers.Get("x-amz-acl");
  if (!canned.empty()) {
    if (std::find(std::begin(kCanned), std::end(kCanned), canned) == std::end(kCanned)) {
      return MakeError("InvalidArgument");
    }
  } else if (!TrimSpaces(document).empty()) {
    const auto parsed = ParseDocument(document, "AccessControlPolicy");
    if (!parsed) {
      return MakeError("MalformedACLError");
    }
    // Only what the owner has anyway: granting others something would be a promise not kept.
    for (const pugi::xml_node& grant :
         parsed->document_element().child("AccessControlList").children("Grant")) {
      if (ChildText(grant.child("Grantee"), "ID") != bucket->Info().owner &&
          ChildText(grant.child("Grantee"), "ID") != call.owner()) {
        return MakeError(
            "NotImplemented",
            "Grants are not supported here; rights are in the server's configuration.");
      }
    }
  } else {
    return MakeError("MissingSecurityHeader");
  }
  if (call.key.empty()) {
    const StorageStatus put = bucket->PutDocument("acl", canned);
    if (!put.ok()) {
      return FromStorage(put);
    }
    return Response{};
  }
  const std::string* version = call.query.Find("versionId");
  StorageResult<ObjectInfo> info = bucket->SetAcl(
      call.key, version ? std::optional<std::string>(*version) : std::nullopt, canned);
  if (!info.ok()) {
    return FromStorage(info.status()).With("Key", call.key);
  }
  return Response{};
}

}  // namespace sqlite_s3::server

// Access control lists: kept as canned names, answered as the grants that S3 would make of them.
#include "server/s3/acl.h"
#include "server/s3/answers.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

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

// The canned list that grants what the document does: the owner everything, and groups what canned
// lists give them. NotImplemented when there is none: it would be a promise not kept.
S3Result<std::string> CannedOf(const Call& call, const std::string& owner,
                               const std::string& document) {
  const auto parsed = ParseDocument(document, "AccessControlPolicy");
  if (!parsed) {
    return MakeError("MalformedACLError");
  }
  bool all_read = false;
  bool all_write = false;
  bool authenticated_read = false;
  for (const pugi::xml_node& grant :
       parsed->document_element().child("AccessControlList").children("Grant")) {
    const std::string id = ChildText(grant.child("Grantee"), "ID");
    const std::string uri = ChildText(grant.child("Grantee"), "URI");
    const std::string permission = ChildText(grant, "Permission");
    if (uri.empty() && !id.empty() && (id == owner || id == call.owner())) {
      continue;
    }
    if (uri == kAllUsers && permission == "READ") {
      all_read = true;
    } else if (uri == kAllUsers && permission == "WRITE") {
      all_write = true;
    } else if (uri == kAuthenticated && permission == "READ") {
      authenticated_read = true;
    } else {
      return MakeError("NotImplemented",
                       "Of grants only those of canned lists are supported; rights are in the "
                       "server's configuration.");
    }
  }
  return std::string(all_write            ? "public-read-write"
                     : all_read           ? "public-read"
                     : authenticated_read ? "authenticated-read"
                                          : "private");
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
  ASSIGN_OR_RETURN(std::string canned, ReadCannedAcl(call));
  if (canned.empty()) {
    if (TrimSpaces(document).empty()) {
      return MakeError("MissingSecurityHeader");
    }
    ASSIGN_OR_RETURN(canned, CannedOf(call, bucket->Info().owner, document));
    if (std::optional<S3Error> error = CheckAcl(call, canned)) {
      return *error;
    }
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

#include <algorithm>

#include "server/auth/digest.h"
#include "server/s3/acl.h"
#include "server/s3/answers.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

struct Setting {
  std::string_view parameter;
  const char* error;     // what reading it says; null: an empty document
  const char* document;  // that document's root
};

// Features that are never configured here. Clients ask, and go on when they get the right code.
constexpr Setting kSettings[] = {
    {"policy", "NoSuchBucketPolicy", nullptr},
    {"policyStatus", "NoSuchBucketPolicy", nullptr},
    {"lifecycle", "NoSuchLifecycleConfiguration", nullptr},
    {"encryption", "ServerSideEncryptionConfigurationNotFoundError", nullptr},
    {"website", "NoSuchWebsiteConfiguration", nullptr},
    {"replication", "ReplicationConfigurationNotFoundError", nullptr},
    {"object-lock", "ObjectLockConfigurationNotFoundError", nullptr},
    {"ownershipControls", "OwnershipControlsNotFoundError", nullptr},
    {"publicAccessBlock", "NoSuchPublicAccessBlockConfiguration", nullptr},
    {"logging", nullptr, "BucketLoggingStatus"},
    {"notification", nullptr, "NotificationConfiguration"},
    {"accelerate", nullptr, "AccelerateConfiguration"},
    {"requestPayment", nullptr, "RequestPaymentConfiguration"},
};

constexpr int kMaxBuckets = 10'000;  // a page of ListBuckets

Response Empty(int status) {
  Response response;
  response.status = status;
  return response;
}

}  // namespace

Answer ListBuckets(Call& call) {
  StorageResult<std::vector<BucketInfo>> listed = call.buckets->List();
  if (!listed.ok()) {
    return FromStorage(listed.status());
  }
  const std::string prefix = call.query.Get("prefix");
  const std::string* region = call.query.Find("bucket-region");
  const std::string* token = call.query.Find("continuation-token");
  std::string after;
  if (token) {
    const std::optional<Bytes> name = DecodeBase64(*token);
    if (!name || !IsValidBucketName(AsText(*name))) {
      return MakeError("InvalidArgument", "The continuation token provided is incorrect")
          .With("ArgumentName", "continuation-token");
    }
    after = AsText(*name);
  }
  ASSIGN_OR_RETURN(const int max_buckets, ParseCount(call.query.Get("max-buckets"), "max-buckets",
                                                     kMaxBuckets, kMaxBuckets));
  if (max_buckets < 1) {
    return MakeError("InvalidArgument").With("ArgumentName", "max-buckets");
  }
  int count = 0;
  std::string last;
  XmlDocument document("ListAllMyBucketsResult");
  pugi::xml_node owner = document.root().append_child("Owner");
  XmlDocument::AddTo(owner, "ID", call.owner());
  XmlDocument::AddTo(owner, "DisplayName", call.owner());
  pugi::xml_node buckets = document.root().append_child("Buckets");
  for (const BucketInfo& info : *listed) {
    if (call.identity.user && !MayUseBucket(*call.identity.user, info.name)) {
      continue;
    }
    if (info.name.rfind(prefix, 0) != 0 || info.name <= after ||
        (region && *region != call.options->region)) {
      continue;
    }
    if (count == max_buckets) {
      document.Add("ContinuationToken", EncodeBase64(AsBytes(last)));
      break;
    }
    ++count;
    last = info.name;
    pugi::xml_node bucket = buckets.append_child("Bucket");
    XmlDocument::AddTo(bucket, "Name", info.name);
    XmlDocument::AddTo(bucket, "CreationDate", FormatIsoMillis(info.created_us));
  }
  if (!prefix.empty()) {
    document.Add("Prefix", prefix);
  }
  return document.Answer();
}

Answer CreateBucket(Call& call, const std::string& document) {
  if (call.request.headers.Get("x-amz-bucket-object-lock-enabled") == "true") {
    return MakeError("NotImplemented", "This server has no object lock.");
  }
  if (!TrimSpaces(document).empty()) {
    const auto parsed = ParseDocument(document, "CreateBucketConfiguration");
    if (!parsed) {
      return MakeError("MalformedXML");
    }
  }
  ASSIGN_OR_RETURN(const std::string acl, ReadCannedAcl(call));
  StorageResult<std::shared_ptr<Bucket>> created = call.buckets->Create(call.bucket, call.owner());
  if (!created.ok()) {
    if (created.reason() != Reason::kBucketAlreadyExists) {
      return FromStorage(created.status()).With("BucketName", call.bucket);
    }
    const S3Result<std::shared_ptr<Bucket>> existing = call.OpenBucket();
    if (!existing.ok() || existing.value()->Info().owner != call.owner()) {
      return MakeError("BucketAlreadyExists").With("BucketName", call.bucket);
    }
    // As S3 in us-east-1: making one's own bucket again is no error. Elsewhere it is.
    if (call.options->region != "us-east-1") {
      return MakeError("BucketAlreadyOwnedByYou").With("BucketName", call.bucket);
    }
  } else if (!acl.empty()) {
    const StorageStatus stored = (*created)->PutDocument("acl", acl);
    if (!stored.ok()) {
      return FromStorage(stored);
    }
  }
  Response response;
  response.headers.Add("Location", "/" + call.bucket);
  return response;
}

Answer DeleteBucket(Call& call) {
  const StorageStatus deleted = call.buckets->Delete(call.bucket);
  if (!deleted.ok()) {
    return FromStorage(deleted).With("BucketName", call.bucket);
  }
  return Empty(204);
}

Answer HeadBucket(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  Response response;
  response.headers.Add("x-amz-bucket-region", call.options->region);
  response.headers.Add("Content-Type", "application/xml");
  return response;
}

Answer GetBucketLocation(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  XmlDocument document("LocationConstraint");
  if (call.options->region != "us-east-1") {  // which S3 writes as nothing
    document.root().text().set(call.options->region.c_str());
  }
  return document.Answer();
}

Answer GetBucketVersioning(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  StorageResult<Versioning> versioning = bucket->GetVersioning();
  if (!versioning.ok()) {
    return FromStorage(versioning.status());
  }
  XmlDocument document("VersioningConfiguration");
  if (*versioning != Versioning::kOff) {
    document.Add("Status", *versioning == Versioning::kEnabled ? "Enabled" : "Suspended");
  }
  return document.Answer();
}

Answer PutBucketVersioning(Call& call, const std::string& document) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  const auto parsed = ParseDocument(document, "VersioningConfiguration");
  if (!parsed) {
    return MakeError("MalformedXML");
  }
  const std::string status = ChildText(parsed->document_element(), "Status");
  if (ChildText(parsed->document_element(), "MfaDelete") == "Enabled") {
    return MakeError("NotImplemented", "This server has no MFA delete.");
  }
  if (status != "Enabled" && status != "Suspended") {
    return MakeError("IllegalVersioningConfigurationException");
  }
  const StorageStatus set =
      bucket->SetVersioning(status == "Enabled" ? Versioning::kEnabled : Versioning::kSuspended);
  if (!set.ok()) {
    return FromStorage(set);
  }
  return Empty(200);
}

Answer GetBucketSetting(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  for (const Setting& setting : kSettings) {
    if (!call.query.Has(setting.parameter)) {
      continue;
    }
    if (setting.error) {
      return MakeError(setting.error).With("BucketName", call.bucket);
    }
    XmlDocument document(setting.document);
    if (setting.parameter == "requestPayment") {
      document.Add("Payer", "BucketOwner");
    }
    return document.Answer();
  }
  return MakeError("NotImplemented");
}

Answer DeleteBucketSetting(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  return Empty(204);  // there was none
}

}  // namespace sqlite_s3::server

#include "tests/server/storage/crash_steps.h"

#include <fmt/format.h>

#include <filesystem>
#include <stdexcept>

#include "common/sqlite/connection.h"
#include "server/storage/md5.h"
#include "tests/server/storage/s3ite_files.h"
#include "tests/server/storage/storage_fixture.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kLarge = 2 * kChunkBytes + 11;
constexpr int64_t kBeginning = 1'700'000'000'000'000;

int CountOf(const std::string& script) {
  return script == "puts"       ? 8
         : script == "uploads"  ? 10
         : script == "versions" ? 9
         : script == "buckets"  ? 6
                                : 3;
}

// A body's MD5, or what went wrong.
std::string DigestOf(BodyReader& body) {
  std::string text;
  while (true) {
    auto piece = body.Next();
    if (!piece.ok()) {
      return piece.status().ToString();
    }
    if (piece->empty()) {
      return Md5::Hex(AsBytes(text));
    }
    text += AsText(*piece);
  }
}

}  // namespace

const std::vector<std::string>& CrashSteps::Scripts() {
  static const std::vector<std::string> scripts = {
      "puts", "uploads", "versions", "buckets", "s3ite-one-table", "s3ite-two-tables"};
  return scripts;
}

void CrashSteps::Prepare(const std::string& script, const std::string& directory) {
  if (script.starts_with("s3ite")) {
    auto connection = Connection::Open(directory + "/old.sqlite3",
                                       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000);
    if (!connection.ok() ||
        !connection->Exec(script == "s3ite-one-table" ? kS3iteOneTableSql : kS3iteTwoTablesSql)
             .ok()) {
      throw std::runtime_error("cannot make a file of s3ite's");
    }
  } else if (script != "buckets") {
    auto steps = Open(script, directory, Synchronous::kFull);
    if (!steps.ok() || !(*steps)->set_->Create("bucket", "owner").ok()) {
      throw std::runtime_error("cannot make a bucket");
    }
  }
}

CrashSteps::CrashSteps(std::string script, Synchronous synchronous)
    : script_(std::move(script)), clock_(kBeginning) {
  options_.clock = &clock_;
  options_.background_maintenance = false;
  options_.synchronous = synchronous;
  options_.checkpoint_pages = 60;  // some steps are written back, some are not
}

Result<std::unique_ptr<CrashSteps>> CrashSteps::Open(const std::string& script,
                                                     const std::string& directory,
                                                     Synchronous synchronous) {
  std::unique_ptr<CrashSteps> steps(new CrashSteps(script, synchronous));
  ASSIGN_OR_RETURN(steps->set_, BucketSet::Open(directory, steps->options_));
  return steps;
}

int CrashSteps::count() const { return CountOf(script_); }

StorageStatus CrashSteps::Run(int step) {
  clock_.SetWall(kBeginning + step * int64_t{1'000'000});
  return script_ == "puts"       ? Puts(step)
         : script_ == "uploads"  ? Uploads(step)
         : script_ == "versions" ? Versions(step)
         : script_ == "buckets"  ? Buckets(step)
                                 : S3ite(step);
}

StorageStatus CrashSteps::Puts(int step) {
  switch (step) {
    case 0:
      return Put("bucket", "small", Pattern(1000, 1));
    case 1:
      return Put("bucket", "large", Pattern(kLarge, 2));
    case 2: {  // a client that goes away half way
      ASSIGN_OR_RETURN(auto bucket, Get("bucket"));
      return bucket->NewBody()->Append(AsBytes(Pattern(kLarge, 3)));
    }
    case 3:
      return Put("bucket", "small", Pattern(100'000, 4));
    case 4:
      return Put("bucket", "large", Pattern(kLarge, 5));
    case 5: {
      ASSIGN_OR_RETURN(auto bucket, Get("bucket"));
      CopyRequest request;
      request.source.key = "large";
      request.key = "copy";
      return bucket->Copy(request).status();
    }
    case 6:
      return Delete("bucket", {"small", "large", "none"});
    default:
      return Put("bucket", "", "").reason() == Reason::kInvalidArgument
                 ? Put("bucket", "copy", "the large body goes")
                 : StorageStatus(Reason::kInternal, "an empty key was taken");
  }
}

StorageStatus CrashSteps::Uploads(int step) {
  const auto create = [this](const std::string& key) -> StorageStatus {
    ASSIGN_OR_RETURN(auto bucket, Get("bucket"));
    return bucket->CreateUpload({key, {}, "", ""}).status();
  };
  switch (step) {
    case 0:
      return create("a");
    case 1:
      return PutPart("a", 1, Pattern(kMinPartBytes, 1));
    case 2:
      return PutPart("a", 2, Pattern(200'000, 2));
    case 3:
      return PutPart("a", 2, Pattern(kLarge, 3));
    case 4:
      return PutPart("a", 7, Pattern(1000, 4));
    case 5:
      return Complete("a");
    case 6:
      return create("b");
    case 7:
      return PutPart("b", 1, Pattern(kLarge, 5));
    case 8: {
      ASSIGN_OR_RETURN(auto bucket, Get("bucket"));
      return bucket->AbortUpload("b", UploadOf(*bucket, "b"));
    }
    default:
      return Delete("bucket", {"a"});
  }
}

StorageStatus CrashSteps::Versions(int step) {
  ASSIGN_OR_RETURN(auto bucket, Get("bucket"));
  switch (step) {
    case 0:
      return Put("bucket", "k", Pattern(kLarge, 1));
    case 1:
      return bucket->SetVersioning(Versioning::kEnabled);
    case 2:
      return Put("bucket", "k", Pattern(2000, 2));
    case 3:
      return Put("bucket", "other", Pattern(3000, 3));
    case 4:
      return Delete("bucket", {"k", "other"});  // markers
    case 5: {
      DeleteRequest request;
      request.key = "k";
      const std::vector<std::string> ids = VersionsOf(*bucket, "k");
      if (ids.empty()) {
        return {Reason::kInternal, "the versions cannot be listed"};
      }
      request.version_id = ids.front();  // the marker: what it hid is back
      return bucket->Delete(request).status();
    }
    case 6:
      return bucket->SetVersioning(Versioning::kSuspended);
    case 7:
      return Put("bucket", "k", Pattern(1000, 4));  // instead of the large null version
    default: {
      std::vector<DeleteRequest> requests;
      for (const char* key : {"k", "other"}) {
        for (const std::string& id : VersionsOf(*bucket, key)) {
          requests.push_back({key, id, {}, {}, {}});
        }
      }
      for (const auto& result : bucket->DeleteMany(requests)) {
        RETURN_IF_STORAGE_ERROR(result.status());
      }
      return {};
    }
  }
}

StorageStatus CrashSteps::Buckets(int step) {
  switch (step) {
    case 0:
    case 4:
      return set_->Create("bucket", step == 0 ? "first" : "second").status();
    case 1:
      return Put("bucket", "k", Pattern(50'000, 1));
    case 2:
      return Delete("bucket", {"k"});
    case 3:
      return set_->Delete("bucket");
    default:
      return Put("bucket", "k", Pattern(1000, 2));
  }
}

StorageStatus CrashSteps::S3ite(int step) {
  switch (step) {
    case 0:
      return Get("old").status();  // opening migrates
    case 1:
      return script_ == "s3ite-two-tables" ? Complete("u") : Put("old", "u", "new");
    default:
      return Put("old", "big", "small now");
  }
}

StorageStatus CrashSteps::Put(const std::string& bucket, const std::string& key,
                              const std::string& body) {
  ASSIGN_OR_RETURN(auto opened, Get(bucket));
  PutRequest request;
  request.key = key;
  request.etag = Md5::Hex(AsBytes(body));
  request.attributes.metadata = {{"of", key}};
  return opened->PutBytes(request, AsBytes(body)).status();
}

StorageStatus CrashSteps::Delete(const std::string& bucket, const std::vector<std::string>& keys) {
  ASSIGN_OR_RETURN(auto opened, Get(bucket));
  std::vector<DeleteRequest> requests(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    requests[i].key = keys[i];
  }
  for (const auto& result : opened->DeleteMany(requests)) {
    RETURN_IF_STORAGE_ERROR(result.status());
  }
  return {};
}

StorageStatus CrashSteps::PutPart(const std::string& key, int number, const std::string& body) {
  ASSIGN_OR_RETURN(auto bucket, Get("bucket"));
  PartInfo part;
  part.number = number;
  part.etag = Md5::Hex(AsBytes(body));
  auto writer = bucket->NewBody();
  RETURN_IF_STORAGE_ERROR(writer->Append(AsBytes(body)));
  return bucket->PutPart(key, UploadOf(*bucket, key), part, writer.get());
}

StorageStatus CrashSteps::Complete(const std::string& key) {
  ASSIGN_OR_RETURN(auto bucket, Get(script_ == "uploads" ? "bucket" : "old"));
  CompleteRequest request;
  request.key = key;
  request.upload_id = UploadOf(*bucket, key);
  ASSIGN_OR_RETURN(ListPartsResult parts, bucket->ListParts(key, request.upload_id, 0, 1000));
  for (const PartInfo& part : parts.parts) {
    if (part.number < 7) {  // the others are dropped
      request.parts.push_back({part.number, part.etag, {}});
    }
  }
  return bucket->CompleteUpload(request).status();
}

std::string CrashSteps::UploadOf(Bucket& bucket, const std::string& key) {
  ListUploadsRequest request;
  request.prefix = key;
  auto uploads = bucket.ListUploads(request);
  return uploads.ok() && !uploads->uploads.empty() ? uploads->uploads.front().upload_id : "";
}

std::vector<std::string> CrashSteps::VersionsOf(Bucket& bucket, const std::string& key) {
  ListVersionsRequest request;
  request.prefix = key;
  std::vector<std::string> ids;
  if (auto listed = bucket.ListVersions(request); listed.ok()) {
    for (const ObjectInfo& version : listed->versions) {
      ids.push_back(version.version_id);
    }
  }
  return ids;
}

StorageStatus CrashSteps::Maintain() {
  ASSIGN_OR_RETURN(auto buckets, set_->List());
  for (const BucketInfo& info : buckets) {
    ASSIGN_OR_RETURN(auto bucket, Get(info.name));
    RETURN_IF_STORAGE_ERROR(bucket->Maintain());
  }
  return {};
}

std::string CrashSteps::Dump() {
  auto buckets = set_->List();
  if (!buckets.ok()) {
    return buckets.status().ToString();
  }
  std::string out;
  for (const BucketInfo& info : *buckets) {
    auto bucket = Get(info.name);
    out += fmt::format("bucket {} of '{}' since {}\n", info.name, info.owner, info.created_us);
    out += bucket.ok() ? DumpBucket(**bucket) : bucket.status().ToString();
  }
  return out;
}

std::string CrashSteps::DumpBucket(Bucket& bucket) {
  auto versioning = bucket.GetVersioning();
  auto versions = bucket.ListVersions({});
  auto uploads = bucket.ListUploads({});
  if (!versioning.ok() || !versions.ok() || !uploads.ok()) {
    return fmt::format("{} {} {}\n", versioning.status().ToString(), versions.status().ToString(),
                       uploads.status().ToString());
  }
  std::string out = fmt::format("versioning {}\n", static_cast<int>(*versioning));
  for (const ObjectInfo& version : versions->versions) {
    out += fmt::format("{} {} {} {} {} {}", version.key, version.is_latest, version.size_bytes,
                       version.etag, version.modified_us, version.version_id == kNullVersion);
    if (!version.is_delete_marker) {
      auto opened = bucket.Open(version.key, {version.version_id, false});
      out += opened.ok() ? fmt::format(" {} {}", DigestOf(*opened->body),
                                       opened->info.attributes.metadata.size())
                         : opened.status().ToString();
    }
    out += '\n';
  }
  for (const UploadInfo& upload : uploads->uploads) {
    out += fmt::format("upload of {}\n", upload.key);
    auto parts = bucket.ListParts(upload.key, upload.upload_id, 0, 1000);
    if (!parts.ok()) {
      return out + parts.status().ToString();
    }
    for (const PartInfo& part : parts->parts) {
      out += fmt::format("part {} {} {} {}\n", part.number, part.size_bytes, part.etag,
                         part.modified_us);
    }
  }
  return out;
}

std::string CrashSteps::Litter(const std::string& directory) {
  std::string out;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (name == ".sqlite-s3-server.lock") {
      continue;
    }
    const std::string database = name.substr(0, name.rfind(".sqlite3") + 8);
    if (!name.ends_with(".sqlite3")) {
      if (!std::filesystem::exists(directory + "/" + database)) {
        out += fmt::format("file {}\n", name);
      }
      continue;
    }
    auto connection = Connection::Open(entry.path(), SQLITE_OPEN_READONLY, "", 1000);
    const auto count = [&](const char* sql) -> int64_t {
      auto value = connection->QueryInt(sql);
      return value.ok() ? *value : -1;
    };
    if (!connection.ok() || *connection->QueryText("PRAGMA integrity_check") != "ok" ||
        count("PRAGMA application_id") == 0) {
      out += fmt::format("damage in {}\n", name);
      continue;
    }
    // A content is somebody's when an object, a version, a part of an upload or of such a body has
    // it.
    const int64_t orphans = count(
        "WITH used(c) AS (SELECT content FROM object UNION SELECT content FROM old_version UNION "
        "SELECT content FROM upload_part UNION SELECT p.part FROM content_part p, used WHERE "
        "p.content = used.c) SELECT (SELECT count(*) FROM content WHERE id NOT IN (SELECT c FROM "
        "used WHERE c NOT NULL)) + (SELECT count(*) FROM chunk WHERE content NOT IN (SELECT c FROM "
        "used WHERE c NOT NULL)) + (SELECT count(*) FROM content_part WHERE content NOT IN (SELECT "
        "c FROM used WHERE c NOT NULL)) + (SELECT count(*) FROM unreferenced) + (SELECT count(*) "
        "FROM upload_part WHERE upload_id NOT IN (SELECT upload_id FROM upload))");
    if (orphans != 0) {
      out += fmt::format("{} orphans in {}\n", orphans, name);
    }
  }
  return out;
}

}  // namespace sqlite_s3::server

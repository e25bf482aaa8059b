#pragma once
// BucketTest: a directory with buckets, and short words for what tests do to one of them.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "common/sqlite/connection.h"
#include "server/storage/bucket_set.h"
#include "server/storage/md5.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3::server {

inline void PrintTo(Reason reason, std::ostream* out) { *out << ReasonName(reason); }
inline Reason ReasonOf(const StorageStatus& status) { return status.reason(); }
template <typename T>
Reason ReasonOf(const StorageResult<T>& result) {
  return result.reason();
}

// `size` bytes that differ from place to place and from seed to seed.
inline std::string Pattern(size_t size, uint32_t seed) {
  std::string text(size, '\0');
  uint32_t state = seed * 2654435761U + 1;
  for (char& c : text) {
    state = state * 1664525U + 1013904223U;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

// "k7".
inline std::string Numbered(const char* name, int64_t number) {
  std::string text = name;
  text += std::to_string(number);
  return text;
}

class BucketTest : public ::testing::Test {
 protected:
  BucketTest() {
    options_.clock = &clock_;
    options_.background_maintenance = false;
  }
  void SetUp() override {
    OpenSet();
    auto created = set_->Create("bucket", "owner");
    ASSERT_TRUE(created.ok()) << created.status().ToString();
    bucket_ = *created;
  }
  void OpenSet() {
    auto set = BucketSet::Open(dir_.path(), options_);
    ASSERT_TRUE(set.ok()) << set.status().ToString();
    set_ = std::move(set).value();
  }
  void Reopen() {
    bucket_.reset();
    set_.reset();
    OpenSet();
    auto bucket = set_->Get("bucket");
    ASSERT_TRUE(bucket.ok()) << bucket.status().ToString();
    bucket_ = *bucket;
  }

  // The version id; "<Reason>" on error.
  std::string Put(const std::string& key, const std::string& body,
                  const WriteConditions& conditions = {}) {
    clock_.Advance(std::chrono::seconds(1));
    PutRequest request;
    request.key = key;
    request.etag = Md5::Hex(AsBytes(body));
    request.conditions = conditions;
    auto result = bucket_->PutBytes(request, AsBytes(body));
    return result.ok() ? result->version_id : Error(result.status());
  }
  std::string Get(const std::string& key, std::optional<std::string> version = {}) {
    auto opened = bucket_->Open(key, {version, false});
    return opened.ok() ? ReadAll(*opened->body) : Error(opened.status());
  }
  static std::string ReadAll(BodyReader& body) {
    std::string text;
    while (true) {
      auto piece = body.Next();
      if (!piece.ok()) {
        return Error(piece.status());
      }
      if (piece->empty()) {
        return text;
      }
      text += AsText(*piece);
    }
  }
  std::string Delete(const std::string& key, std::optional<std::string> version = {}) {
    clock_.Advance(std::chrono::seconds(1));
    DeleteRequest request;
    request.key = key;
    request.version_id = version;
    auto result = bucket_->Delete(request);
    return result.ok() ? result->version_id : Error(result.status());
  }
  std::string PutPart(const std::string& key, const std::string& upload, int number,
                      const std::string& body) {
    PartInfo part;
    part.number = number;
    part.etag = Md5::Hex(AsBytes(body));
    auto writer = bucket_->NewBody();
    StorageStatus status = writer->Append(AsBytes(body));
    if (status.ok()) {
      status = bucket_->PutPart(key, upload, part, writer.get());
    }
    return status.ok() ? part.etag : Error(status);
  }
  std::string CreateUpload(const std::string& key) {
    clock_.Advance(std::chrono::seconds(1));
    auto upload = bucket_->CreateUpload({key, {}, "", ""});
    return upload.ok() ? upload->upload_id : Error(upload.status());
  }
  static std::string Error(const StorageStatus& status) {
    std::string text = "<";
    text += ReasonName(status.reason());
    text += '>';
    return text;
  }
  // The whole listing as "a b/ c", with a page boundary as "|".
  std::string List(ListRequest request) {
    std::string text;
    while (true) {
      auto result = bucket_->List(request);
      if (!result.ok()) {
        return Error(result.status());
      }
      std::vector<std::string> names = result->common_prefixes;
      for (const ObjectInfo& object : result->objects) {
        names.push_back(object.key);
      }
      std::sort(names.begin(), names.end());
      for (const std::string& name : names) {
        text += (text.empty() || text.back() == '|' ? "" : " ") + name;
      }
      if (!result->is_truncated) {
        return text;
      }
      text += "|";
      request.start_after = result->next_marker;
    }
  }
  int64_t QueryInt(const std::string& sql) {
    auto connection = Connection::Open(dir_.File("bucket.sqlite3"), SQLITE_OPEN_READONLY, "", 1000);
    auto value = connection.ok() ? connection->QueryInt(sql.c_str()) : connection.status();
    EXPECT_TRUE(value.ok()) << value.status().ToString();
    return value.ok() ? *value : -1;
  }

  TempDir dir_;
  FakeClock clock_;
  StorageOptions options_;
  std::unique_ptr<BucketSet> set_;
  std::shared_ptr<Bucket> bucket_;
};

}  // namespace sqlite_s3::server

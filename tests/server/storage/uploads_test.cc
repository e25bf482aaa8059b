#include "tests/server/storage/storage_fixture.h"

namespace sqlite_s3::server {
namespace {

class UploadsTest : public BucketTest {
 protected:
  std::string Complete(const std::string& key, const std::string& upload,
                       std::vector<CompletedPart> parts, const WriteConditions& conditions = {}) {
    CompleteRequest request;
    request.key = key;
    request.upload_id = upload;
    request.parts = std::move(parts);
    request.conditions = conditions;
    auto result = bucket_->CompleteUpload(request);
    return result.ok() ? result->etag : Error(result.status());
  }
  const std::string large_ = Pattern(kMinPartBytes, 1);
  const std::string large_etag_ = Md5::Hex(AsBytes(large_));
  const std::string small_ = Pattern(1000, 2);
  const std::string small_etag_ = Md5::Hex(AsBytes(small_));
};

TEST_F(UploadsTest, PartsBecomeOneObjectWithoutBeingCopied) {
  std::string upload = CreateUpload("k");
  PutPart("k", upload, 7, small_);
  PutPart("k", upload, 2, large_);
  int64_t chunks = QueryInt("SELECT max(rowid) FROM (SELECT count(*) AS rowid FROM chunk)");
  std::string etag = Complete("k", upload, {{2, large_etag_, {}}, {7, small_etag_, {}}});
  EXPECT_TRUE(etag.ends_with("-2")) << etag;
  EXPECT_EQ(QueryInt("SELECT count(*) FROM chunk"), chunks);
  EXPECT_EQ(Get("k"), large_ + small_);
  auto opened = bucket_->Open("k", {{}, true});
  ASSERT_TRUE(opened.ok());
  ASSERT_EQ(opened->info.parts.size(), 2U);
  EXPECT_EQ(opened->info.parts[1].number, 7);
  EXPECT_EQ(opened->info.parts[1].size_bytes, small_.size());
  opened->body->SetRange(large_.size() - 3, 6);
  EXPECT_EQ(ReadAll(*opened->body), (large_ + small_).substr(large_.size() - 3, 6));
  EXPECT_EQ(ReasonOf(bucket_->GetUpload("k", upload)), Reason::kNoSuchUpload);
}

TEST_F(UploadsTest, TheEtagIsTheMd5OfTheMd5s) {
  std::string upload = CreateUpload("k");
  PutPart("k", upload, 1, small_);
  Bytes digest = *HexDecode(small_etag_);
  EXPECT_EQ(Complete("k", upload, {{1, small_etag_, {}}}), Md5::Hex(digest) + "-1");
}

TEST_F(UploadsTest, APartUploadedAgainReplacesTheFirst) {
  std::string upload = CreateUpload("k");
  PutPart("k", upload, 1, large_);
  PutPart("k", upload, 1, small_);
  EXPECT_EQ(Complete("k", upload, {{1, large_etag_, {}}}), "<InvalidPart>");
  EXPECT_TRUE(Complete("k", upload, {{1, small_etag_, {}}}).ends_with("-1"));
  EXPECT_EQ(Get("k"), small_);
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(QueryInt("SELECT count(*) FROM chunk"), 0);
}

TEST_F(UploadsTest, CompleteRefusesWhatS3Refuses) {
  std::string upload = CreateUpload("k");
  PutPart("k", upload, 1, small_);
  PutPart("k", upload, 2, small_);
  EXPECT_EQ(Complete("k", upload, {}), "<InvalidArgument>");
  EXPECT_EQ(Complete("k", upload, {{1, small_etag_, {}}, {2, small_etag_, {}}}),
            "<EntityTooSmall>");
  EXPECT_EQ(Complete("k", upload, {{2, small_etag_, {}}, {1, small_etag_, {}}}),
            "<InvalidPartOrder>");
  EXPECT_EQ(Complete("k", upload, {{3, small_etag_, {}}}), "<InvalidPart>");
  EXPECT_EQ(Complete("k", upload, {{1, small_etag_, {"CRC32", "xxx", ""}}}), "<InvalidPart>");
  EXPECT_EQ(Complete("other", upload, {{1, small_etag_, {}}}), "<NoSuchUpload>");
  EXPECT_EQ(Complete("k", "nothing", {{1, small_etag_, {}}}), "<NoSuchUpload>");
  WriteConditions once;
  once.if_none_match = "*";
  Put("k", "there");
  EXPECT_EQ(Complete("k", upload, {{1, small_etag_, {}}}, once), "<PreconditionFailed>");
  EXPECT_EQ(Get("k"), "there");
  EXPECT_TRUE(Complete("k", upload, {{1, small_etag_, {}}}).ends_with("-1")) << "still there";
}

TEST_F(UploadsTest, PartNumbersHaveBounds) {
  std::string upload = CreateUpload("k");
  EXPECT_EQ(PutPart("k", upload, 0, "x"), "<InvalidArgument>");
  EXPECT_EQ(PutPart("k", upload, 10001, "x"), "<InvalidArgument>");
  EXPECT_EQ(PutPart("k", "nothing", 1, "x"), "<NoSuchUpload>");
}

TEST_F(UploadsTest, AttributesOfCreateAreTheObjects) {
  CreateUploadRequest request{"k", {}, "CRC32", "COMPOSITE"};
  request.attributes.content_type = "text/plain";
  request.attributes.metadata = {{"a", "b"}};
  auto upload = bucket_->CreateUpload(request);
  ASSERT_TRUE(upload.ok());
  EXPECT_EQ(bucket_->GetUpload("k", upload->upload_id)->checksum_algorithm, "CRC32");
  PutPart("k", upload->upload_id, 1, "x");
  Complete("k", upload->upload_id, {{1, Md5::Hex(AsBytes("x")), {}}});
  EXPECT_EQ(bucket_->Head("k", {})->attributes, request.attributes);
}

TEST_F(UploadsTest, AbortLeavesNothing) {
  std::string upload = CreateUpload("k");
  PutPart("k", upload, 1, large_);
  PutPart("k", upload, 2, small_);
  ASSERT_TRUE(bucket_->AbortUpload("k", upload).ok());
  EXPECT_EQ(ReasonOf(bucket_->AbortUpload("k", upload)), Reason::kNoSuchUpload);
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(QueryInt("SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM content) + "
                     "(SELECT count(*) FROM unreferenced) + (SELECT count(*) FROM upload_part)"),
            0);
}

TEST_F(UploadsTest, DeletingAMultipartObjectSweepsItsParts) {
  std::string upload = CreateUpload("k");
  PutPart("k", upload, 1, large_);
  PutPart("k", upload, 2, small_);
  Complete("k", upload, {{1, large_etag_, {}}, {2, small_etag_, {}}});
  auto opened = bucket_->Open("k", {});
  ASSERT_TRUE(opened.ok());
  Delete("k");
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(ReadAll(*opened->body), large_ + small_) << "a reader keeps all parts";
  opened->body.reset();
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(QueryInt("SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM content) + "
                     "(SELECT count(*) FROM content_part)"),
            0);
}

TEST_F(UploadsTest, PartsAreListedInPages) {
  std::string upload = CreateUpload("k");
  for (int number : {5, 1, 3}) {
    PutPart("k", upload, number, "x");
  }
  auto page = bucket_->ListParts("k", upload, 0, 2);
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->parts.size(), 2U);
  EXPECT_TRUE(page->is_truncated);
  EXPECT_EQ(page->next_part_number_marker, 3);
  page = bucket_->ListParts("k", upload, 3, 2);
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->parts.at(0).number, 5);
  EXPECT_FALSE(page->is_truncated);
}

TEST_F(UploadsTest, UploadsAreListedByKeyThenAge) {
  std::string b1 = CreateUpload("b");
  std::string b2 = CreateUpload("b");
  std::string a = CreateUpload("a");
  CreateUpload("c/1");
  CreateUpload("c/2");
  ListUploadsRequest request;
  request.delimiter = "/";
  request.max_uploads = 2;
  auto page = bucket_->ListUploads(request);
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->uploads.size(), 2U);
  EXPECT_EQ(page->uploads[0].upload_id, a);
  EXPECT_EQ(page->uploads[1].upload_id, b1);
  ASSERT_TRUE(page->is_truncated);
  request.key_marker = page->next_key_marker;
  request.upload_id_marker = page->next_upload_id_marker;
  page = bucket_->ListUploads(request);
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->uploads.size(), 1U);
  EXPECT_EQ(page->uploads[0].upload_id, b2);
  EXPECT_EQ(page->common_prefixes, std::vector<std::string>{"c/"});
  EXPECT_FALSE(page->is_truncated);
}

}  // namespace
}  // namespace sqlite_s3::server

// Fifteen things that an earlier server of this kind did wrong, each a rule here.
#include <fmt/format.h>

#include "tests/server/s3/s3_fixture.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kPart = size_t{5} << 20;

class SeedDefectsTest : public S3Test {
 protected:
  void SetUp() override {
    Start();
    ASSERT_EQ(Put("/bucket", "").status, 200);
  }
};

TEST_F(SeedDefectsTest, DelimiterMakesCommonPrefixes) {
  for (const char* key : {"a", "dir/1", "dir/2", "dir2/x", "z"}) {
    ASSERT_EQ(Put(std::string("/bucket/") + key, "x").status, 200);
  }
  const Seen listed = Get("/bucket?list-type=2&delimiter=/");
  EXPECT_EQ(listed.Elements("Key"), (std::vector<std::string>{"a", "z"}));
  EXPECT_NE(listed.body.find("<CommonPrefixes><Prefix>dir/</Prefix></CommonPrefixes>"),
            std::string::npos);
  EXPECT_NE(listed.body.find("<CommonPrefixes><Prefix>dir2/</Prefix></CommonPrefixes>"),
            std::string::npos);
  EXPECT_EQ(listed.Element("KeyCount"), "4");
}

TEST_F(SeedDefectsTest, PrefixIsBytesAndNoPattern) {
  for (const char* key : {"a%25b", "a_b", "axb", "A_b"}) {
    ASSERT_EQ(Put(std::string("/bucket/") + key, "x").status, 200);
  }
  EXPECT_EQ(Get("/bucket?prefix=a_").Elements("Key"), (std::vector<std::string>{"a_b"}));
  EXPECT_EQ(Get("/bucket?prefix=a%25").Elements("Key"), (std::vector<std::string>{"a%b"}));
  EXPECT_EQ(Get("/bucket?prefix=A").Elements("Key"), (std::vector<std::string>{"A_b"}));
}

TEST_F(SeedDefectsTest, RangeEndsWhereItSays) {
  ASSERT_EQ(Put("/bucket/k", "0123456789").status, 200);
  const Seen middle = Get("/bucket/k", {{"range", "bytes=2-4"}});
  EXPECT_EQ(middle.status, 206);
  EXPECT_EQ(middle.body, "234");
  EXPECT_EQ(middle.headers.Get("content-range"), "bytes 2-4/10");
  EXPECT_EQ(Get("/bucket/k", {{"range", "bytes=-3"}}).body, "789");
  EXPECT_EQ(Get("/bucket/k", {{"range", "bytes=-300"}}).body, "0123456789");
  EXPECT_EQ(Get("/bucket/k", {{"range", "bytes=8-"}}).body, "89");
  const Seen outside = Get("/bucket/k", {{"range", "bytes=10-"}});
  EXPECT_EQ(outside.status, 416);
  EXPECT_EQ(outside.code(), "InvalidRange");
  EXPECT_EQ(Get("/bucket/k", {{"range", "bytes=5-2"}}).status, 200);
}

TEST_F(SeedDefectsTest, DeletingWhatIsNotThereSucceedsAndDeletesNothingElse) {
  ASSERT_EQ(Put("/bucket/dir/1", "x").status, 200);
  EXPECT_EQ(Send("DELETE", "/bucket/none").status, 204);
  EXPECT_EQ(Send("DELETE", "/bucket/dir/").status, 204);
  EXPECT_EQ(Get("/bucket/dir/1").status, 200);
}

TEST_F(SeedDefectsTest, ABucketWithObjectsIsNotDeleted) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  const Seen refused = Send("DELETE", "/bucket");
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.code(), "BucketNotEmpty");
  ASSERT_EQ(Send("DELETE", "/bucket/k").status, 204);
  EXPECT_EQ(Send("DELETE", "/bucket").status, 204);
  EXPECT_EQ(Send("HEAD", "/bucket").status, 404);
}

TEST_F(SeedDefectsTest, ReadOnlyRefusesEveryWrite) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  const std::string id = Send("POST", "/bucket/m?uploads").Element("UploadId");
  StorageOptions read_only;
  read_only.read_only = true;
  Start(read_only);
  EXPECT_EQ(Put("/bucket/k", "y").code(), "AccessDenied");
  EXPECT_EQ(Send("DELETE", "/bucket/k").code(), "AccessDenied");
  EXPECT_EQ(Put("/bucket/m?partNumber=1&uploadId=" + id, "part").code(), "AccessDenied");
  EXPECT_EQ(Put("/other", "").code(), "AccessDenied");
  EXPECT_EQ(Send("DELETE", "/bucket").code(), "AccessDenied");
  EXPECT_EQ(Get("/bucket/k").body, "x");
}

TEST_F(SeedDefectsTest, SystemHeadersAndMetadataComeBack) {
  ASSERT_EQ(Put("/bucket/k", "x",
                {{"content-type", "text/css"},
                 {"content-encoding", "gzip"},
                 {"content-language", "de"},
                 {"content-disposition", "inline"},
                 {"cache-control", "no-cache"},
                 {"expires", "Thu, 01 Dec 2033 16:00:00 GMT"},
                 {"x-amz-meta-Colour", "blue"}})
                .status,
            200);
  const Seen head = Send("HEAD", "/bucket/k");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.announced_bytes, 1u);
  EXPECT_EQ(head.headers.Get("etag"), "\"9dd4e461268c8034f5c8564e155c67a6\"");
  EXPECT_EQ(head.headers.Get("content-type"), "text/css");
  EXPECT_EQ(head.headers.Get("content-encoding"), "gzip");
  EXPECT_EQ(head.headers.Get("content-language"), "de");
  EXPECT_EQ(head.headers.Get("content-disposition"), "inline");
  EXPECT_EQ(head.headers.Get("cache-control"), "no-cache");
  EXPECT_EQ(head.headers.Get("expires"), "Thu, 01 Dec 2033 16:00:00 GMT");
  EXPECT_EQ(head.headers.Get("x-amz-meta-colour"), "blue");
}

TEST_F(SeedDefectsTest, CopyHonoursDirectiveConditionsAndTime) {
  ASSERT_EQ(Put("/bucket/k", "x", {{"x-amz-meta-a", "1"}}).status, 200);
  const std::string before = Send("HEAD", "/bucket/k").headers.Get("last-modified");
  clock_.Advance(std::chrono::hours(1));
  ASSERT_EQ(Put("/bucket/same", "", {{"x-amz-copy-source", "/bucket/k"}}).status, 200);
  EXPECT_EQ(Send("HEAD", "/bucket/same").headers.Get("x-amz-meta-a"), "1");
  EXPECT_NE(Send("HEAD", "/bucket/same").headers.Get("last-modified"), before);
  ASSERT_EQ(Put("/bucket/new", "",
                {{"x-amz-copy-source", "bucket/k"},
                 {"x-amz-metadata-directive", "REPLACE"},
                 {"x-amz-meta-b", "2"}})
                .status,
            200);
  EXPECT_EQ(Send("HEAD", "/bucket/new").headers.Get("x-amz-meta-a"), "");
  EXPECT_EQ(Send("HEAD", "/bucket/new").headers.Get("x-amz-meta-b"), "2");
  EXPECT_EQ(Put("/bucket/no", "",
                {{"x-amz-copy-source", "/bucket/k"}, {"x-amz-copy-source-if-match", "\"other\""}})
                .status,
            412);
  EXPECT_EQ(Put("/bucket/k", "", {{"x-amz-copy-source", "/bucket/k"}}).code(), "InvalidRequest");
}

TEST_F(SeedDefectsTest, MultipartUploadsAreS3s) {
  const Seen created =
      Send("POST", "/bucket/m?uploads", "", {{"x-amz-meta-kept", "yes"}, {"content-type", "a/b"}});
  const std::string id = created.Element("UploadId");
  const auto part = [&](int number, const std::string& body) {
    return Put(fmt::format("/bucket/m?partNumber={}&uploadId={}", number, id), body);
  };
  const std::string large(kPart, 'l');
  ASSERT_EQ(part(3, "wrong at first").status, 200);
  const std::string first = part(3, large).headers.Get("etag");  // again, and not 1, 2, 3...
  const std::string last = part(7, "tail").headers.Get("etag");
  EXPECT_EQ(Get("/bucket?uploads").Elements("UploadId"), std::vector<std::string>{id});
  EXPECT_EQ(Get("/bucket/m?uploadId=" + id).Elements("PartNumber"),
            (std::vector<std::string>{"3", "7"}));
  const auto complete = [&](const std::string& etag3, const std::string& etag7, bool swapped) {
    const std::string a = "<Part><PartNumber>3</PartNumber><ETag>" + etag3 + "</ETag></Part>";
    const std::string b = "<Part><PartNumber>7</PartNumber><ETag>" + etag7 + "</ETag></Part>";
    return Send(
        "POST", "/bucket/m?uploadId=" + id,
        "<CompleteMultipartUpload>" + (swapped ? b + a : a + b) + "</CompleteMultipartUpload>");
  };
  EXPECT_EQ(complete(first, "\"00000000000000000000000000000000\"", false).code(), "InvalidPart");
  EXPECT_EQ(complete(first, last, true).code(), "InvalidPartOrder");
  const Seen done = complete(first, last, false);
  ASSERT_EQ(done.status, 200) << done.body;
  EXPECT_NE(done.Element("ETag").find("-2"), std::string::npos);
  const Seen head = Send("HEAD", "/bucket/m");
  EXPECT_EQ(head.announced_bytes, kPart + 4);
  EXPECT_EQ(head.headers.Get("x-amz-meta-kept"), "yes");
  EXPECT_EQ(head.headers.Get("content-type"), "a/b");
  EXPECT_EQ(Get("/bucket/m", {{"range", "bytes=-5"}}).body, "ltail");
  // Parts below the minimum, and abort.
  EXPECT_EQ(Multipart("/bucket/n", {"small", "parts"}).code(), "EntityTooSmall");
  const std::string other = Send("POST", "/bucket/o?uploads").Element("UploadId");
  EXPECT_EQ(Send("DELETE", "/bucket/o?uploadId=" + other).status, 204);
  EXPECT_EQ(Put("/bucket/o?partNumber=1&uploadId=" + other, "x").code(), "NoSuchUpload");
  // A part out of another object.
  const std::string copied = Send("POST", "/bucket/p?uploads").Element("UploadId");
  const Seen copy =
      Put("/bucket/p?partNumber=1&uploadId=" + copied, "",
          {{"x-amz-copy-source", "/bucket/m"},
           {"x-amz-copy-source-range", fmt::format("bytes={}-{}", kPart, kPart + 3)}});
  EXPECT_EQ(copy.status, 200) << copy.body;
  const Seen assembled =
      Send("POST", "/bucket/p?uploadId=" + copied,
           "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" +
               copy.Element("ETag") + "</ETag></Part></CompleteMultipartUpload>");
  EXPECT_EQ(assembled.status, 200) << assembled.body;
  EXPECT_EQ(Get("/bucket/p").body, "tail");
}

TEST_F(SeedDefectsTest, LargeBodiesAreStreamedBothWays) {
  std::string large;
  for (int i = 0; large.size() < (size_t{3} << 20); ++i) {
    large += fmt::format("{} ", i);
  }
  piece_ = 16'384;
  ASSERT_EQ(Put("/bucket/large", large).status, 200);
  const std::unique_ptr<Exchange> exchange =
      service_->Begin(Signed("GET", "/bucket/large", "", {}));
  const std::optional<Response> answer = exchange->Early();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->body.empty());
  EXPECT_TRUE(answer->stream != nullptr);
  EXPECT_EQ(Get("/bucket/large").body, large);
}

TEST_F(SeedDefectsTest, DeleteObjectsAnswersForEveryKey) {
  ASSERT_EQ(Put("/bucket/there", "x").status, 200);
  const std::string document =
      "<Delete><Object><Key>there</Key></Object><Object><Key>not there</Key></Object></Delete>";
  const Seen deleted =
      Send("POST", "/bucket?delete", document, {{"content-md5", Md5Base64Of(document)}});
  EXPECT_EQ(deleted.Elements("Key"), (std::vector<std::string>{"there", "not there"}));
  EXPECT_EQ(Get("/bucket/there").status, 404);
}

TEST_F(SeedDefectsTest, ConditionsChecksumsVersionsAndTagsWork) {
  ASSERT_EQ(Put("/bucket/k", "one", {{"if-none-match", "*"}}).status, 200);
  EXPECT_EQ(Put("/bucket/k", "two", {{"if-none-match", "*"}}).code(), "PreconditionFailed");
  const std::string etag = Send("HEAD", "/bucket/k").headers.Get("etag");
  EXPECT_EQ(Put("/bucket/k", "two", {{"if-match", "\"0\""}}).status, 412);
  EXPECT_EQ(Put("/bucket/k", "two", {{"if-match", etag}}).status, 200);
  EXPECT_EQ(Get("/bucket/k", {{"if-match", etag}}).status, 412);
  EXPECT_EQ(
      Get("/bucket/k", {{"if-none-match", Send("HEAD", "/bucket/k").headers.Get("etag")}}).status,
      304);
  ASSERT_EQ(Put("/bucket/c", "123456789", {{"x-amz-checksum-crc32", "y/Q5Jg=="}}).status, 200);
  EXPECT_EQ(
      Get("/bucket/c", {{"x-amz-checksum-mode", "ENABLED"}}).headers.Get("x-amz-checksum-crc32"),
      "y/Q5Jg==");
  EXPECT_EQ(Put("/bucket/c", "changed", {{"x-amz-checksum-crc32", "y/Q5Jg=="}}).code(),
            "BadDigest");
  ASSERT_EQ(Put("/bucket/k?tagging",
                "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
                .status,
            200);
  EXPECT_EQ(Get("/bucket/k?tagging").Element("Key"), "a");
  ASSERT_EQ(Put("/bucket?versioning",
                "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
                .status,
            200);
  const std::string version = Put("/bucket/k", "three").headers.Get("x-amz-version-id");
  EXPECT_EQ(Send("DELETE", "/bucket/k").headers.Get("x-amz-delete-marker"), "true");
  EXPECT_EQ(Get("/bucket/k").status, 404);
  EXPECT_EQ(Get("/bucket/k?versionId=" + version).body, "three");
  EXPECT_EQ(Get("/bucket?versions&prefix=k").Elements("VersionId").size(), 3u);
  EXPECT_EQ(Get("/bucket/c?attributes", {{"x-amz-object-attributes", "ObjectSize,Checksum"}})
                .Element("ChecksumCRC32"),
            "y/Q5Jg==");
}

TEST_F(SeedDefectsTest, ListTokensOutliveTheProcess) {
  for (const char* key : {"a", "b", "c"}) {
    ASSERT_EQ(Put(std::string("/bucket/") + key, "x").status, 200);
  }
  const Seen first = Get("/bucket?list-type=2&max-keys=2");
  EXPECT_EQ(first.Element("IsTruncated"), "true");
  Start();
  const Seen rest = Get("/bucket?list-type=2&continuation-token=" +
                        UriEncode(first.Element("NextContinuationToken"), true));
  EXPECT_EQ(rest.Elements("Key"), std::vector<std::string>{"c"});
  EXPECT_EQ(rest.Element("IsTruncated"), "false");
}

TEST_F(SeedDefectsTest, LocationIsTheRegion) {
  EXPECT_NE(Get("/bucket?location").body.find("LocationConstraint"), std::string::npos);
  EXPECT_EQ(Get("/bucket?location").Element("LocationConstraint"), "");
  ServiceOptions elsewhere;
  elsewhere.region = "eu-central-1";
  Start({}, elsewhere);
  EXPECT_NE(Get("/bucket?location").body.find(">eu-central-1<"), std::string::npos);
}

TEST_F(SeedDefectsTest, AnAcknowledgedObjectIsThereAfterARestart) {
  ASSERT_EQ(Put("/bucket/k", "kept").status, 200);
  Start();
  EXPECT_EQ(Get("/bucket/k").body, "kept");
}

}  // namespace
}  // namespace sqlite_s3::server

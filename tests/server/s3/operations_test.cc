// The operations one by one, as clients rely on them.
#include <fmt/format.h>

#include "common/base/ascii.h"
#include "server/auth/digest.h"
#include "tests/server/s3/s3_fixture.h"

namespace sqlite_s3::server {
namespace {

class OperationsTest : public S3Test {
 protected:
  void SetUp() override {
    Start();
    ASSERT_EQ(Put("/bucket", "").status, 200);
  }
};

TEST_F(OperationsTest, ErrorsAreS3sDocuments) {
  const Seen answer = Get("/bucket/none");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.headers.Get("content-type"), "application/xml");
  EXPECT_EQ(answer.code(), "NoSuchKey");
  EXPECT_EQ(answer.Element("Resource"), "/bucket/none");
  EXPECT_EQ(answer.Element("RequestId"), answer.headers.Get("x-amz-request-id"));
  EXPECT_EQ(answer.Element("RequestId").size(), 16u);
}

TEST_F(OperationsTest, MakingOnesOwnBucketAgainIsFineAndAnothersIsNot) {
  EXPECT_EQ(Put("/bucket", "").status, 200);
  user_ = *users_.Find("READER");
  EXPECT_EQ(Put("/bucket", "").code(), "AccessDenied");
  ServiceOptions elsewhere;
  elsewhere.region = "eu-central-1";
  Start({}, elsewhere);
  user_ = *users_.Find("ALICE");
  EXPECT_EQ(Put("/bucket", "").code(), "BucketAlreadyOwnedByYou");
}

TEST_F(OperationsTest, SettingsThatDoNotExistHaveTheirOwnCodes) {
  const std::pair<const char*, const char*> expected[] = {
      {"policy", "NoSuchBucketPolicy"},
      {"lifecycle", "NoSuchLifecycleConfiguration"},
      {"cors", "NoSuchCORSConfiguration"},
      {"tagging", "NoSuchTagSet"},
      {"encryption", "ServerSideEncryptionConfigurationNotFoundError"},
      {"website", "NoSuchWebsiteConfiguration"},
      {"replication", "ReplicationConfigurationNotFoundError"},
      {"object-lock", "ObjectLockConfigurationNotFoundError"},
      {"publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"},
      {"ownershipControls", "OwnershipControlsNotFoundError"}};
  for (const auto& [parameter, code] : expected) {
    const Seen answer = Get(std::string("/bucket?") + parameter);
    EXPECT_EQ(answer.status, 404) << parameter;
    EXPECT_EQ(answer.code(), code) << parameter;
  }
  EXPECT_EQ(Get("/bucket?logging").status, 200);
  EXPECT_EQ(Get("/bucket?requestPayment").Element("Payer"), "BucketOwner");
  EXPECT_EQ(Put("/bucket?policy", "{}").code(), "NotImplemented");
  EXPECT_EQ(Send("DELETE", "/bucket?policy").status, 204);
}

TEST_F(OperationsTest, BucketsAreListedInPagesByPrefixAndRegion) {
  for (const char* name : {"/page-b", "/page-a", "/page-c"}) {
    ASSERT_EQ(Put(name, "").status, 200);
  }
  using Names = std::vector<std::string>;
  const Seen first = Get("/?prefix=page-&max-buckets=2");
  EXPECT_EQ(first.Elements("Name"), (Names{"page-a", "page-b"}));
  EXPECT_EQ(first.Element("Prefix"), "page-");
  const Seen second = Get("/?prefix=page-&max-buckets=2&continuation-token=" +
                          UriEncode(first.Element("ContinuationToken"), true));
  EXPECT_EQ(second.Elements("Name"), Names{"page-c"});
  EXPECT_EQ(second.Element("ContinuationToken"), "");
  EXPECT_EQ(Get("/?bucket-region=us-east-1&prefix=page-a").Elements("Name"), Names{"page-a"});
  EXPECT_EQ(Get("/?bucket-region=elsewhere").Elements("Name"), Names{});
  EXPECT_EQ(Get("/?max-buckets=0").code(), "InvalidArgument");
  EXPECT_EQ(Get("/?continuation-token=nonsense").code(), "InvalidArgument");
}

TEST_F(OperationsTest, ListV1PagesByMarker) {
  for (const char* key : {"a", "b", "c", "d"}) {
    ASSERT_EQ(Put(std::string("/bucket/") + key, "x").status, 200);
  }
  const Seen first = Get("/bucket?max-keys=2");
  EXPECT_EQ(first.Elements("Key"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(first.Element("IsTruncated"), "true");
  const Seen second = Get("/bucket?max-keys=2&marker=b");
  EXPECT_EQ(second.Elements("Key"), (std::vector<std::string>{"c", "d"}));
  EXPECT_EQ(second.Element("IsTruncated"), "false");
  EXPECT_EQ(Get("/bucket?max-keys=-1").code(), "InvalidArgument");
  EXPECT_EQ(Get("/bucket?max-keys=x").code(), "InvalidArgument");
  EXPECT_EQ(Get("/bucket?max-keys=0").Elements("Key").size(), 0u);
}

TEST_F(OperationsTest, EncodingTypeUrlEncodesKeys) {
  ASSERT_EQ(Put("/bucket/a%20b%2Bc%01", "x").status, 200);
  EXPECT_EQ(Get("/bucket?list-type=2&encoding-type=url").Element("Key"), "a%20b%2Bc%01");
  EXPECT_EQ(Get("/bucket?encoding-type=other").code(), "InvalidArgument");
}

TEST_F(OperationsTest, OwnersAreListedInV2OnlyWhenAskedFor) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  EXPECT_EQ(Get("/bucket?list-type=2").Elements("Owner").size(), 0u);
  EXPECT_EQ(Get("/bucket?list-type=2&fetch-owner=true").Element("DisplayName"), "alice");
  EXPECT_EQ(Get("/bucket").Element("DisplayName"), "alice");
}

TEST_F(OperationsTest, AWrongTokenIsInvalid) {
  EXPECT_EQ(Get("/bucket?list-type=2&continuation-token=%21%21").code(), "InvalidArgument");
}

TEST_F(OperationsTest, ReadConditionsFollowTheirOrder) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  const Seen head = Send("HEAD", "/bucket/k");
  const std::string etag = head.headers.Get("etag");
  const std::string modified = head.headers.Get("last-modified");
  const std::string past = "Thu, 01 Jan 2004 00:00:00 GMT";
  EXPECT_EQ(Get("/bucket/k", {{"if-match", etag}, {"if-unmodified-since", past}}).status, 200);
  EXPECT_EQ(Get("/bucket/k", {{"if-unmodified-since", past}}).status, 412);
  EXPECT_EQ(Get("/bucket/k", {{"if-modified-since", modified}}).status, 304);
  EXPECT_EQ(Get("/bucket/k", {{"if-none-match", "\"x\""}, {"if-modified-since", modified}}).status,
            200);
  const Seen unchanged = Get("/bucket/k", {{"if-none-match", etag}});
  EXPECT_EQ(unchanged.status, 304);
  EXPECT_EQ(unchanged.body, "");
  EXPECT_EQ(unchanged.headers.Get("etag"), etag);
}

TEST_F(OperationsTest, ChecksumsOfEveryAlgorithmAreVerifiedAndEchoed) {
  const std::string body = "The quick brown fox";
  for (const DigestKind kind : {DigestKind::kCrc32, DigestKind::kCrc32c, DigestKind::kCrc64Nvme,
                                DigestKind::kSha1, DigestKind::kSha256}) {
    const std::string header = "x-amz-checksum-" + ToLower(ChecksumAlgorithmName(kind));
    const std::string right = EncodeBase64(DigestOf(kind, AsBytes(body)));
    const std::string wrong = EncodeBase64(DigestOf(kind, AsBytes("other")));
    EXPECT_EQ(Put("/bucket/k", body, {{header, right}}).headers.Get(header), right);
    const Seen head = Send("HEAD", "/bucket/k", "", {{"x-amz-checksum-mode", "ENABLED"}});
    EXPECT_EQ(head.headers.Get(header), right);
    EXPECT_EQ(head.headers.Get("x-amz-checksum-type"), "FULL_OBJECT");
    EXPECT_EQ(Send("HEAD", "/bucket/k").headers.Get(header), "");
    EXPECT_EQ(Put("/bucket/k", body, {{header, wrong}}).code(), "BadDigest");
    EXPECT_EQ(Put("/bucket/k", body, {{header, "AA=="}}).code(), "InvalidRequest");
  }
  EXPECT_EQ(Put("/bucket/k", body, {{"x-amz-sdk-checksum-algorithm", "CRC32"}}).code(),
            "InvalidRequest");
  // A range's checksum would be another.
  EXPECT_EQ(Get("/bucket/k", {{"range", "bytes=0-1"}, {"x-amz-checksum-mode", "ENABLED"}})
                .headers.Get("x-amz-checksum-sha256"),
            "");
}

TEST_F(OperationsTest, TrailingChecksumsAreVerified) {
  const auto upload = [&](const std::string& checksum) {
    const std::string body = "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:" + checksum + "\r\n\r\n";
    return Put("/bucket/k", body,
               {{"x-amz-content-sha256", std::string(kStreamingUnsignedTrailer)},
                {"content-encoding", "aws-chunked"},
                {"x-amz-trailer", "x-amz-checksum-crc32"},
                {"x-amz-decoded-content-length", "3"}});
  };
  EXPECT_EQ(upload("AAAAAA==").code(), "BadDigest");
  EXPECT_EQ(Get("/bucket/k").status, 404);
  EXPECT_EQ(upload("NSRBwg==").status, 200);
  const Seen got = Get("/bucket/k");
  EXPECT_EQ(got.body, "abc");
  EXPECT_EQ(got.headers.Get("content-encoding"), "");
}

TEST_F(OperationsTest, CompositeAndFullObjectChecksumsOfUploads) {
  const std::string large(size_t{5} << 20, 'x');
  const std::string whole = large + "tail";
  const Seen composite =
      Multipart("/bucket/c", {large, "tail"}, {{"x-amz-checksum-algorithm", "SHA256"}});
  EXPECT_EQ(composite.Element("ChecksumType"), "COMPOSITE");
  EXPECT_NE(composite.Element("ChecksumSHA256").find("-2"), std::string::npos);
  const Seen full = Multipart(
      "/bucket/f", {large, "tail"},
      {{"x-amz-checksum-algorithm", "CRC64NVME"}, {"x-amz-checksum-type", "FULL_OBJECT"}});
  EXPECT_EQ(full.Element("ChecksumCRC64NVME"),
            EncodeBase64(DigestOf(DigestKind::kCrc64Nvme, AsBytes(whole))));
  EXPECT_EQ(
      Multipart("/bucket/w", {large, "tail"},
                {{"x-amz-checksum-algorithm", "CRC32"}, {"x-amz-checksum-type", "FULL_OBJECT"}},
                {{"x-amz-checksum-crc32", "AAAAAA=="}})
          .code(),
      "BadDigest");
  EXPECT_EQ(
      Multipart(
          "/bucket/r", {large, "tail"},
          {{"x-amz-checksum-algorithm", "CRC32"}, {"x-amz-checksum-type", "FULL_OBJECT"}},
          {{"x-amz-checksum-crc32", EncodeBase64(DigestOf(DigestKind::kCrc32, AsBytes(whole)))}})
          .code(),
      "")
      << "the header is about the object, not about the document that completes it";
  EXPECT_EQ(Send("POST", "/bucket/n?uploads", "",
                 {{"x-amz-checksum-algorithm", "SHA1"}, {"x-amz-checksum-type", "FULL_OBJECT"}})
                .code(),
            "InvalidRequest");
  const Seen part = Get("/bucket/f?partNumber=2");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "tail");
  EXPECT_EQ(part.headers.Get("x-amz-mp-parts-count"), "2");
  EXPECT_EQ(Get("/bucket/f?partNumber=3").code(), "InvalidPartNumber");
}

TEST_F(OperationsTest, ConditionalCompleteLosesToAnExistingObject) {
  ASSERT_EQ(Put("/bucket/k", "first").status, 200);
  EXPECT_EQ(Multipart("/bucket/k", {"second"}, {}, {{"if-none-match", "*"}}).code(),
            "PreconditionFailed");
  EXPECT_EQ(Get("/bucket/k").body, "first");
  EXPECT_EQ(Multipart("/bucket/new", {"second"}, {}, {{"if-none-match", "*"}}).status, 200);
}

TEST_F(OperationsTest, ConditionalDeleteLooksAtTheEtag) {
  const std::string etag = Put("/bucket/k", "x").headers.Get("etag");
  EXPECT_EQ(Send("DELETE", "/bucket/k", "", {{"if-match", "\"other\""}}).code(),
            "PreconditionFailed");
  EXPECT_EQ(Send("DELETE", "/bucket/k", "", {{"if-match", etag}}).status, 204);
}

TEST_F(OperationsTest, CopiesGoBetweenBuckets) {
  ASSERT_EQ(Put("/other-bucket", "").status, 200);
  const std::string body(300'000, 'b');
  ASSERT_EQ(Put("/bucket/k", body, {{"x-amz-meta-a", "1"}, {"x-amz-tagging", "t=v"}}).status, 200);
  const Seen copied = Put("/other-bucket/k2", "", {{"x-amz-copy-source", "/bucket/k"}});
  ASSERT_EQ(copied.status, 200) << copied.body;
  const Seen got = Get("/other-bucket/k2");
  EXPECT_EQ(got.body, body);
  EXPECT_EQ(got.headers.Get("x-amz-meta-a"), "1");
  EXPECT_EQ(Get("/other-bucket/k2?tagging").Element("Value"), "v");
  EXPECT_EQ(Put("/other-bucket/k3", "", {{"x-amz-copy-source", "/bucket/none"}}).code(),
            "NoSuchKey");
  EXPECT_EQ(Put("/other-bucket/k3", "", {{"x-amz-copy-source", "/nobucket/k"}}).code(),
            "NoSuchBucket");
  EXPECT_EQ(Put("/other-bucket/k3", "", {{"x-amz-copy-source", "nonsense"}}).code(),
            "InvalidArgument");
}

TEST_F(OperationsTest, VersionsAreListedAndDeletedOneByOne) {
  ASSERT_EQ(Put("/bucket?versioning",
                "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
                .status,
            200);
  EXPECT_EQ(Get("/bucket?versioning").Element("Status"), "Enabled");
  const std::string first = Put("/bucket/k", "1").headers.Get("x-amz-version-id");
  const std::string second = Put("/bucket/k", "2").headers.Get("x-amz-version-id");
  EXPECT_NE(first, second);
  const Seen marker = Send("DELETE", "/bucket/k");
  const std::string marker_id = marker.headers.Get("x-amz-version-id");
  const Seen gone = Get("/bucket/k");
  EXPECT_EQ(gone.code(), "NoSuchKey");
  EXPECT_EQ(gone.headers.Get("x-amz-delete-marker"), "true");
  EXPECT_EQ(Get("/bucket/k?versionId=" + marker_id).code(), "MethodNotAllowed");
  const Seen versions = Get("/bucket?versions");
  EXPECT_EQ(versions.Elements("VersionId"), (std::vector<std::string>{marker_id, second, first}));
  EXPECT_EQ(versions.Elements("IsLatest"), (std::vector<std::string>{"true", "false", "false"}));
  EXPECT_EQ(Send("DELETE", "/bucket/k?versionId=" + marker_id).headers.Get("x-amz-delete-marker"),
            "true");
  EXPECT_EQ(Get("/bucket/k").body, "2");
  EXPECT_EQ(Send("DELETE", "/bucket/k?versionId=" + second).status, 204);
  EXPECT_EQ(Get("/bucket/k").body, "1");
  EXPECT_EQ(Get("/bucket/k?versionId=none").code(), "NoSuchVersion");
  EXPECT_EQ(Put("/bucket?versioning", "<VersioningConfiguration/>").code(),
            "IllegalVersioningConfigurationException");
}

TEST_F(OperationsTest, TagsHaveRules) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  std::string eleven = "<Tagging><TagSet>";
  for (int i = 0; i < 11; ++i) {
    eleven += fmt::format("<Tag><Key>{}</Key><Value/></Tag>", i);
  }
  EXPECT_EQ(Put("/bucket/k?tagging", eleven + "</TagSet></Tagging>").status, 400);
  EXPECT_EQ(Put("/bucket/k?tagging",
                "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>a</Key><Value>2"
                "</Value></Tag></TagSet></Tagging>")
                .code(),
            "InvalidTag");
  EXPECT_EQ(Put("/bucket/t", "x", {{"x-amz-tagging", "a=1&b=2"}}).status, 200);
  EXPECT_EQ(Send("HEAD", "/bucket/t").headers.Get("x-amz-tagging-count"), "2");
  EXPECT_EQ(Send("DELETE", "/bucket/t?tagging").status, 204);
  EXPECT_EQ(Get("/bucket/t?tagging").Elements("Tag").size(), 0u);
  ASSERT_EQ(Put("/bucket?tagging",
                "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
                .status,
            204);
  EXPECT_EQ(Get("/bucket?tagging").Element("Value"), "b");
  EXPECT_EQ(Send("DELETE", "/bucket?tagging").status, 204);
  EXPECT_EQ(Get("/bucket?tagging").code(), "NoSuchTagSet");
}

TEST_F(OperationsTest, CorsRulesAnswerBrowsers) {
  ASSERT_EQ(Put("/bucket?cors",
                "<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example.com</AllowedOrigin>"
                "<AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*</AllowedHeader>"
                "<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>"
                "</CORSConfiguration>")
                .status,
            200);
  const auto preflight = [&](const std::string& origin, const std::string& method,
                             const std::string& headers) {
    Request request;
    request.method = "OPTIONS";
    request.path = "/bucket/k";
    request.headers.Add("Origin", origin);
    request.headers.Add("Access-Control-Request-Method", method);
    request.headers.Add("Access-Control-Request-Headers", headers);
    return Deliver(std::move(request), "");
  };
  const Seen allowed = preflight("https://a.example.com", "GET", "X-One, x-two");
  EXPECT_EQ(allowed.status, 200);
  EXPECT_EQ(allowed.headers.Get("access-control-allow-origin"), "https://a.example.com");
  EXPECT_EQ(allowed.headers.Get("access-control-allow-headers"), "x-one, x-two");
  EXPECT_EQ(allowed.headers.Get("access-control-max-age"), "60");
  EXPECT_EQ(preflight("https://evil.com", "GET", "").status, 403);
  EXPECT_EQ(preflight("https://a.example.com", "PUT", "").status, 403);
  EXPECT_EQ(preflight("https://a.example.com", "GET", "authorization").status, 403);
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  EXPECT_EQ(Get("/bucket/k", {{"origin", "https://a.example.com"}})
                .headers.Get("access-control-expose-headers"),
            "ETag");
  EXPECT_EQ(
      Get("/bucket/k", {{"origin", "https://evil.com"}}).headers.Get("access-control-allow-origin"),
      "");
}

TEST_F(OperationsTest, VirtualHostsNameBuckets) {
  ServiceOptions options;
  options.domain = "s3.example.com";
  Start({}, options);
  const HeaderList host = {{"host", "bucket.s3.example.com:9000"}};
  ASSERT_EQ(Put("/k", "x", host).status, 200);
  EXPECT_EQ(Get("/k", host).body, "x");
  EXPECT_EQ(Get("/bucket/k").body, "x");
  EXPECT_EQ(Get("/", host).Element("Key"), "k");
}

TEST_F(OperationsTest, ResponseHeadersCanBeOverridden) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  const Seen got = Get("/bucket/k?response-content-type=a%2Fb&response-expires=123");
  EXPECT_EQ(got.headers.Get("content-type"), "a/b");
  EXPECT_EQ(got.headers.Get("expires"), "123");
}

TEST_F(OperationsTest, HealthNeedsNoCredentials) {
  Request request;
  request.method = "GET";
  request.path = "/healthz";
  const Seen answer = Deliver(std::move(request), "");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "ok\n");
}

}  // namespace
}  // namespace sqlite_s3::server

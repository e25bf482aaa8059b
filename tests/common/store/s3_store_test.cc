// What the S3 driver makes of each answer a server can give. The rules that every store keeps are
// in object_store_contract*_test.cc.

#include "tests/common/store/s3_store_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "common/store/http_date.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(S3StoreTest, EachAnswerHasItsStatus) {
  const struct {
    ScriptedReply reply;
    StatusCode code;
    const char* says;
  } kCases[] = {
      {S3Error(412, "PreconditionFailed"), StatusCode::kAlreadyExists, "PreconditionFailed"},
      {S3Error(409, "ConditionalRequestConflict"), StatusCode::kUnavailable, "Conditional"},
      {S3Error(409, "OperationAborted"), StatusCode::kUnavailable, "OperationAborted"},
      {S3Error(503, "SlowDown"), StatusCode::kUnavailable, "SlowDown"},
      {S3Error(500, "InternalError"), StatusCode::kUnavailable, "InternalError"},
      {S3Error(400, "RequestTimeout"), StatusCode::kUnavailable, "RequestTimeout"},
      {S3Error(400, "BadDigest"), StatusCode::kUnavailable, "BadDigest"},
      {HttpReply(429), StatusCode::kUnavailable, "429"},
      {HttpReply(502, "<html>bad gateway"), StatusCode::kUnavailable, "502"},
      {S3Error(418, "Teapot"), StatusCode::kInvalidArgument, "Teapot"},
      {S3Error(200, "InternalError"), StatusCode::kUnavailable, "InternalError"},
      {S3Error(200, "SlowDown"), StatusCode::kUnavailable, "SlowDown"},
      {S3Error(404, "NoSuchBucket"), StatusCode::kFailedPrecondition, "hint: create the bucket"},
      {S3Error(403, "AccessDenied"), StatusCode::kPermissionDenied, "doctor"},
      {S3Error(403, "InvalidAccessKeyId"), StatusCode::kPermissionDenied, "hint"},
      {S3Error(403, "SignatureDoesNotMatch"), StatusCode::kPermissionDenied, "secret access key"},
      {S3Error(403, "InvalidObjectState"), StatusCode::kFailedPrecondition, "archived"},
      {S3Error(400, "KMS.DisabledException"), StatusCode::kFailedPrecondition, "sse_kms_key_id"},
      {S3Error(501, "NotImplemented"), StatusCode::kUnimplemented, "NotImplemented"},
      {HttpReply(507), StatusCode::kResourceExhausted, "507"},
      {S3Error(301, "PermanentRedirect", "x-amz-bucket-region: eu-west-3\r\n"),
       StatusCode::kInvalidArgument, "region=eu-west-3"},
      {S3Error(307, "TemporaryRedirect", "Location: http://127.0.0.1:1/\r\n"),
       StatusCode::kUnavailable, "TemporaryRedirect"},
      {HttpReply(400,
                 "<Error><Code>AuthorizationHeaderMalformed</Code>"
                 "<Region>ap-south-1</Region></Error>"),
       StatusCode::kInvalidArgument, "region=ap-south-1"},
  };
  for (const auto& c : kCases) {
    Script({c.reply});
    Status status = Put();
    EXPECT_EQ(status.code(), c.code) << c.reply.bytes << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(c.says));
    EXPECT_THAT(status.message(), HasSubstr("s3://bucket/root/k"));
    EXPECT_EQ(Requests().size(), 1u) << "only RetryingStore repeats: " << c.reply.bytes;
  }
}

TEST_F(S3StoreTest, ARedirectIsNotFollowed) {
  ScriptedHttp other([](const ScriptedRequest&) { return HttpReply(200); });
  Script({HttpReply(307, "", "Location: " + other.endpoint() + "/bucket/root/k\r\n")});
  EXPECT_STATUS(Put(), StatusCode::kUnavailable);
  EXPECT_TRUE(other.requests().empty());
}

TEST_F(S3StoreTest, ABodyCutShortIsUnavailable) {
  Script({{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", true}});
  EXPECT_STATUS(Get(), StatusCode::kUnavailable);
}

TEST_F(S3StoreTest, ABodyWithoutALengthIsNotTrusted) {
  Script({{"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n12345", true}});
  EXPECT_STATUS(Get(), StatusCode::kUnavailable);
}

TEST_F(S3StoreTest, AChunkedBodyIsWhole) {
  Script({{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n"}});
  ASSERT_OK_AND_ASSIGN(Bytes got, store_->Get("k", 100));
  EXPECT_EQ(AsText(got), "12345");
}

TEST_F(S3StoreTest, AnEndlessBodyIsReadToTheBoundOnly) {
  std::string chunk = "10000\r\n" + std::string(65536, 'x') + "\r\n";
  Script({{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, chunk}});
  EXPECT_STATUS(store_->Get("k", 1'000'000).status(), StatusCode::kResourceExhausted);
}

TEST_F(S3StoreTest, EndlessHeadersEnd) {
  Script({{"HTTP/1.1 200 OK\r\n", false, "X-Filler: " + std::string(80, 'x') + "\r\n"}});
  EXPECT_STATUS(Get(), StatusCode::kUnavailable);
}

TEST_F(S3StoreTest, AHugeErrorDocumentIsCut) {
  Script({HttpReply(400, "<Error>" + std::string(5'000'000, 'x'))});
  Status status = Get();
  EXPECT_STATUS(status, StatusCode::kInvalidArgument);
  EXPECT_LT(status.message().size(), 500u);
}

TEST_F(S3StoreTest, TheServersMessageIsMadePrintable) {
  Script({HttpReply(400, "<Error><Code>A&#10;B</Code><Message>x&#27;[31m</Message></Error>")});
  EXPECT_THAT(Get().message(), HasSubstr("A?B (HTTP 400): x?[31m"));
}

TEST_F(S3StoreTest, ABrokenConnectionIsUnavailable) {
  Script({{"", true}});
  EXPECT_STATUS(Get(), StatusCode::kUnavailable);
  http_.reset();
  EXPECT_STATUS(Get(), StatusCode::kUnavailable);
}

TEST_F(S3StoreTest, AnotherRangeThanAskedForIsCorruption) {
  Script({{HttpReply(206, "12345", "Content-Range: bytes 3-7/10\r\n")},
          {HttpReply(206, "12345", "Content-Range: bytes 2-6/10\r\n")},
          {HttpReply(206, "123456", "Content-Range: bytes 2-7/10\r\n")},
          {HttpReply(200, "1234567890")}});
  const ByteRange range{2, 5};
  EXPECT_STATUS(store_->Get("k", 100, range), StatusCode::kCorruption);
  EXPECT_OK(store_->Get("k", 100, range));
  EXPECT_STATUS(store_->Get("k", 100, range), StatusCode::kCorruption);
  EXPECT_STATUS(store_->Get("k", 100, range), StatusCode::kUnimplemented);
  EXPECT_EQ(Requests()[0].headers.at("range"), "bytes=2-6");
}

TEST_F(S3StoreTest, TheServersClockIsLearntOnceAndSignedWith) {
  const int64_t hour = 3'600'000'000;
  std::string late = "Date: " + FormatHttpDate(Clock::Real().WallMicros() + hour) + "\r\n";
  Script({S3Error(403, "RequestTimeTooSkewed", late), HttpReply(200, "", late + "ETag: \"e\"\r\n"),
          HttpReply(200, "", late + "ETag: \"e\"\r\n")});
  EXPECT_OK(Put());
  EXPECT_OK(Put());
  auto requests = Requests();
  ASSERT_EQ(requests.size(), 3u);
  auto first = ParseAmzDate(requests[0].headers["x-amz-date"]);
  auto second = ParseAmzDate(requests[1].headers["x-amz-date"]);
  ASSERT_TRUE(first && second);
  EXPECT_NEAR(static_cast<double>(*second - *first), hour, 60e6) << "with what passed meanwhile";
}

TEST_F(S3StoreTest, AHeadThatIsRefusedWithoutANameLearnsTheClockToo) {
  std::string late = "Date: " + FormatHttpDate(Clock::Real().WallMicros() + 3'600'000'000) + "\r\n";
  Script({HttpReply(403, "", late + "Content-Length: 0\r\n"),
          HttpReply(200, "", late + kLastModified)});
  EXPECT_OK(store_->Head("k"));
  EXPECT_EQ(Requests().size(), 2u);
}

TEST_F(S3StoreTest, SkewThatStaysIsSaid) {
  std::string late = "Date: " + FormatHttpDate(Clock::Real().WallMicros() + 3'600'000'000) + "\r\n";
  Script({S3Error(403, "RequestTimeTooSkewed", late), S3Error(403, "RequestTimeTooSkewed", late)});
  Status status = Put();
  EXPECT_STATUS(status, StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("clocks"));
  EXPECT_EQ(Requests().size(), 2u);
}

TEST_F(S3StoreTest, ExpiredCredentialsAreFetchedAgainOnce) {
  Script({S3Error(400, "ExpiredToken"), kTaken});
  EXPECT_OK(Put());
  Script({S3Error(400, "ExpiredToken"), S3Error(400, "ExpiredToken"), kTaken});
  EXPECT_STATUS(Put(), StatusCode::kPermissionDenied);
}

TEST_F(S3StoreTest, HostileListingsAreCorruption) {
  auto listing = [](const std::string& inside) {
    return HttpReply(200, "<ListBucketResult>" + inside + "</ListBucketResult>");
  };
  auto entry = [](const std::string& key, const std::string& size = "1") {
    return "<Contents><Key>" + key + "</Key><Size>" + size +
           "</Size><LastModified>2013-05-24T00:00:00.000Z</LastModified></Contents>";
  };
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  const ScriptedReply kBad[] = {
      HttpReply(200, ""),
      HttpReply(200, "<html/>"),
      HttpReply(200, "<ListBucketResult><Contents>"),
      HttpReply(200, "<!DOCTYPE x [<!ENTITY a \"aaa\">]><ListBucketResult/>"),
      listing(deep),
      listing(entry("root/b") + entry("root/a")),
      listing(entry("root/a") + entry("root/a")),
      listing(entry("other/a")),
      listing(entry("root/a", "-1")),
      listing(entry("root/a", "99999999999999999999999")),
      listing(entry("root/a", "")),
      listing(entry("root/a") + entry("root/b") + entry("root/c")),
      listing("<IsTruncated>true</IsTruncated>"),
      listing("<IsTruncated>true</IsTruncated>" + entry("root/a b")),
  };
  for (const ScriptedReply& reply : kBad) {
    Script({reply});
    EXPECT_STATUS(store_->List("", "", 2), StatusCode::kCorruption) << reply.bytes.substr(0, 300);
  }
}

TEST_F(S3StoreTest, PagesOfForeignNamesAreSkipped) {
  auto page = [](const std::string& key, const std::string& rest) {
    return HttpReply(200, "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>" +
                              key +
                              "</Key><Size>1</Size><LastModified>2013-05-24T00:00:00Z"
                              "</LastModified></Contents>" +
                              rest + "</ListBucketResult>");
  };
  Script(
      {page("root/%20x",
            "<IsTruncated>true</IsTruncated><NextContinuationToken>a/b+c</NextContinuationToken>"),
       page("root/k", "")});
  ASSERT_OK_AND_ASSIGN(auto objects, store_->List("", "", 2));
  ASSERT_EQ(objects.size(), 1u);
  EXPECT_EQ(objects[0].key, "k");
  EXPECT_THAT(Requests()[1].target, HasSubstr("continuation-token=a%2Fb%2Bc"));
}

TEST_F(S3StoreTest, ConnectionsAreUsedAgain) {
  Script({kTaken, kTaken, S3Error(404, "NoSuchKey"), kTaken});
  EXPECT_OK(Put());
  EXPECT_OK(Put());
  EXPECT_STATUS(Get(), StatusCode::kNotFound);
  EXPECT_OK(Put());
  EXPECT_EQ(Requests().back().connection, 1);
}

TEST_F(S3StoreTest, AChildOfForkHasConnectionsOfItsOwn) {
  Script({kTaken, kTaken, kTaken});
  ASSERT_OK(Put());
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool ok = Put().ok();
    store_.reset();
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_OK(Put());
  auto requests = Requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[1].connection, 2);
  EXPECT_EQ(requests[2].connection, 1) << "the parent's connection lives on";
}

TEST_F(S3StoreTest, SecretsAreInNoMessage) {
  auto vars = std::map<std::string, std::string>{{"AWS_SESSION_TOKEN", kToken}};
  std::vector<std::string> texts;
  for (int status : {200, 301, 400, 403, 404, 409, 412, 500}) {
    ScriptedHttp http([&](const ScriptedRequest& request) {
      EXPECT_EQ(request.headers.at("x-amz-security-token"), kToken);
      return S3Error(status, "Code");
    });
    ObjectStore& store = At(http.endpoint(), vars);
    texts.push_back(store.Describe());
    texts.push_back(store.Put("k", AsBytes("x")).status().ToString());
    texts.push_back(store.PutIfAbsent("k", AsBytes("x")).status().ToString());
    texts.push_back(store.Get("k", 1 << 20).status().ToString());
    texts.push_back(store.Head("k").status().ToString());
    texts.push_back(store.List("", "", 1).status().ToString());
    texts.push_back(store.Delete("k").ToString());
  }
  ObjectStore& nobody = At("http://127.0.0.1:1", vars);
  texts.push_back(nobody.Put("k", AsBytes("x")).status().ToString());
  for (const std::string& text : texts) {
    EXPECT_THAT(text, Not(HasSubstr("canary")));
    EXPECT_THAT(text, Not(HasSubstr("Signature=")));
  }
}

TEST_F(S3StoreTest, AReadOnlyStoreWritesNothing) {
  options_.read_only = true;
  Script({});
  EXPECT_FALSE(store_->SupportsConditionalPut());
  EXPECT_STATUS(Put(), StatusCode::kPermissionDenied);
  EXPECT_STATUS(store_->PutIfAbsent("k", {}), StatusCode::kPermissionDenied);
  EXPECT_STATUS(store_->PutIfMatch("k", {}, "e"), StatusCode::kPermissionDenied);
  EXPECT_STATUS(store_->Delete("k"), StatusCode::kPermissionDenied);
  EXPECT_STATUS(store_->DeleteMany(std::vector<std::string>{"k"}), StatusCode::kPermissionDenied);
  EXPECT_TRUE(Requests().empty());
}

}  // namespace
}  // namespace sqlite_s3

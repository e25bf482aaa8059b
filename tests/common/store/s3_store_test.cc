// What the S3 driver makes of each answer a server can give. The rules that every store keeps are
// in object_store_contract_test.cc.
#include "common/store/s3_store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "common/store/curl_transport.h"
#include "common/store/http_date.h"
#include "common/store/s3_checksum.h"
#include "common/store/s3_digest.h"
#include "common/store/s3_multipart.h"
#include "common/store/sigv4.h"
#include "tests/support/scripted_http.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSecret[] = "canary-secret-0123456789";
constexpr char kToken[] = "canary-token-0123456789";
constexpr char kLastModified[] = "Last-Modified: Fri, 24 May 2013 00:00:00 GMT\r\n";

Environment Vars(std::map<std::string, std::string> extra = {}) {
  extra.insert({"AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"});
  extra.insert({"AWS_SECRET_ACCESS_KEY", kSecret});
  return [extra](const std::string& name) -> std::optional<std::string> {
    auto found = extra.find(name);
    return found == extra.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

// A store at a scripted server. Says no to the probe once, so that each test scripts its own
// requests only.
class S3StoreTest : public ::testing::Test {
 protected:
  ObjectStore& At(const std::string& endpoint, std::map<std::string, std::string> vars = {}) {
    options_.address.bucket = "bucket";
    options_.address.prefix = "root";
    options_.address.endpoint = endpoint;
    options_.address.request_timeout = std::chrono::seconds(20);
    options_.environment = Vars(std::move(vars));
    auto store = OpenS3Store(options_);
    EXPECT_OK(store);
    store_ = *store;
    return *store_;
  }
  ObjectStore& Script(std::vector<ScriptedReply> replies) {
    http_ = std::make_unique<ScriptedHttp>(std::move(replies));
    return At(http_->endpoint());
  }
  ObjectStore& Handle(ScriptedHttp::Handler handler) {
    http_ = std::make_unique<ScriptedHttp>(std::move(handler));
    return At(http_->endpoint());
  }
  Status Put() { return store_->Put("k", AsBytes("body")).status(); }
  Status Get() { return store_->Get("k", 100).status(); }
  std::vector<ScriptedRequest> Requests() { return http_->requests(); }

  S3StoreOptions options_;
  std::unique_ptr<ScriptedHttp> http_;
  std::shared_ptr<ObjectStore> store_;
};

const ScriptedReply kProbeHonoured = S3Error(412, "PreconditionFailed");

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
  Script({S3Error(403, "RequestTimeTooSkewed", late), HttpReply(200, "", late),
          HttpReply(200, "", late)});
  EXPECT_OK(Put());
  EXPECT_OK(Put());
  auto requests = Requests();
  ASSERT_EQ(requests.size(), 3u);
  auto first = ParseAmzDate(requests[0].headers["x-amz-date"]);
  auto second = ParseAmzDate(requests[1].headers["x-amz-date"]);
  ASSERT_TRUE(first && second);
  EXPECT_NEAR(static_cast<double>(*second - *first), hour, 5e6);
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
  Script({S3Error(400, "ExpiredToken"), HttpReply(200)});
  EXPECT_OK(Put());
  Script({S3Error(400, "ExpiredToken"), S3Error(400, "ExpiredToken"), HttpReply(200)});
  EXPECT_STATUS(Put(), StatusCode::kPermissionDenied);
}

TEST_F(S3StoreTest, AServerThatIgnoresTheConditionIsFoundOut) {
  Script({HttpReply(200), HttpReply(200), S3Error(404, "NoSuchKey"), HttpReply(200),
          HttpReply(200, "", kLastModified)});
  EXPECT_FALSE(store_->SupportsConditionalPut());
  EXPECT_FALSE(store_->SupportsConditionalPut());
  EXPECT_EQ(Requests().size(), 2u);
  EXPECT_EQ(Requests()[0].target, "/bucket/root/~conditional-put");
  EXPECT_EQ(Requests()[0].headers["if-none-match"], "*");
  EXPECT_OK(store_->PutIfAbsent("k", AsBytes("x")));
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kAlreadyExists);
}

TEST_F(S3StoreTest, AServerThatHonoursTheConditionIsAskedOnce) {
  Script({HttpReply(200), kProbeHonoured, HttpReply(200), S3Error(412, "PreconditionFailed")});
  EXPECT_TRUE(store_->SupportsConditionalPut());
  EXPECT_OK(store_->PutIfAbsent("k", AsBytes("x")));
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kAlreadyExists);
  EXPECT_EQ(Requests()[2].headers["if-none-match"], "*");
}

TEST_F(S3StoreTest, NothingIsWrittenUnderAConditionThatWasNeverTried) {
  Script({S3Error(503, "SlowDown"), S3Error(503, "SlowDown"), HttpReply(200), HttpReply(200),
          S3Error(404, "NoSuchKey"), HttpReply(200)});
  EXPECT_TRUE(store_->SupportsConditionalPut()) << "not known yet";
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kUnavailable);
  EXPECT_OK(store_->PutIfAbsent("k", AsBytes("x")));
  EXPECT_FALSE(store_->SupportsConditionalPut());
}

TEST_F(S3StoreTest, AServerThatIgnoresIfMatchIsFoundOutBeforeAnythingIsOverwritten) {
  Script({HttpReply(200)});
  EXPECT_STATUS(store_->PutIfMatch("k", AsBytes("x"), "\"e\""), StatusCode::kUnimplemented);
  EXPECT_STATUS(store_->PutIfMatch("k", AsBytes("x"), "\"e\""), StatusCode::kUnimplemented);
  ASSERT_EQ(Requests().size(), 1u);
  EXPECT_EQ(Requests()[0].target, "/bucket/root/~conditional-put");
}

TEST_F(S3StoreTest, EachAnswerToAPutIfMatchHasItsStatus) {
  Script({S3Error(404, "NoSuchKey"), HttpReply(200), S3Error(412, "PreconditionFailed"),
          HttpReply(200, "", "ETag: \"f\"\r\n"), S3Error(412, "PreconditionFailed"),
          S3Error(409, "ConditionalRequestConflict"), S3Error(404, "NoSuchKey")});
  auto put = [&] { return store_->PutIfMatch("k", AsBytes("x"), "\"e\""); };
  ASSERT_OK_AND_ASSIGN(const PutResult done, put());
  EXPECT_EQ(done.etag, "\"f\"");
  EXPECT_STATUS(put(), StatusCode::kAborted);
  EXPECT_STATUS(put(), StatusCode::kUnavailable);
  EXPECT_STATUS(put(), StatusCode::kNotFound);
  EXPECT_EQ(Requests()[1].target, "/bucket/root/~conditional-put") << "made, as it was not there";
  EXPECT_EQ(Requests()[3].headers["if-match"], "\"e\"");
}

TEST_F(S3StoreTest, DeleteManyNamesEachKeyThatStayed) {
  auto answer = [](const std::string& inside) {
    return HttpReply(200, "<DeleteResult>" + inside + "</DeleteResult>");
  };
  auto error = [](const std::string& key, const std::string& code) {
    return "<Error><Key>root/" + key + "</Key><Code>" + code + "</Code><Message>no&#10;</Message>" +
           "</Error>";
  };
  Script({answer(error("a", "AccessDenied") + error("b", "SlowDown") + error("c", "NoSuchKey")),
          answer(error("never-asked", "AccessDenied")), HttpReply(200, "<html/>"),
          S3Error(200, "InternalError")});
  const std::vector<std::string> keys = {"a", "b", "c", "d"};
  ASSERT_OK_AND_ASSIGN(auto failures, store_->DeleteMany(keys));
  ASSERT_EQ(failures.size(), 2u);
  EXPECT_EQ(failures[0].key, "a");
  EXPECT_STATUS(failures[0].status, StatusCode::kPermissionDenied);
  EXPECT_THAT(failures[0].status.message(), HasSubstr("s3://bucket/root/a"));
  EXPECT_EQ(failures[1].key, "b");
  EXPECT_STATUS(failures[1].status, StatusCode::kUnavailable);
  EXPECT_STATUS(store_->DeleteMany(keys), StatusCode::kCorruption);
  EXPECT_STATUS(store_->DeleteMany(keys), StatusCode::kCorruption);
  EXPECT_STATUS(store_->DeleteMany(keys), StatusCode::kUnavailable);
  const ScriptedRequest request = Requests()[0];
  EXPECT_EQ(request.target, "/bucket?delete=");
  EXPECT_THAT(request.body, HasSubstr("<Object><Key>root/a</Key></Object>"));
  EXPECT_EQ(request.headers.at("content-md5"), *Md5Base64(AsBytes(request.body)));
}

TEST_F(S3StoreTest, WhereThereIsNoDeleteOfManyItGoesOneByOne) {
  Script({S3Error(501, "NotImplemented"), HttpReply(204), S3Error(403, "AccessDenied")});
  ASSERT_OK_AND_ASSIGN(auto failures, store_->DeleteMany(std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].key, "b");
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

TEST_F(S3StoreTest, LargeObjectsGoInPartsAndAreAbortedOnFailure) {
  options_.address.part_bytes = 10;
  int fail_part = 0;
  std::string aborted;
  std::map<std::string, std::string> parts;
  Handle([&](const ScriptedRequest& request) {
    if (request.method == "POST" && request.target.ends_with("?uploads=")) {
      return HttpReply(200,
                       "<InitiateMultipartUploadResult><UploadId>id/1</UploadId>"
                       "</InitiateMultipartUploadResult>");
    }
    if (request.method == "POST") {
      return fail_part == -1 ? S3Error(200, "InternalError")
                             : HttpReply(200,
                                         "<CompleteMultipartUploadResult><ETag>\"x\"</ETag>"
                                         "</CompleteMultipartUploadResult>");
    }
    if (request.method == "DELETE") {
      aborted = request.target;
      return HttpReply(204);
    }
    std::string number = request.target.substr(request.target.find("partNumber=") + 11, 1);
    parts[number] = request.body;
    return number == std::to_string(fail_part)
               ? S3Error(500, "InternalError")
               : HttpReply(200, "", "ETag: \"e" + number + "\"\r\n");
  });
  const std::string body = "0123456789abcdefghijXYZ";
  ASSERT_OK(store_->Put("k", AsBytes(body)));
  EXPECT_EQ(parts["1"] + parts["2"] + parts["3"], body);
  EXPECT_THAT(Requests().back().body,
              HasSubstr("<PartNumber>3</PartNumber><ETag>&quot;e3&quot;</ETag><ChecksumCRC32C>" +
                        Crc32cBase64(AsBytes("XYZ")) + "</ChecksumCRC32C>"));
  EXPECT_EQ(Requests().back().headers["x-amz-checksum-crc32c"], Crc32cBase64(AsBytes(body)));
  EXPECT_EQ(Requests().front().headers["x-amz-checksum-algorithm"], "CRC32C");
  EXPECT_EQ(aborted, "");
  fail_part = 2;
  EXPECT_STATUS(store_->Put("k", AsBytes(body)), StatusCode::kUnavailable);
  EXPECT_EQ(aborted, "/bucket/root/k?uploadId=id%2F1");
  aborted.clear();
  fail_part = -1;
  EXPECT_STATUS(store_->Put("k", AsBytes(body)), StatusCode::kUnavailable);
  EXPECT_EQ(aborted, "/bucket/root/k?uploadId=id%2F1");
}

TEST_F(S3StoreTest, PutsCarryWhatTheOptionsSay) {
  options_.address.sse = "aws:kms";
  options_.address.sse_kms_key_id = "alias/backup";
  options_.address.storage_class = "STANDARD_IA";
  options_.address.tags = "b=2&a=x y";
  Script({HttpReply(200)});
  ASSERT_OK(Put());
  auto headers = Requests()[0].headers;
  EXPECT_EQ(headers["x-amz-server-side-encryption"], "aws:kms");
  EXPECT_EQ(headers["x-amz-server-side-encryption-aws-kms-key-id"], "alias/backup");
  EXPECT_EQ(headers["x-amz-storage-class"], "STANDARD_IA");
  EXPECT_EQ(headers["x-amz-tagging"], "a=x%20y&b=2");
  EXPECT_EQ(headers["x-amz-content-sha256"], Sha256Hex(AsBytes("body")));
  EXPECT_EQ(headers.count("expect"), 0u);
}

TEST_F(S3StoreTest, AChecksumThatComesBackDifferentIsCorruption) {
  Script({HttpReply(200, "", "x-amz-checksum-crc32c: AAAAAA==\r\n")});
  EXPECT_STATUS(Put(), StatusCode::kCorruption);
  options_.address.checksum = S3Checksum::kSha256;
  Script({HttpReply(200, "", "x-amz-checksum-sha256: AAAA\r\n")});
  EXPECT_STATUS(Put(), StatusCode::kCorruption);
}

TEST_F(S3StoreTest, TheChecksumOfAPutIsTheOneAskedFor) {
  const std::string sha256 = Base64Encode(Sha256(AsBytes("body")));
  Script({HttpReply(200)});
  ASSERT_OK(Put());
  EXPECT_EQ(Requests()[0].headers["x-amz-checksum-crc32c"], Crc32cBase64(AsBytes("body")));
  EXPECT_EQ(Requests()[0].headers.count("x-amz-checksum-sha256"), 0u);
  options_.address.checksum = S3Checksum::kSha256;
  Script({HttpReply(200)});
  ASSERT_OK(Put());
  EXPECT_EQ(Requests()[0].headers["x-amz-checksum-sha256"], sha256);
  options_.address.checksum = S3Checksum::kOff;
  Script({HttpReply(200), HttpReply(200, "wrong", "x-amz-checksum-crc32c: AAAAAA==\r\n")});
  ASSERT_OK(Put());
  EXPECT_OK(Get());
  for (const ScriptedRequest& request : Requests()) {
    for (const auto& [name, value] : request.headers) EXPECT_THAT(name, Not(HasSubstr("checksum")));
  }
}

TEST_F(S3StoreTest, ABodyThatIsNotWhatItsHeadersSayIsCorruptionAndNamesTheKey) {
  const std::string crc = "x-amz-checksum-crc32c: " + Crc32cBase64(AsBytes("stored")) + "\r\n";
  const std::string sha =
      "x-amz-checksum-sha256: " + Base64Encode(Sha256(AsBytes("stored"))) + "\r\n";
  const std::string etag = "ETag: \"" + *Md5Hex(AsBytes("stored")) + "\"\r\n";
  for (const std::string& headers : {crc, sha, etag, crc + etag}) {
    Script({HttpReply(200, "stored", headers), HttpReply(200, "st0red", headers)});
    ASSERT_OK_AND_ASSIGN(Bytes got, store_->Get("k", 100));
    EXPECT_EQ(AsText(got), "stored");
    Status status = Get();
    EXPECT_STATUS(status, StatusCode::kCorruption) << headers;
    EXPECT_THAT(status.message(), HasSubstr("s3://bucket/root/k"));
    EXPECT_EQ(Requests()[0].headers["x-amz-checksum-mode"], "ENABLED");
  }
}

TEST_F(S3StoreTest, HeadersThatSayNothingAboutTheWholeBodyAreNotTakenForIt) {
  const std::string etag = "ETag: \"" + *Md5Hex(AsBytes("other")) + "\"\r\n";
  for (const std::string& headers :
       {std::string("x-amz-checksum-crc32c: AAAAAA==-2\r\n"),
        std::string("ETag: \"0123456789abcdef0123456789abcdef-2\"\r\n"),
        std::string("ETag: W/\"x\"\r\n"), etag + "x-amz-server-side-encryption: aws:kms\r\n",
        etag + "x-amz-server-side-encryption: aws:kms:dsse\r\n",
        etag + "x-amz-server-side-encryption-customer-algorithm: AES256\r\n"}) {
    Script({HttpReply(200, "body", headers)});
    EXPECT_OK(Get()) << headers;
  }
  Script({HttpReply(206, "od", etag + "Content-Range: bytes 1-2/4\r\n")});
  EXPECT_OK(store_->Get("k", 100, ByteRange{1, 2}));
}

TEST_F(S3StoreTest, ACustomersKeyNeverLeavesInTheClear) {
  TempDir dir;
  std::ofstream(dir.File("key")) << std::string(32, 'k');
  std::ofstream(dir.File("short")) << "k";
  S3StoreOptions options;
  options.address.bucket = "bucket";
  options.environment = Vars();
  options.address.sse_c_key_file = dir.File("key");
  options.address.endpoint = "http://127.0.0.1:1";
  EXPECT_STATUS(OpenS3Store(options), StatusCode::kInvalidArgument);
  options.address.endpoint = "https://127.0.0.1:1";
  EXPECT_OK(OpenS3Store(options));
  options.address.sse_c_key_file = dir.File("short");
  EXPECT_STATUS(OpenS3Store(options), StatusCode::kInvalidArgument);
}

TEST_F(S3StoreTest, ConnectionsAreUsedAgain) {
  Script({HttpReply(200), HttpReply(200), S3Error(404, "NoSuchKey"), HttpReply(200)});
  EXPECT_OK(Put());
  EXPECT_OK(Put());
  EXPECT_STATUS(Get(), StatusCode::kNotFound);
  EXPECT_OK(Put());
  EXPECT_EQ(Requests().back().connection, 1);
}

TEST_F(S3StoreTest, AChildOfForkHasConnectionsOfItsOwn) {
  Script({HttpReply(200), HttpReply(200), HttpReply(200)});
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

TEST(S3EndpointTest, StylesAndPortsAreAsTheHostHeaderSaysThem) {
  const struct {
    S3Address address;
    const char* base;
    const char* path;
  } kCases[] = {
      {{.bucket = "b-1"}, "https://b-1.s3.eu-x.amazonaws.com", ""},
      {{.bucket = "b.1"}, "https://s3.eu-x.amazonaws.com", "/b.1"},
      {{.bucket = "B"}, "https://s3.eu-x.amazonaws.com", "/B"},
      {{.bucket = "b", .endpoint = "http://h:80"}, "http://h", "/b"},
      {{.bucket = "b", .endpoint = "https://h:443"}, "https://h", "/b"},
      {{.bucket = "b", .endpoint = "http://[::1]:9000"}, "http://[::1]:9000", "/b"},
      {{.bucket = "b", .endpoint = "https://h:1", .addressing = S3Addressing::kVirtual},
       "https://b.h:1",
       ""},
      {{.bucket = "b", .addressing = S3Addressing::kPath}, "https://s3.eu-x.amazonaws.com", "/b"},
  };
  for (const auto& c : kCases) {
    ASSERT_OK_AND_ASSIGN(S3Endpoint got, ResolveEndpoint(c.address, "eu-x"));
    EXPECT_EQ(got.base, c.base);
    EXPECT_EQ(got.path, c.path);
  }
  EXPECT_STATUS(ResolveEndpoint({.bucket = "a.b", .addressing = S3Addressing::kVirtual}, "eu-x"),
                StatusCode::kInvalidArgument);
}

TEST(HttpDateTest, ExactOrNothing) {
  EXPECT_EQ(ParseHttpDate("Fri, 24 May 2013 00:00:00 GMT"), 1'369'353'600'000'000);
  EXPECT_EQ(FormatHttpDate(1'369'353'600'000'000), "Fri, 24 May 2013 00:00:00 GMT");
  EXPECT_EQ(ParseIsoDate("2013-05-24T00:00:00.250Z"), 1'369'353'600'250'000);
  EXPECT_EQ(ParseIsoDate("2013-05-24T00:00:00Z"), 1'369'353'600'000'000);
  for (const char* bad : {"", "Fri, 30 Feb 2013 00:00:00 GMT", "Fri, 24 Maj 2013 00:00:00 GMT",
                          "Fri, 24 May 2013 00:00:00 CET", "Fri, 24 May 2013 25:00:00 GMT"}) {
    EXPECT_EQ(ParseHttpDate(bad), std::nullopt) << bad;
  }
  for (const char* bad : {"", "2013-05-24T00:00:00", "2013-13-24T00:00:00Z",
                          "2013-05-24T00:00:00.Z", "2013-05-24T00:00:00.xZ"}) {
    EXPECT_EQ(ParseIsoDate(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace sqlite_s3

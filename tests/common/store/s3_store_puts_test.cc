// What a PUT carries, in parts or at once: options, checksums, a customer's key.

#include "tests/common/store/s3_store_fixture.h"

#include <fstream>

#include "common/store/s3_checksum.h"
#include "common/store/s3_digest.h"
#include "common/store/sigv4.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

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
  Script({kTaken});
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
  Script({kTaken});
  ASSERT_OK(Put());
  EXPECT_EQ(Requests()[0].headers["x-amz-checksum-crc32c"], Crc32cBase64(AsBytes("body")));
  EXPECT_EQ(Requests()[0].headers.count("x-amz-checksum-sha256"), 0u);
  options_.address.checksum = S3Checksum::kSha256;
  Script({kTaken});
  ASSERT_OK(Put());
  EXPECT_EQ(Requests()[0].headers["x-amz-checksum-sha256"], sha256);
  options_.address.checksum = S3Checksum::kOff;
  Script({kTaken, HttpReply(200, "wrong", "x-amz-checksum-crc32c: AAAAAA==\r\n")});
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

}  // namespace
}  // namespace sqlite_s3

// Published examples of Signature Version 4 (headers, presigned, chunked) and Version 2, and what
// becomes of everything that is not quite right.
#include <fmt/format.h>

#include "server/auth/authenticate.h"
#include "server/auth/aws_chunked.h"
#include "server/auth/digest.h"
#include "tests/server/s3/s3_fixture.h"

namespace sqlite_s3::server {
namespace {

const Users& ExampleUsers() {
  static const Users users(
      {{"example", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", false, {}}});
  return users;
}

// 2013-05-24T00:00:00Z, when the documentation signs.
constexpr int64_t kExampleTime = 1'369'353'600'000'000;

S3Result<Identity> Check(const Request& request, int64_t now_us,
                         const std::string& virtual_bucket = "examplebucket") {
  const std::optional<Query> query = Query::Parse(request.query);
  return Authenticate(request, *query, ExampleUsers(), virtual_bucket, now_us);
}

Request ExampleGet() {
  Request request;
  request.method = "GET";
  request.path = "/test.txt";
  request.headers.Add("Host", "examplebucket.s3.amazonaws.com");
  request.headers.Add("Range", "bytes=0-9");
  request.headers.Add("x-amz-content-sha256", std::string(kEmptyPayloadHash));
  request.headers.Add("x-amz-date", "20130524T000000Z");
  request.headers.Add("Authorization",
                      "AWS4-HMAC-SHA256 "
                      "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                      "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
                      "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  return request;
}

TEST(AuthenticateTest, AcceptsThePublishedGet) {
  const S3Result<Identity> identity = Check(ExampleGet(), kExampleTime);
  ASSERT_TRUE(identity.ok()) << identity.error().code;
  EXPECT_EQ(identity.value().user->name, "example");
  EXPECT_EQ(identity.value().payload, PayloadKind::kHashed);
}

TEST(AuthenticateTest, RefusesWhatTheSignatureDoesNotCover) {
  Request request = ExampleGet();
  request.path = "/other.txt";
  EXPECT_EQ(Check(request, kExampleTime).error().code, "SignatureDoesNotMatch");
  request = ExampleGet();
  request.query = "acl";
  EXPECT_EQ(Check(request, kExampleTime).error().code, "SignatureDoesNotMatch");
  request = ExampleGet();
  request.headers.Set("Range", "bytes=0-10");
  EXPECT_EQ(Check(request, kExampleTime).error().code, "SignatureDoesNotMatch");
  request = ExampleGet();
  request.method = "DELETE";
  EXPECT_EQ(Check(request, kExampleTime).error().code, "SignatureDoesNotMatch");
}

TEST(AuthenticateTest, RefusesAmzHeadersThatAreNotSigned) {
  Request request = ExampleGet();
  request.headers.Add("x-amz-acl", "public-read");
  EXPECT_EQ(Check(request, kExampleTime).error().code, "AccessDenied");
}

TEST(AuthenticateTest, AllowsFifteenMinutesOfSkewEitherWay) {
  EXPECT_TRUE(Check(ExampleGet(), kExampleTime + kMaxSkewMicros).ok());
  EXPECT_TRUE(Check(ExampleGet(), kExampleTime - kMaxSkewMicros).ok());
  EXPECT_EQ(Check(ExampleGet(), kExampleTime + kMaxSkewMicros + 1).error().code,
            "RequestTimeTooSkewed");
  EXPECT_EQ(Check(ExampleGet(), kExampleTime - kMaxSkewMicros - 1).error().code,
            "RequestTimeTooSkewed");
}

TEST(AuthenticateTest, NamesWhatIsMissingOrMalformed) {
  const auto with = [](const std::string& name, const std::string& value) {
    Request request = ExampleGet();
    request.headers.Set(name, value);
    return Check(request, kExampleTime).error().code;
  };
  EXPECT_EQ(with("Authorization", "AWS4-HMAC-SHA256 "), "AuthorizationHeaderMalformed");
  EXPECT_EQ(with("Authorization", "AWS4-HMAC-SHA256 Credential=a/b"),
            "AuthorizationHeaderMalformed");
  EXPECT_EQ(with("Authorization", "Basic abc"), "InvalidArgument");
  EXPECT_EQ(with("Authorization", "AWS nocolon"), "InvalidArgument");
  EXPECT_EQ(with("x-amz-date", "yesterday"), "AccessDenied");
  const std::string unknown = ExampleGet().headers.Get("Authorization");
  EXPECT_EQ(with("Authorization", std::string(unknown).replace(unknown.find("AKIA"), 4, "AKIB")),
            "InvalidAccessKeyId");
  EXPECT_EQ(
      with("Authorization", std::string(unknown).replace(unknown.find("20130524"), 8, "20130523")),
      "AuthorizationHeaderMalformed");
  Request request = ExampleGet();
  request.headers.Remove("x-amz-content-sha256");
  EXPECT_EQ(Check(request, kExampleTime).error().code, "InvalidRequest");
}

TEST(AuthenticateTest, AcceptsThePublishedPresignedUrlUntilItExpires) {
  Request request;
  request.method = "GET";
  request.path = "/test.txt";
  request.headers.Add("host", "examplebucket.s3.amazonaws.com");
  request.query =
      "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-"
      "east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-"
      "SignedHeaders=host&X-Amz-Signature="
      "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
  constexpr int64_t kDay = int64_t{86'400} * 1'000'000;
  EXPECT_TRUE(Check(request, kExampleTime).ok());
  EXPECT_TRUE(Check(request, kExampleTime + kDay).ok());
  EXPECT_EQ(Check(request, kExampleTime + kDay + 1).error().code, "AccessDenied");
  EXPECT_EQ(Check(request, kExampleTime - kMaxSkewMicros - 1).error().code, "AccessDenied");
  Request longer = request;
  longer.query.replace(longer.query.find("=86400"), 6, "=86401");
  EXPECT_EQ(Check(longer, kExampleTime).error().code, "SignatureDoesNotMatch");
  longer.query.replace(longer.query.find("=86401"), 6, "=604801");
  EXPECT_EQ(Check(longer, kExampleTime).error().code, "AuthorizationQueryParametersError");
  request.headers.Add("authorization", "AWS4-HMAC-SHA256 x");
  EXPECT_EQ(Check(request, kExampleTime).error().code, "InvalidArgument");
}

TEST(AuthenticateTest, AcceptsThePublishedVersionTwoRequest) {
  Request request;
  request.method = "GET";
  request.path = "/photos/puppy.jpg";
  request.headers.Add("Host", "awsexamplebucket1.us-west-1.s3.amazonaws.com");
  request.headers.Add("Date", "Tue, 27 Mar 2007 19:36:42 +0000");
  request.headers.Add("Authorization", "AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g=");
  const int64_t then = *ParseAnyDate("Tue, 27 Mar 2007 19:36:42 +0000");
  EXPECT_TRUE(Check(request, then, "awsexamplebucket1").ok());
  EXPECT_EQ(Check(request, then, "other").error().code, "SignatureDoesNotMatch");
  EXPECT_EQ(Check(request, then + kMaxSkewMicros + 1, "awsexamplebucket1").error().code,
            "RequestTimeTooSkewed");
}

TEST(AuthenticateTest, VersionTwoUrlsExpire) {
  Request request;
  request.method = "GET";
  request.path = "/bucket/key";
  const std::string signature =
      HmacSha1Base64("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "GET\n\n\n1000\n/bucket/key");
  request.query =
      "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=1000&Signature=" + UriEncode(signature, true);
  EXPECT_TRUE(Check(request, int64_t{1000} * 1'000'000, "").ok());
  EXPECT_EQ(Check(request, int64_t{1001} * 1'000'000, "").error().code, "AccessDenied");
  request.query.replace(request.query.find("=1000"), 5, "=9999");
  EXPECT_EQ(Check(request, int64_t{1000} * 1'000'000, "").error().code, "SignatureDoesNotMatch");
}

TEST(ParseAnyDateTest, ReadsTheFormsThatClientsSendAndNoOthers) {
  EXPECT_EQ(ParseAnyDate("Thu, 01 Jan 1970 00:00:10 GMT"), 10'000'000);
  EXPECT_EQ(ParseAnyDate("Thu, 01 Jan 1970 01:00:10 +0100"), 10'000'000);
  EXPECT_EQ(ParseAnyDate("19700101T000010Z"), 10'000'000);
  EXPECT_EQ(ParseAnyDate("1970-01-01T00:00:10.000Z"), 10'000'000);
  for (const char* wrong : {"", "now", "1970", "Thu, 01 Jan 1970", "19700101T000010Z junk"}) {
    EXPECT_EQ(ParseAnyDate(wrong), std::nullopt) << wrong;
  }
}

// The documentation's upload of 66560 times 'a' in chunks of 64 KiB.
class ChunkedTest : public testing::Test {
 protected:
  ChunkedTest() {
    identity_.user = ExampleUsers().Find("AKIAIOSFODNN7EXAMPLE");
    identity_.payload = PayloadKind::kChunked;
    identity_.signing_key =
        DeriveSigningKey(identity_.user->secret_key, "20130524", "us-east-1", "s3");
    identity_.amz_date = "20130524T000000Z";
    identity_.scope = "20130524/us-east-1/s3/aws4_request";
    identity_.seed_signature = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
  }
  static std::string Chunk(const std::string& data, const std::string& signature) {
    return fmt::format("{:x};chunk-signature={}\r\n{}\r\n", data.size(), signature, data);
  }
  static std::string Published() {
    return Chunk(std::string(65536, 'a'),
                 "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648") +
           Chunk(std::string(1024, 'a'),
                 "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497") +
           Chunk("", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
  }
  // The error's code, or "" and the decoded bytes.
  std::string Decode(const std::string& body, size_t piece = 1000) {
    decoded_.clear();
    AwsChunkedDecoder decoder(identity_, [this](ByteSpan bytes) { decoded_ += AsText(bytes); });
    for (size_t at = 0; at < body.size(); at += piece) {
      const std::string part = body.substr(at, piece);
      decoder.Feed(AsBytes(part));
    }
    const std::optional<S3Error> error = decoder.Finish();
    trailers_ = decoder.trailers();
    return error ? error->code : "";
  }
  Identity identity_;
  std::string decoded_;
  Headers trailers_;
};

TEST_F(ChunkedTest, DecodesThePublishedUploadHoweverItArrives) {
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1000}, size_t{1} << 20}) {
    EXPECT_EQ(Decode(Published(), piece), "") << piece;
    EXPECT_EQ(decoded_, std::string(66560, 'a')) << piece;
  }
}

TEST_F(ChunkedTest, RefusesAChangedByteInAnyChunk) {
  std::string body = Published();
  body[body.size() / 2] ^= 1;
  EXPECT_EQ(Decode(body), "SignatureDoesNotMatch");
  body = Published();
  body[body.rfind("aaaa")] ^= 1;
  EXPECT_EQ(Decode(body), "SignatureDoesNotMatch");
}

TEST_F(ChunkedTest, RefusesABodyThatEndsBeforeItsLastChunk) {
  const std::string body = Published();
  for (const size_t length : {size_t{0}, size_t{50}, size_t{66'000}, body.size() - 90}) {
    EXPECT_EQ(Decode(body.substr(0, length)), "IncompleteBody") << length;
  }
}

TEST_F(ChunkedTest, RefusesMalformedFraming) {
  identity_.payload = PayloadKind::kUnsignedChunkedTrailer;
  for (const char* body : {"x\r\nabc\r\n0\r\n\r\n", "\r\n", "-3\r\nabc\r\n0\r\n\r\n",
                           "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
                           "fffffffffffffffff\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
                           "3 \r\nabc\r\n0\r\n\r\n", "0\r\n\r\nmore", "2\r\nabc\r\n0\r\n\r\n"}) {
    EXPECT_EQ(Decode(body), "IncompleteBody") << body;
  }
  EXPECT_EQ(Decode(std::string(5000, '1')), "IncompleteBody");
  EXPECT_EQ(Decode("0\r\nno colon\r\n\r\n"), "MalformedTrailerError");
  std::string many = "0\r\n";
  for (int i = 0; i < 17; ++i) {
    many += fmt::format("x-{}: y\r\n", i);
  }
  EXPECT_EQ(Decode(many + "\r\n"), "MalformedTrailerError");
}

TEST_F(ChunkedTest, RefusesATrailerThatComesTwice) {
  identity_.payload = PayloadKind::kUnsignedChunkedTrailer;
  EXPECT_EQ(Decode("0\r\nx-amz-checksum-crc32: a\r\nX-Amz-Checksum-Crc32: b\r\n\r\n"),
            "MalformedTrailerError");
}

TEST_F(ChunkedTest, ReadsUnsignedTrailers) {
  identity_.payload = PayloadKind::kUnsignedChunkedTrailer;
  EXPECT_EQ(Decode("3\r\nabc\r\n0\r\nx-amz-checksum-crc32: NSRBwg==\r\n\r\n", 1), "");
  EXPECT_EQ(decoded_, "abc");
  EXPECT_EQ(trailers_.Get("x-amz-checksum-crc32"), "NSRBwg==");
}

TEST_F(ChunkedTest, SignedTrailersAreCheckedWithTheirOwnSignature) {
  identity_.payload = PayloadKind::kChunkedTrailer;
  const std::string empty_hash(kEmptyPayloadHash);
  const std::string chunk = Signature(
      identity_.signing_key,
      ChunkStringToSign(identity_.amz_date, identity_.scope, identity_.seed_signature, empty_hash));
  const std::string trailer =
      Signature(identity_.signing_key,
                TrailerStringToSign(identity_.amz_date, identity_.scope, chunk,
                                    Sha256Hex(AsBytes("x-amz-checksum-crc32:AAAAAA==\n"))));
  const std::string head = "0;chunk-signature=" + chunk + "\r\n";
  const std::string good = "x-amz-checksum-crc32:AAAAAA==\r\n";
  EXPECT_EQ(Decode(head + good + "x-amz-trailer-signature:" + trailer + "\r\n\r\n"), "");
  EXPECT_EQ(Decode(head + "x-amz-checksum-crc32:AAAAAB==\r\nx-amz-trailer-signature:" + trailer +
                   "\r\n\r\n"),
            "SignatureDoesNotMatch");
  EXPECT_EQ(Decode(head + good + "\r\n"), "SignatureDoesNotMatch");
}

TEST(DigestTest, CrcsAreThoseOfTheirCatalogue) {
  const ByteSpan digits = AsBytes("123456789");
  EXPECT_EQ(HexEncode(DigestOf(DigestKind::kCrc32, digits)), "cbf43926");
  EXPECT_EQ(HexEncode(DigestOf(DigestKind::kCrc32c, digits)), "e3069283");
  EXPECT_EQ(HexEncode(DigestOf(DigestKind::kCrc64Nvme, digits)), "ae8b14860a799888");
}

TEST(DigestTest, CrcsOfPartsCombineToTheWhole) {
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text += static_cast<char>(i * 7);
  }
  for (const DigestKind kind : {DigestKind::kCrc32, DigestKind::kCrc32c, DigestKind::kCrc64Nvme}) {
    for (const size_t cut : {size_t{0}, size_t{1}, size_t{1024}, text.size()}) {
      const std::string a = text.substr(0, cut);
      const std::string b = text.substr(cut);
      EXPECT_EQ(CombineCrc(kind, DigestOf(kind, AsBytes(a)), DigestOf(kind, AsBytes(b)), b.size()),
                DigestOf(kind, AsBytes(text)))
          << ChecksumAlgorithmName(kind) << " " << cut;
    }
  }
}

TEST(DigestTest, Base64IsCanonicalOrRefused) {
  for (const char* text : {"", "a", "ab", "abc", "abcd"}) {
    const std::optional<Bytes> decoded = DecodeBase64(EncodeBase64(AsBytes(text)));
    ASSERT_TRUE(decoded) << text;
    EXPECT_EQ(AsText(*decoded), text);
  }
  for (const char* text : {"a", "ab", "a===", "YQ", "YR==", "Y Q=", "YQ==YQ==", "_w=="}) {
    EXPECT_FALSE(DecodeBase64(text)) << text;
  }
}

TEST(UsersTest, GlobsMatchWholeNames) {
  EXPECT_TRUE(MatchesGlob("*", ""));
  EXPECT_TRUE(MatchesGlob("a*c", "abbbc"));
  EXPECT_TRUE(MatchesGlob("a*b*c", "a-b-b-c"));
  EXPECT_TRUE(MatchesGlob("?x", "ax"));
  EXPECT_FALSE(MatchesGlob("a*", "ba"));
  EXPECT_FALSE(MatchesGlob("?", ""));
  EXPECT_FALSE(MatchesGlob("a*c", "abcd"));
  EXPECT_FALSE(MatchesGlob("a.c", "abc"));
}

}  // namespace
}  // namespace sqlite_s3::server

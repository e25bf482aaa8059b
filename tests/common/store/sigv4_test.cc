// The expected values are those printed in the Amazon S3 API reference, section "Authenticating
// Requests (AWS Signature Version 4)".
#include "common/store/sigv4.h"

#include <gtest/gtest.h>

namespace sqlite_s3 {
namespace {

constexpr char kDate[] = "20130524T000000Z";
constexpr char kHost[] = "examplebucket.s3.amazonaws.com";

SigningIdentity Identity() {
  return {.access_key_id = "AKIAIOSFODNN7EXAMPLE",
          .secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
          .session_token = "",
          .region = "us-east-1"};
}

SignedRequest Request(const char* method, const char* path, const char* query = "") {
  return {.method = method,
          .path = path,
          .query = query,
          .headers = {{"host", kHost},
                      {"x-amz-date", kDate},
                      {"x-amz-content-sha256", std::string(kEmptyPayloadHash)}},
          .payload_hash = std::string(kEmptyPayloadHash)};
}

void SetPayloadHash(SignedRequest& request, std::string hash) {
  request.headers[2].second = hash;
  request.payload_hash = std::move(hash);
}

std::string SignatureOf(const SignedRequest& request) {
  std::string header = AuthorizationHeader(request, kDate, Identity());
  return header.substr(header.rfind('=') + 1);
}

TEST(SigV4Test, SignsTheDocumentedGetWithRange) {
  auto request = Request("GET", "/test.txt");
  request.headers.emplace_back("range", "bytes=0-9");
  EXPECT_EQ(Sha256Hex(AsBytes(CanonicalRequest(request))),
            "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972");
  EXPECT_EQ(AuthorizationHeader(request, kDate, Identity()),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(SigV4Test, SignsTheDocumentedPut) {
  auto request = Request("PUT", "/test%24file.text");
  SetPayloadHash(request, Sha256Hex(AsBytes("Welcome to Amazon S3.")));
  request.headers.emplace_back("x-amz-storage-class", "REDUCED_REDUNDANCY");
  request.headers.emplace_back("date", "Fri, 24 May 2013 00:00:00 GMT");
  EXPECT_EQ(Sha256Hex(AsBytes(CanonicalRequest(request))),
            "9e0e90d9c76de8fa5b200d8c849cd5b8dc7a3be3951ddb7f6a76b4158342019d");
  EXPECT_EQ(SignatureOf(request),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST(SigV4Test, SignsTheDocumentedValuelessQuery) {
  EXPECT_EQ(SignatureOf(Request("GET", "/", "lifecycle")),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST(SigV4Test, SignsTheDocumentedListWhateverTheOrderOfItsQuery) {
  EXPECT_EQ(SignatureOf(Request("GET", "/", "max-keys=2&prefix=J")),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
  EXPECT_EQ(SignatureOf(Request("GET", "/", "prefix=J&max-keys=2")),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(SigV4Test, PresignsTheDocumentedUrl) {
  SignedRequest request{.method = "GET",
                        .path = "/test.txt",
                        .query = "",
                        .headers = {{"host", kHost}},
                        .payload_hash = ""};
  std::string query = PresignedQuery(request, kDate, 86400, Identity());
  EXPECT_EQ(query,
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524"
            "%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
            "&X-Amz-SignedHeaders=host&X-Amz-Signature="
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

TEST(SigV4Test, APresignedUrlIsVerifiedWithItsSignatureLeftOut) {
  SignedRequest request{.method = "GET",
                        .path = "/test.txt",
                        .query = "",
                        .headers = {{"host", kHost}},
                        .payload_hash = std::string(kUnsignedPayload)};
  request.query = PresignedQuery(request, kDate, 86400, Identity());
  std::string canonical = CanonicalRequest(request, "X-Amz-Signature");
  auto key = DeriveSigningKey(Identity().secret_access_key, "20130524", "us-east-1", "s3");
  EXPECT_EQ(
      Signature(key, StringToSign(kDate, CredentialScope(kDate, "us-east-1", "s3"), canonical)),
      "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

struct Chunked {
  std::string scope = CredentialScope(kDate, "us-east-1", "s3");
  Sha256Hash key = DeriveSigningKey(Identity().secret_access_key, "20130524", "us-east-1", "s3");
  std::string Chunk(const std::string& previous, size_t length) const {
    std::string hash = Sha256Hex(AsBytes(std::string(length, 'a')));
    return Signature(key, ChunkStringToSign(kDate, scope, previous, hash));
  }
};

TEST(SigV4Test, SignsTheDocumentedChunkedUpload) {
  auto request = Request("PUT", "/examplebucket/chunkObject.txt");
  request.headers[0].second = "s3.amazonaws.com";
  SetPayloadHash(request, std::string(kStreamingPayload));
  request.headers.emplace_back("x-amz-storage-class", "REDUCED_REDUNDANCY");
  request.headers.emplace_back("content-encoding", "aws-chunked");
  request.headers.emplace_back("x-amz-decoded-content-length", "66560");
  request.headers.emplace_back("content-length", "66824");
  std::string seed = SignatureOf(request);
  EXPECT_EQ(seed, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
  Chunked chunked;
  std::string first = chunked.Chunk(seed, 65536);
  EXPECT_EQ(first, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
  std::string second = chunked.Chunk(first, 1024);
  EXPECT_EQ(second, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
  EXPECT_EQ(chunked.Chunk(second, 0),
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
}

TEST(SigV4Test, SignsTheDocumentedTrailer) {
  Chunked chunked;
  std::string seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
  std::string last = chunked.Chunk(chunked.Chunk(chunked.Chunk(seed, 65536), 1024), 0);
  EXPECT_EQ(last, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992");
  std::string hash = Sha256Hex(AsBytes("x-amz-checksum-crc32c:sOO8/Q==\n"));
  EXPECT_EQ(Signature(chunked.key, TrailerStringToSign(kDate, chunked.scope, last, hash)),
            "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435");
}

TEST(SigV4Test, CanonicalQueryDecodesEncodesSortsAndFillsIn) {
  EXPECT_EQ(CanonicalQuery(""), "");
  EXPECT_EQ(CanonicalQuery("uploads"), "uploads=");
  EXPECT_EQ(CanonicalQuery("&&b&a=&"), "a=&b=");
  EXPECT_EQ(CanonicalQuery("prefix=a/b&delimiter=%2f"), "delimiter=%2F&prefix=a%2Fb");
  EXPECT_EQ(CanonicalQuery("a=%7e%41"), "a=~A");
  EXPECT_EQ(CanonicalQuery("a=1+2"), "a=1%2B2");
  EXPECT_EQ(CanonicalQuery("a=b=c"), "a=b%3Dc");
  EXPECT_EQ(CanonicalQuery("a=2&a=1&A=3"), "A=3&a=1&a=2");
  EXPECT_EQ(CanonicalQuery("a=%zz&b=%4"), "a=%25zz&b=%254");
  EXPECT_EQ(CanonicalQuery("a-b=1&a=2"), "a=2&a-b=1");
  EXPECT_EQ(CanonicalQuery("a=1&X-Amz-Signature=ff&b=2", "X-Amz-Signature"), "a=1&b=2");
}

TEST(SigV4Test, HeadersOfOneNameAreJoinedAndBlanksCollapsed) {
  SignedRequest request{.method = "GET",
                        .path = "/",
                        .query = "",
                        .headers = {{"x-b", "  2 \t 3 "}, {"x-a", "z"}, {"x-b", "1"}},
                        .payload_hash = "h"};
  EXPECT_EQ(CanonicalRequest(request), "GET\n/\n\nx-a:z\nx-b:2 3,1\n\nx-a;x-b\nh");
}

TEST(SigV4Test, EncodesEveryByteButTheUnreserved) {
  EXPECT_EQ(UriEncode("aZ09-._~/ +%\xc3\xa9", false), "aZ09-._~/%20%2B%25%C3%A9");
  EXPECT_EQ(UriEncode("a/b", true), "a%2Fb");
  EXPECT_EQ(UriDecode("a%2fb+c"), "a/b+c");
  EXPECT_EQ(UriDecode("a%2"), std::nullopt);
  EXPECT_EQ(UriDecode("%g0"), std::nullopt);
}

TEST(SigV4Test, DatesAreExactOrRefused) {
  EXPECT_EQ(FormatAmzDate(1'369'353'600'000'000), kDate);
  EXPECT_EQ(ParseAmzDate(kDate), 1'369'353'600'000'000);
  for (const char* bad : {"", "20130524", "20130524T000000", "20130230T000000Z", "20131324T000000Z",
                          "20130524T240000Z", "20130524T006000Z", "2013052aT000000Z",
                          "20130524t000000Z", "20130524T000000ZZ", "-0130524T000000Z"}) {
    EXPECT_EQ(ParseAmzDate(bad), std::nullopt) << bad;
  }
}

TEST(SigV4Test, ComparesInFull) {
  EXPECT_TRUE(EqualInConstantTime("abc", "abc"));
  EXPECT_FALSE(EqualInConstantTime("abc", "abd"));
  EXPECT_FALSE(EqualInConstantTime("abc", "ab"));
}

}  // namespace
}  // namespace sqlite_s3

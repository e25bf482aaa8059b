// Requests by somebody who means harm, or is broken.
#include <fmt/format.h>

#include <filesystem>

#include "tests/server/s3/s3_fixture.h"

namespace sqlite_s3::server {
namespace {

class HostileTest : public S3Test {
 protected:
  void SetUp() override {
    Start();
    ASSERT_EQ(Put("/bucket", "").status, 200);
  }
};

TEST_F(HostileTest, BucketNamesReachNoFileOutsideTheDirectory) {
  for (const char* name :
       {"/..", "/.", "/%2e%2e", "/..%2fetc", "/%2fetc%2fpasswd", "/a%2fb", "/bucket%2f..%2fbucket",
        "/.sqlite-s3-server.lock", "/BUCKET", "/ab", "/bucket.sqlite3%00"}) {
    const Seen created = Put(name, "");
    EXPECT_GE(created.status, 400) << name;
    EXPECT_LT(created.status, 500) << name;
    EXPECT_GE(Get(name).status, 400) << name;
    EXPECT_GE(Send("DELETE", name).status, 400) << name;
  }
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    const std::string name = entry.path().filename();
    EXPECT_TRUE(name.rfind("bucket.sqlite3", 0) == 0 || name == ".sqlite-s3-server.lock") << name;
  }
}

TEST_F(HostileTest, DotsInKeysAreOnlyBytes) {
  ASSERT_EQ(Put("/bucket/../../etc/passwd", "x").status, 200);
  ASSERT_EQ(Put("/bucket/a//b/./c", "y").status, 200);
  EXPECT_EQ(Get("/bucket").Elements("Key"),
            (std::vector<std::string>{"../../etc/passwd", "a//b/./c"}));
  EXPECT_EQ(Get("/bucket/../../etc/passwd").body, "x");
}

TEST_F(HostileTest, KeysThatAreNoKeysAreRefused) {
  EXPECT_EQ(Put("/bucket/%00", "x").code(), "InvalidURI");
  EXPECT_EQ(Put("/bucket/%ff", "x").code(), "InvalidURI");
  EXPECT_EQ(Put("/bucket/%zz", "x").code(), "InvalidURI");
  EXPECT_EQ(Put("/bucket/%c0%af", "x").code(), "InvalidURI");
  EXPECT_EQ(Put("/bucket/" + std::string(1025, 'k'), "x").code(), "KeyTooLongError");
  EXPECT_EQ(Put("/bucket/" + std::string(1024, 'k'), "x").status, 200);
}

TEST_F(HostileTest, SqlInKeysIsText) {
  ASSERT_EQ(Put("/bucket/'%3B%20DROP%20TABLE%20object%3B--", "x").status, 200);
  EXPECT_EQ(Get("/bucket?prefix='%3B").Elements("Key").size(), 1u);
}

TEST_F(HostileTest, MarkupInKeysIsEscaped) {
  ASSERT_EQ(Put("/bucket/%3CKey%3Eevil%3C%2FKey%3E%26", "x").status, 200);
  const Seen listed = Get("/bucket");
  EXPECT_EQ(listed.Elements("Key").size(), 1u);
  EXPECT_NE(listed.body.find("&lt;Key&gt;evil&lt;/Key&gt;&amp;"), std::string::npos);
}

TEST_F(HostileTest, DocumentsAreBoundedInSizeAndDepth) {
  const std::string large = "<Delete>" + std::string(1 << 20, ' ') + "</Delete>";
  EXPECT_EQ(Send("POST", "/bucket?delete", large).code(), "MaxMessageLengthExceeded");
  std::string deep = "<Delete>";
  for (int i = 0; i < 100'000; ++i) {
    deep += "<a>";
  }
  EXPECT_EQ(Send("POST", "/bucket?delete", deep).code(), "MalformedXML");
  std::string closed = "<Delete>";
  for (int i = 0; i < 1000; ++i) {
    closed += "<a>";
  }
  for (int i = 0; i < 1000; ++i) {
    closed += "</a>";
  }
  EXPECT_EQ(Send("POST", "/bucket?delete", closed + "</Delete>").code(), "MalformedXML");
}

TEST_F(HostileTest, EntitiesAreNotExpanded) {
  const std::string bomb =
      "<!DOCTYPE d [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\"><!ENTITY f SYSTEM "
      "\"file:///etc/passwd\">]><Delete><Object><Key>&b;&f;</Key></Object></Delete>";
  const Seen answer = Send("POST", "/bucket?delete", bomb);
  EXPECT_EQ(answer.body.find("root:"), std::string::npos);
  EXPECT_EQ(answer.body.find("aaaa"), std::string::npos);
}

TEST_F(HostileTest, MoreThanAThousandDeletesAreRefused) {
  std::string document = "<Delete>";
  for (int i = 0; i < 1001; ++i) {
    document += fmt::format("<Object><Key>{}</Key></Object>", i);
  }
  EXPECT_EQ(Send("POST", "/bucket?delete", document + "</Delete>").code(), "MalformedXML");
}

TEST_F(HostileTest, MetadataIsBounded) {
  EXPECT_EQ(Put("/bucket/k", "x", {{"x-amz-meta-a", std::string(2048, 'v')}}).code(),
            "MetadataTooLarge");
}

TEST_F(HostileTest, ABodyThatIsNotWhatWasSignedIsNotPublished) {
  Request request = Signed("PUT", "/bucket/k", "signed", {});
  EXPECT_EQ(Deliver(std::move(request), "forged").code(), "XAmzContentSHA256Mismatch");
  EXPECT_EQ(Get("/bucket/k").code(), "NoSuchKey");
}

TEST_F(HostileTest, AWrongContentMd5IsNotPublished) {
  EXPECT_EQ(Put("/bucket/k", "x", {{"content-md5", Md5Base64Of("y")}}).code(), "BadDigest");
  EXPECT_EQ(Put("/bucket/k", "x", {{"content-md5", "short"}}).code(), "InvalidDigest");
  EXPECT_EQ(Get("/bucket/k").code(), "NoSuchKey");
}

TEST_F(HostileTest, ATrailerThatWasNotAnnouncedIsRefusedAndNotIgnored) {
  const std::string body = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
  EXPECT_EQ(Put("/bucket/k", body,
                {{"x-amz-content-sha256", std::string(kStreamingUnsignedTrailer)},
                 {"x-amz-decoded-content-length", "5"}})
                .code(),
            "MalformedTrailerError");
  EXPECT_EQ(Get("/bucket/k").code(), "NoSuchKey");
}

TEST_F(HostileTest, ASecondAuthorizationIsRefused) {
  Request request = Signed("GET", "/bucket", "", {});
  request.headers.Add("authorization", "AWS nobody:signature");
  EXPECT_EQ(Deliver(std::move(request), "").code(), "InvalidArgument");
}

TEST_F(HostileTest, AnEmptyAuthorizationIsNone) {
  Request request;
  request.method = "GET";
  request.path = "/bucket";
  request.headers.Add("authorization", " ");
  EXPECT_EQ(Deliver(std::move(request), "").code(), "AccessDenied");
}

TEST_F(HostileTest, AParameterOfTheSignatureThatComesTwiceIsRefused) {
  Request request;
  request.method = "GET";
  request.path = "/bucket";
  request.query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=1&X-Amz-Expires=604800";
  EXPECT_EQ(Deliver(std::move(request), "").code(), "AuthorizationQueryParametersError");
}

TEST_F(HostileTest, ParametersThatAreNotUtf8AreInNoAnswer) {
  for (const char* query : {"marker=%FF", "prefix=%C0%AF", "list-type=2&start-after=%ED%A0%80",
                            "versions&key-marker=%FF", "uploads&key-marker=%FF"}) {
    EXPECT_EQ(Get(std::string("/bucket?") + query).code(), "InvalidArgument") << query;
  }
}

TEST_F(HostileTest, AShortBodyIsNotPublished) {
  Request request = Signed("PUT", "/bucket/k", "whole",
                           {{"x-amz-content-sha256", std::string(kUnsignedPayload)}});
  EXPECT_EQ(Deliver(std::move(request), "who").code(), "IncompleteBody");
  EXPECT_EQ(Get("/bucket/k").code(), "NoSuchKey");
}

TEST_F(HostileTest, AClientThatGoesAwayPublishesNothing) {
  const std::unique_ptr<Exchange> exchange =
      service_->Begin(Signed("PUT", "/bucket/k", "body", {}));
  exchange->OnBody(AsBytes("body"));
  EXPECT_EQ(Get("/bucket/k").code(), "NoSuchKey");
}

TEST_F(HostileTest, WithoutCredentialsNothingIsAnswered) {
  for (const char* target : {"/", "/bucket", "/bucket/k", "/bucket?location"}) {
    Request request;
    request.method = "GET";
    request.path = target;
    if (const size_t question = request.path.find('?'); question != std::string::npos) {
      request.query = request.path.substr(question + 1);
      request.path.resize(question);
    }
    const Seen answer = Deliver(std::move(request), "");
    EXPECT_EQ(answer.status, 403) << target;
    EXPECT_EQ(answer.code(), "AccessDenied") << target;
  }
}

TEST_F(HostileTest, UsersStayWithinTheirRights) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  user_ = *users_.Find("READER");
  EXPECT_EQ(Get("/bucket/k").body, "x");
  EXPECT_EQ(Put("/bucket/k", "y").code(), "AccessDenied");
  EXPECT_EQ(Send("DELETE", "/bucket/k").code(), "AccessDenied");
  EXPECT_EQ(Send("POST", "/bucket?delete", "<Delete/>").code(), "AccessDenied");
  EXPECT_EQ(Send("POST", "/bucket/k?uploads").code(), "AccessDenied");
  user_ = *users_.Find("BOB");
  EXPECT_EQ(Get("/bucket/k").code(), "AccessDenied");
  ASSERT_EQ(Put("/bob-1", "").status, 200);
  EXPECT_EQ(Put("/bob-1/k", "", {{"x-amz-copy-source", "/bucket/k"}}).code(), "AccessDenied");
  EXPECT_EQ(Get("/").Elements("Name"), std::vector<std::string>{"bob-1"});
}

TEST_F(HostileTest, ResponseOverridesCannotSplitHeaders) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  EXPECT_EQ(Get("/bucket/k?response-content-type=a%0d%0ab").code(), "InvalidArgument");
}

TEST_F(HostileTest, EncryptionIsRefusedNotPretended) {
  EXPECT_EQ(Put("/bucket/k", "x", {{"x-amz-server-side-encryption", "AES256"}}).code(),
            "NotImplemented");
  EXPECT_EQ(Get("/bucket/k").code(), "NoSuchKey");
}

}  // namespace
}  // namespace sqlite_s3::server

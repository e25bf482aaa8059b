// Uploads by a form of a web page.
#include <fmt/format.h>

#include "server/auth/digest.h"
#include "tests/server/s3/s3_fixture.h"

namespace sqlite_s3::server {
namespace {

class PostFormTest : public S3Test {
 protected:
  void SetUp() override {
    Start();
    ASSERT_EQ(Put("/bucket", "").status, 200);
  }
  static std::string Policy(const std::string& conditions,
                            const std::string& expiration = "2033-01-01T00:00:00Z") {
    return EncodeBase64(
        AsBytes("{\"expiration\":\"" + expiration + "\",\"conditions\":[" + conditions + "]}"));
  }
  Seen Post(const std::string& policy, HeaderList fields, const std::string& file) {
    const std::string date = FormatAmzDate(clock_.WallMicros());
    fields.insert(fields.begin(), {"x-amz-date", date});
    fields.emplace_back("x-amz-algorithm", "AWS4-HMAC-SHA256");
    fields.emplace_back("x-amz-credential",
                        user_.access_key + "/" + date.substr(0, 8) + "/us-east-1/s3/aws4_request");
    fields.emplace_back("policy", policy);
    fields.emplace_back(
        "x-amz-signature",
        Signature(DeriveSigningKey(user_.secret_key, date.substr(0, 8), "us-east-1", "s3"),
                  policy));
    std::string body;
    for (const auto& [name, value] : fields) {
      body +=
          "--B\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n";
    }
    body +=
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n"
        "Content-Type: text/plain\r\n\r\n" +
        file + "\r\n--B\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\ngo\r\n--B--\r\n";
    Request request;
    request.method = "POST";
    request.path = "/bucket";
    request.headers.Add("content-type", "multipart/form-data; boundary=B");
    return Deliver(std::move(request), body);
  }
};

TEST_F(PostFormTest, UploadsWhatThePolicyAllowsHoweverItArrives) {
  const std::string policy =
      Policy(R"({"bucket":"bucket"},["starts-with","$key","user/"],["content-length-range",1,10])");
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{1000}}) {
    piece_ = piece;
    const Seen posted = Post(policy, {{"key", "user/${filename}"}}, "a\r\n--C\r\n");
    EXPECT_EQ(posted.status, 204) << posted.body;
    EXPECT_EQ(Get("/bucket/user/f.txt").body, "a\r\n--C\r\n");
    EXPECT_EQ(Send("HEAD", "/bucket/user/f.txt").headers.Get("content-type"), "text/plain");
  }
}

TEST_F(PostFormTest, RefusesWhatThePolicyDoesNotAllow) {
  const std::string policy =
      Policy(R"({"bucket":"bucket"},["starts-with","$key","user/"],["content-length-range",2,4])");
  EXPECT_EQ(Post(policy, {{"key", "other"}}, "abc").code(), "AccessDenied");
  EXPECT_EQ(Post(policy, {{"key", "user/k"}}, "abcde").code(), "EntityTooLarge");
  EXPECT_EQ(Post(policy, {{"key", "user/k"}}, "a").code(), "EntityTooSmall");
  EXPECT_EQ(Post(policy, {{"key", "user/k"}, {"x-amz-meta-a", "1"}}, "abc").code(), "AccessDenied");
  EXPECT_EQ(Post(policy, {}, "abc").code(), "UserKeyMustBeSpecified");
  EXPECT_EQ(Post(Policy(R"({"bucket":"bucket"})"), {{"key", "k"}}, "abc").code(), "AccessDenied");
  EXPECT_EQ(
      Post(Policy(R"(["eq","$key","k"])", "2001-01-01T00:00:00Z"), {{"key", "k"}}, "a").code(),
      "AccessDenied");
  EXPECT_EQ(Post(Policy("7"), {{"key", "k"}}, "abc").code(), "InvalidPolicyDocument");
  user_.secret_key = "wrong";
  EXPECT_EQ(Post(policy, {{"key", "user/k"}}, "abc").code(), "SignatureDoesNotMatch");
  user_ = *users_.Find("READER");
  EXPECT_EQ(Post(policy, {{"key", "user/k"}}, "abc").code(), "AccessDenied");
  user_ = *users_.Find("ALICE");
  EXPECT_EQ(Get("/bucket").Elements("Key").size(), 0u);
}

TEST_F(PostFormTest, AnswersAsTheFormWants) {
  const std::string policy = Policy(
      R"({"key":"k"},["starts-with","$success_action_status",""],["starts-with","$success_action_redirect",""])");
  const Seen created =
      Post(policy,
           {{"key", "k"}, {"success_action_status", "201"}, {"success_action_redirect", ""}}, "x");
  EXPECT_EQ(created.status, 201);
  EXPECT_EQ(created.Element("Key"), "k");
  const Seen redirected = Post(policy,
                               {{"key", "k"},
                                {"success_action_status", ""},
                                {"success_action_redirect", "https://example.com/done"}},
                               "x");
  EXPECT_EQ(redirected.status, 303);
  EXPECT_EQ(redirected.headers.Get("location").rfind("https://example.com/done?bucket=bucket", 0),
            0u);
}

}  // namespace
}  // namespace sqlite_s3::server

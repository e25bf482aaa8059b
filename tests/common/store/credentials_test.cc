#include "common/store/credentials.h"

#include <sys/stat.h>

#include <fstream>
#include <map>

#include "common/store/credential_profile.h"
#include "common/store/credential_services.h"
#include "common/store/curl_transport.h"
#include "tests/support/scripted_http.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kDocument[] = R"({"AccessKeyId":"ID","SecretAccessKey":"SECRET","Token":"TOKEN",)"
                             R"("Expiration":"2023-11-14T23:13:20Z"})";

ScriptedReply StsReply(const std::string& action, const std::string& id = "STSID") {
  return HttpReply(200, "<" + action + "Response><" + action + "Result><Credentials><AccessKeyId>" +
                            id +
                            "</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>T"
                            "</SessionToken><Expiration>2023-11-14T23:13:20Z</Expiration>"
                            "</Credentials></" +
                            action + "Result></" + action + "Response>");
}

class CredentialChainTest : public ::testing::Test {
 protected:
  CredentialChainTest() {
    Set("HOME", dir_.path());
    Set("AWS_EC2_METADATA_DISABLED", "true");
  }
  void Set(const std::string& name, const std::string& value) { variables_[name] = value; }
  std::string Write(const std::string& name, const std::string& text, mode_t mode = 0600) {
    std::string path = dir_.File(name);
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return path;
  }
  void Config(const std::string& text, mode_t mode = 0600) {
    Set("AWS_CONFIG_FILE", Write("config", text, mode));
  }
  std::string Serve(ScriptedHttp::Handler handler) {
    http_ = std::make_unique<ScriptedHttp>(std::move(handler));
    return http_->endpoint();
  }
  CredentialChainOptions Options() {
    CredentialChainOptions options;
    options.environment = [this](const std::string& name) -> std::optional<std::string> {
      auto found = variables_.find(name);
      if (found == variables_.end()) return std::nullopt;
      return found->second;
    };
    options.profile = profile_;
    options.region = "eu-x";
    auto transport = NewCurlTransport({});
    EXPECT_OK(transport);
    options.transport = *transport;
    options.clock = &clock_;
    return options;
  }
  Result<Credentials> Fetch() { return NewCredentialChain(Options())->Fetch(); }
  // The access key, or the error.
  std::string Id() {
    auto got = Fetch();
    return got.ok() ? got->access_key_id : got.status().ToString();
  }

  TempDir dir_;
  std::map<std::string, std::string> variables_;
  std::string profile_;
  FakeClock clock_;
  std::unique_ptr<ScriptedHttp> http_;
};

TEST_F(CredentialChainTest, WithoutAnySourceTheHintNamesOne) {
  auto got = Fetch();
  EXPECT_STATUS(got, StatusCode::kPermissionDenied);
  EXPECT_THAT(got.status().message(), HasSubstr("AWS_ACCESS_KEY_ID"));
}

TEST_F(CredentialChainTest, TheOrderIsTheDocumentedOne) {
  std::string endpoint = Serve([](const ScriptedRequest& request) {
    if (request.target == "/container") return HttpReply(200, kDocument);
    if (request.target == "/latest/api/token") return HttpReply(200, "imds-token");
    if (request.target.ends_with("security-credentials/")) return HttpReply(200, "role x");
    if (request.target.ends_with("/role%20x")) {
      return HttpReply(200, R"({"AccessKeyId":"MACHINE","SecretAccessKey":"S","Token":"T",)"
                            R"("Expiration":"2023-11-14T23:13:20Z"})");
    }
    return StsReply("AssumeRoleWithWebIdentity", "WEB");
  });
  variables_.erase("AWS_EC2_METADATA_DISABLED");
  Set("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
  EXPECT_EQ(Id(), "MACHINE");
  EXPECT_EQ(http_->requests()[0].method, "PUT");
  EXPECT_EQ(http_->requests()[2].headers.at("x-aws-ec2-metadata-token"), "imds-token");
  Set("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint + "/container");
  EXPECT_EQ(Id(), "ID");
  Config("[default]\naws_access_key_id=PROFILE\naws_secret_access_key=S\n");
  EXPECT_EQ(Id(), "PROFILE");
  Set("AWS_ENDPOINT_URL_STS", endpoint);
  Set("AWS_WEB_IDENTITY_TOKEN_FILE", Write("token", "jwt\n"));
  Set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
  EXPECT_EQ(Id(), "WEB");
  EXPECT_THAT(http_->requests().back().body, HasSubstr("WebIdentityToken=jwt"));
  EXPECT_EQ(http_->requests().back().headers.count("authorization"), 0u);
  Set("S3_ACCESS_KEY_ID", "S3ID");
  Set("S3_SECRET_ACCESS_KEY", "S");
  EXPECT_EQ(Id(), "S3ID");
  Set("AWS_ACCESS_KEY_ID", "AWSID");
  Set("AWS_SECRET_ACCESS_KEY", "S");
  EXPECT_EQ(Id(), "AWSID");
  profile_ = "default";
  EXPECT_EQ(Id(), "PROFILE") << "the address names a profile";
  profile_ = "absent";
  EXPECT_THAT(Id(), HasSubstr("profile 'absent' is in neither"));
}

TEST_F(CredentialChainTest, HalfASourceIsAnErrorAndNotSkipped) {
  Set("AWS_ACCESS_KEY_ID", "ID");
  Set("S3_ACCESS_KEY_ID", "S3ID");
  Set("S3_SECRET_ACCESS_KEY", "S");
  EXPECT_THAT(Id(), HasSubstr("only one is set"));
}

TEST_F(CredentialChainTest, ARoleIsAssumedWithItsSourceProfile) {
  Set("AWS_ENDPOINT_URL_STS", Serve([](const ScriptedRequest&) { return StsReply("AssumeRole"); }));
  Config(
      "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = canary\n"
      "[profile r]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\nexternal_id = e/1\n");
  Set("AWS_PROFILE", "r");
  ASSERT_OK_AND_ASSIGN(Credentials got, Fetch());
  EXPECT_EQ(got.access_key_id, "STSID");
  EXPECT_EQ(got.session_token, "T");
  EXPECT_EQ(got.expires_us, 1'700'003'600'000'000);
  auto request = http_->requests().at(0);
  EXPECT_THAT(request.body, HasSubstr("Action=AssumeRole&"));
  EXPECT_THAT(request.body, HasSubstr("ExternalId=e%2F1"));
  EXPECT_THAT(request.headers.at("authorization"), HasSubstr("Credential=BASE/"));
  EXPECT_THAT(request.headers.at("authorization"), HasSubstr("/eu-x/sts/aws4_request"));
  EXPECT_THAT(request.body, Not(HasSubstr("canary")));
}

TEST_F(CredentialChainTest, RolesThatGoRoundInACircleEnd) {
  Config("[profile a]\nrole_arn=x\nsource_profile=b\n[profile b]\nrole_arn=x\nsource_profile=a\n");
  Set("AWS_PROFILE", "a");
  EXPECT_THAT(Id(), HasSubstr("circle"));
}

TEST_F(CredentialChainTest, AProcessIsRunWithoutAShell) {
  Config(std::string("[default]\ncredential_process = /bin/echo '") + kDocument + "' \"\"\n");
  EXPECT_EQ(Id(), "ID");
  Config("[default]\ncredential_process = /bin/echo $HOME; id\n");
  EXPECT_THAT(Id(), HasSubstr("not the document"));
  Config("[default]\ncredential_process = /bin/false\n");
  EXPECT_THAT(Id(), HasSubstr("failed"));
  Config("[default]\ncredential_process = /no/such/program\n");
  EXPECT_THAT(Id(), HasSubstr("cannot be run"));
}

TEST_F(CredentialChainTest, AProcessNamedByAFileThatOthersMayWriteIsNotRun) {
  Config(std::string("[default]\ncredential_process = /bin/echo '") + kDocument + "'\n", 0620);
  EXPECT_THAT(Id(), HasSubstr("others may write it"));
}

TEST_F(CredentialChainTest, AContainersTokenGoesToTrustedAddressesOnly) {
  for (const char* uri : {"http://example.com/", "http://10.0.0.1/", "ftp://127.0.0.1/",
                          "http://127.0.0.1@evil.example/", "http://127.0.0.1.evil.example/"}) {
    Set("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
    EXPECT_THAT(Id(), HasSubstr("is neither https://")) << uri;
  }
  Set("AWS_CONTAINER_CREDENTIALS_FULL_URI",
      Serve([](const ScriptedRequest&) { return HttpReply(200, kDocument); }) + "/x");
  Set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Write("token", "first\n"));
  EXPECT_EQ(Id(), "ID");
  Write("token", "second\n");
  EXPECT_EQ(Id(), "ID");
  EXPECT_EQ(http_->requests()[1].headers.at("authorization"), "second");
}

TEST_F(CredentialChainTest, SecretsAreInNoMessage) {
  Config("[default]\ncredential_process = /bin/echo canary-secret\n");
  EXPECT_THAT(Id(), Not(HasSubstr("canary")));
  Set("AWS_CONTAINER_CREDENTIALS_FULL_URI", Serve([](const ScriptedRequest&) {
        return HttpReply(200, R"({"AccessKeyId":"x\ny","SecretAccessKey":"canary-secret"})");
      }));
  Config("");
  EXPECT_THAT(Id(), HasSubstr("not the document"));
  EXPECT_THAT(Id(), Not(HasSubstr("canary")));
}

TEST_F(CredentialChainTest, TheRegionOfTheProfileIsFound) {
  Config("[default]\nregion = eu-central-1\n[profile p]\nregion=us-west-2\n");
  EXPECT_EQ(ProfileRegion(Options()), "eu-central-1");
  profile_ = "p";
  EXPECT_EQ(ProfileRegion(Options()), "us-west-2");
}

TEST(ProfileFileTest, SectionsKeysAndNestedLines) {
  auto sections = ParseProfileFile(
      "stray = 1\n# c\n; c\n[default]\r\n a_b = nested\nk = v = w \r\ns3 =\n  x = y\n"
      "[profile two words]\nk=1\n[]\n[unclosed\nz=1");
  EXPECT_EQ(sections["default"]["k"], "v = w");
  EXPECT_EQ(sections["default"].count("x"), 0u);
  EXPECT_EQ(sections["default"].count("a_b"), 0u);
  EXPECT_EQ(sections["two words"]["k"], "1");
}

TEST(CommandLineTest, WordsAreSplitAsAShellWouldWithoutAnythingElse) {
  EXPECT_THAT(*SplitCommandLine(R"(a 'b c' "d \" e" f\ g '' $x;y)"),
              ElementsAre("a", "b c", "d \" e", "f g", "", "$x;y"));
  EXPECT_STATUS(SplitCommandLine("a 'b"), StatusCode::kInvalidArgument);
  EXPECT_STATUS(SplitCommandLine("  "), StatusCode::kInvalidArgument);
}

// --- The cache

class CountingSource : public CredentialSource {
 public:
  explicit CountingSource(const Clock& clock) : clock_(clock) {}
  Result<Credentials> Fetch() override {
    ++fetched;
    if (away) return UnavailableError("away");
    return Credentials{"ID" + std::to_string(fetched), "S", "T",
                       clock_.WallMicros() + 3'600'000'000, "test"};
  }
  int fetched = 0;
  bool away = false;

 private:
  const Clock& clock_;
};

class CredentialCacheTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  CountingSource* source_ = new CountingSource(clock_);
  CredentialCache cache_{std::unique_ptr<CredentialSource>(source_), clock_};
};

TEST_F(CredentialCacheTest, FetchesAgainFiveMinutesBeforeTheEnd) {
  EXPECT_EQ(cache_.Get()->access_key_id, "ID1");
  clock_.Advance(std::chrono::minutes(54));
  EXPECT_EQ(cache_.Get()->access_key_id, "ID1");
  clock_.Advance(std::chrono::minutes(1));
  EXPECT_EQ(cache_.Get()->access_key_id, "ID2");
}

TEST_F(CredentialCacheTest, OldOnesServeAsLongAsTheyLive) {
  ASSERT_OK(cache_.Get());
  source_->away = true;
  clock_.Advance(std::chrono::minutes(59));
  EXPECT_EQ(cache_.Get()->access_key_id, "ID1");
  clock_.Advance(std::chrono::minutes(1));
  EXPECT_STATUS(cache_.Get(), StatusCode::kUnavailable);
}

TEST_F(CredentialCacheTest, WhatHasExpiredIsFetchedOnceForAllWhoUsedIt) {
  ASSERT_OK_AND_ASSIGN(Credentials used, cache_.Get());
  cache_.Expire(used);
  EXPECT_EQ(cache_.Get()->access_key_id, "ID2");
  cache_.Expire(used);  // another thread, late
  EXPECT_EQ(cache_.Get()->access_key_id, "ID2");
}

}  // namespace
}  // namespace sqlite_s3

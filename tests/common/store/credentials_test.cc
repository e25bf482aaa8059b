#include "common/store/credentials.h"

#include <sys/stat.h>

#include <fstream>
#include <functional>
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
    options.metadata_timeout = std::chrono::minutes(1);  // a busy machine is none without a service
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

TEST_F(CredentialChainTest, ARoleIsAssumedWithTheSourceThatItsProfileNames) {
  std::string endpoint = Serve([](const ScriptedRequest& request) {
    if (request.target == "/container") return HttpReply(200, kDocument);
    if (request.target == "/latest/api/token") return HttpReply(200, "imds-token");
    if (request.target.ends_with("security-credentials/")) return HttpReply(200, "r");
    if (request.target.ends_with("/r")) {
      return HttpReply(200, R"({"AccessKeyId":"MACHINE","SecretAccessKey":"S"})");
    }
    return StsReply(request.body.find("WebIdentityToken=jwt") != std::string::npos
                        ? "AssumeRoleWithWebIdentity"
                        : "AssumeRole");
  });
  variables_.erase("AWS_EC2_METADATA_DISABLED");
  Set("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
  Set("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint + "/container");
  Set("AWS_ENDPOINT_URL_STS", endpoint);
  profile_ = "r";
  Set("AWS_ACCESS_KEY_ID", "AWSID");
  Set("AWS_SECRET_ACCESS_KEY", "S");
  const struct {
    const char* line;
    const char* signed_by;
  } kCases[] = {{"credential_source = Environment", "Credential=AWSID/"},
                {"credential_source = EcsContainer", "Credential=ID/"},
                {"credential_source = Ec2InstanceMetadata", "Credential=MACHINE/"}};
  for (const auto& c : kCases) {
    Config(std::string("[profile r]\nrole_arn = arn:aws:iam::1:role/r\n") + c.line + "\n");
    EXPECT_EQ(Id(), "STSID") << c.line;
    EXPECT_THAT(http_->requests().back().headers.at("authorization"), HasSubstr(c.signed_by));
  }
  Config("[profile r]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = " +
         Write("token", "jwt\n") + "\n");
  EXPECT_EQ(Id(), "STSID");
  Config("[profile r]\nrole_arn = arn:aws:iam::1:role/r\n");
  EXPECT_THAT(Id(), HasSubstr("needs source_profile"));
}

TEST_F(CredentialChainTest, EachServicesCredentialsAreFetchedAgainBeforeTheyExpire) {
  int asked = 0;
  std::string endpoint = Serve([&](const ScriptedRequest& request) {
    const std::string id = "ID" + std::to_string(++asked);
    const std::string expires = R"(,"Token":"T","Expiration":"2023-11-14T23:13:20Z"})";
    if (request.target == "/latest/api/token") return HttpReply(200, "imds-token");
    if (request.target.ends_with("security-credentials/")) return HttpReply(200, "r");
    if (request.target == "/container" || request.target.ends_with("/r")) {
      return HttpReply(200, R"({"SecretAccessKey":"S","AccessKeyId":")" + id + "\"" + expires);
    }
    return StsReply(request.body.find("WebIdentityToken") != std::string::npos
                        ? "AssumeRoleWithWebIdentity"
                        : "AssumeRole",
                    id);
  });
  Set("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
  Set("AWS_ENDPOINT_URL_STS", endpoint);
  // By decreasing precedence, so that each case takes the one before away.
  const struct {
    const char* name;
    std::function<void()> set;
  } kCases[] = {
      {"web identity",
       [&] {
         Set("AWS_WEB_IDENTITY_TOKEN_FILE", Write("token", "jwt"));
         Set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
       }},
      {"role",
       [&] {
         variables_.erase("AWS_WEB_IDENTITY_TOKEN_FILE");
         variables_.erase("AWS_ROLE_ARN");
         Config(
             "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\n"
             "aws_access_key_id=B\naws_secret_access_key=S\n");
       }},
      {"container",
       [&] {
         Config("");
         Set("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint + "/container");
       }},
      {"machine",
       [&] {
         variables_.erase("AWS_CONTAINER_CREDENTIALS_FULL_URI");
         variables_.erase("AWS_EC2_METADATA_DISABLED");
       }},
  };
  for (const auto& c : kCases) {
    c.set();
    clock_.SetWall(1'700'000'000'000'000);  // an hour before they expire
    CredentialCache cache(NewCredentialChain(Options()), clock_);
    ASSERT_OK_AND_ASSIGN(Credentials first, cache.Get());
    clock_.Advance(std::chrono::minutes(54));
    EXPECT_EQ(cache.Get()->access_key_id, first.access_key_id) << c.name;
    clock_.Advance(std::chrono::minutes(2));
    EXPECT_NE(cache.Get()->access_key_id, first.access_key_id) << c.name;
  }
}

TEST_F(CredentialChainTest, WhatAServiceRefusesIsSaidWithoutTheSecretsThatWereSent) {
  std::string endpoint = Serve([](const ScriptedRequest&) {
    return HttpReply(403,
                     "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>");
  });
  Set("AWS_ENDPOINT_URL_STS", endpoint);
  Set("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
  auto expect_quiet = [&](const char* what) {
    auto got = Fetch();
    EXPECT_FALSE(got.ok()) << what;
    EXPECT_THAT(got.status().ToString(), Not(HasSubstr("canary"))) << what;
    EXPECT_THAT(got.status().ToString(), Not(HasSubstr("Signature="))) << what;
  };
  Set("AWS_WEB_IDENTITY_TOKEN_FILE", Write("token", "canary-jwt"));
  Set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
  expect_quiet("web identity");
  variables_.erase("AWS_WEB_IDENTITY_TOKEN_FILE");
  variables_.erase("AWS_ROLE_ARN");
  Config(
      "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\naws_access_key_id=B\n"
      "aws_secret_access_key=canary\naws_session_token=canary\n");
  expect_quiet("role");
  Config("[default]\naws_secret_access_key=canary\n");
  expect_quiet("half a profile");
  Config("");
  Set("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint + "/x");
  Set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary-token");
  expect_quiet("container");
  Set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary\r\nx: y");
  expect_quiet("a token of two lines");
  variables_.erase("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  variables_.erase("AWS_EC2_METADATA_DISABLED");
  expect_quiet("machine");
  Set("S3_SECRET_ACCESS_KEY", "canary");
  expect_quiet("half of S3_*");
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

}  // namespace
}  // namespace sqlite_s3

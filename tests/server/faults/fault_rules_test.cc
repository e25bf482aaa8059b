#include <gmock/gmock.h>

#include <thread>

#include "server/faults/fault_injector.h"
#include "tests/server/s3/s3_fixture.h"

namespace sqlite_s3::server {
namespace {

using testing::HasSubstr;

class FaultsTest : public S3Test {
 protected:
  FaultsTest() : injector_(rules_), admin_(rules_) {}
  void SetUp() override {
    Start({}, {}, &injector_);
    ASSERT_EQ(Put("/bucket", "").status, 200);
  }
  // Through the listener's handler, as tests of other programs do.
  Seen Admin(const std::string& method, const std::string& body = "") {
    Request request;
    request.method = method;
    request.path = "/rules";
    const std::unique_ptr<Exchange> exchange = admin_.Begin(std::move(request));
    std::optional<Response> answer = exchange->Early();
    if (!answer) {
      exchange->OnBody(AsBytes(body));
      answer = exchange->Finish();
    }
    Seen seen;
    seen.status = answer->status;
    seen.body = answer->body;
    return seen;
  }
  void Rule(const std::string& json) {
    const Seen added = Admin("POST", json);
    ASSERT_EQ(added.status, 200) << added.body;
  }
  FaultRules rules_;
  FaultInjector injector_;
  FaultAdmin admin_;
};

TEST_F(FaultsTest, SkipAndCountSayWhichMatchesAreHit) {
  Rule(
      R"({"op":"PutObject","key":"k*","fault":"error","status":503,"code":"SlowDown","skip":1,"count":2})");
  EXPECT_EQ(Put("/bucket/k", "0").status, 200);
  EXPECT_EQ(Put("/bucket/other", "0").status, 200);
  EXPECT_EQ(Put("/bucket/k", "1").code(), "SlowDown");
  EXPECT_EQ(Put("/bucket/k1", "1").status, 503);
  EXPECT_EQ(Put("/bucket/k", "2").status, 200);
  EXPECT_THAT(Admin("GET").body, HasSubstr(R"("hits":2)"));
  EXPECT_THAT(Admin("GET").body, HasSubstr(R"("seen":4)"));
  EXPECT_EQ(Admin("DELETE").status, 200);
  EXPECT_EQ(Admin("GET").body, "[]\n");
}

TEST_F(FaultsTest, ErrorsHappenBeforeTheOperationUnlessToldToExecute) {
  Rule(R"({"op":"PutObject","fault":"error","status":500,"count":1})");
  EXPECT_EQ(Put("/bucket/a", "x").status, 500);
  EXPECT_EQ(Get("/bucket/a").status, 404);
  Rule(R"({"op":"PutObject","fault":"error","status":500,"execute":true,"count":1})");
  EXPECT_EQ(Put("/bucket/a", "x").status, 500);
  EXPECT_EQ(Get("/bucket/a").body, "x");
}

TEST_F(FaultsTest, AnErrorDocumentMayComeWithStatus200) {
  Rule(R"({"op":"CompleteMultipartUpload","fault":"error","status":200,"code":"InternalError"})");
  const Seen answer = Multipart("/bucket/m", {"x"});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.code(), "InternalError");
  EXPECT_EQ(Get("/bucket/m").status, 404);
}

TEST_F(FaultsTest, RefusedRequestsDoNothingAndGetNoAnswer) {
  Rule(R"({"op":"PutObject","fault":"refuse","count":1})");
  const Seen refused = Put("/bucket/k", "x");
  EXPECT_EQ(refused.ending, Ending::kReset);
  EXPECT_EQ(refused.cut_after, std::nullopt);
  Rule(R"({"op":"PutObject","fault":"reset-after-body","count":1})");
  EXPECT_EQ(Put("/bucket/k", "x").ending, Ending::kReset);
  EXPECT_EQ(Get("/bucket/k").status, 404);
}

TEST_F(FaultsTest, ALostAnswerIsOfSomethingThatHappened) {
  Rule(R"({"op":"PutObject","fault":"answer-lost","count":1})");
  const Seen lost = Put("/bucket/k", "x", {{"if-none-match", "*"}});
  EXPECT_EQ(lost.ending, Ending::kReset);
  EXPECT_EQ(lost.cut_after, std::nullopt);
  EXPECT_EQ(Get("/bucket/k").body, "x");
  EXPECT_EQ(Put("/bucket/k", "x", {{"if-none-match", "*"}}).status, 412);
}

TEST_F(FaultsTest, AnswersAreCutWhereTheRuleSays) {
  ASSERT_EQ(Put("/bucket/k", "0123456789").status, 200);
  Rule(R"({"op":"GetObject","fault":"truncate","bytes":3,"count":1})");
  const Seen truncated = Get("/bucket/k");
  EXPECT_EQ(truncated.ending, Ending::kClose);
  EXPECT_EQ(truncated.cut_after, 3u);
  Rule(R"({"op":"GetObject","fault":"reset-in-answer","count":1})");
  const Seen reset = Get("/bucket/k");
  EXPECT_EQ(reset.ending, Ending::kReset);
  EXPECT_EQ(reset.cut_after, 5u);
  EXPECT_EQ(Get("/bucket/k").cut_after, std::nullopt);
}

TEST_F(FaultsTest, AWrongBodyDiffersInOneBit) {
  const std::string large(400'000, 'x');
  ASSERT_EQ(Put("/bucket/small", "0123456789").status, 200);
  ASSERT_EQ(Put("/bucket/large", large).status, 200);
  Rule(R"({"op":"GetObject","fault":"wrong-body"})");
  EXPECT_EQ(Get("/bucket/small").body, "0123446789");
  const std::string wrong = Get("/bucket/large").body;
  ASSERT_EQ(wrong.size(), large.size());
  size_t differences = 0;
  for (size_t i = 0; i < wrong.size(); ++i) {
    differences += wrong[i] != large[i];
  }
  EXPECT_EQ(differences, 1u);
}

TEST_F(FaultsTest, ListsLieAsTheRuleSays) {
  for (const char* key : {"a", "b", "c", "d"}) {
    clock_.Advance(std::chrono::seconds(1));
    ASSERT_EQ(Put(std::string("/bucket/") + key, "x").status, 200);
  }
  clock_.Advance(std::chrono::seconds(1));
  ASSERT_EQ(Put("/bucket/b", "newest").status, 200);
  using Keys = std::vector<std::string>;
  Rule(R"({"op":"ListObjects*","fault":"list-stale","keys":2,"count":1})");
  EXPECT_EQ(Get("/bucket").Elements("Key"), (Keys{"a", "c"}));
  Rule(R"({"op":"ListObjects*","fault":"list-short","keys":3,"count":1})");
  const Seen page = Get("/bucket?list-type=2");
  EXPECT_EQ(page.Elements("Key"), (Keys{"a", "b", "c"}));
  EXPECT_EQ(page.Element("IsTruncated"), "true");
  Rule(R"({"op":"ListObjects*","fault":"list-unordered","count":1})");
  EXPECT_EQ(Get("/bucket").Elements("Key"), (Keys{"d", "c", "b", "a"}));
  Rule(R"({"op":"ListObjectsV2","fault":"list-loop","count":2})");
  const std::string token =
      Get("/bucket?list-type=2&start-after=a").Element("NextContinuationToken");
  EXPECT_EQ(Get("/bucket?list-type=2&continuation-token=" + UriEncode(token, true))
                .Element("NextContinuationToken"),
            token);
  EXPECT_EQ(Get("/bucket").Elements("Key"), (Keys{"a", "b", "c", "d"}));
}

TEST_F(FaultsTest, AListRuleMatchesByPrefix) {
  Rule(R"({"op":"ListObjectsV2","key":"logs/*","fault":"error"})");
  EXPECT_EQ(Get("/bucket?list-type=2&prefix=logs/1").status, 500);
  EXPECT_EQ(Get("/bucket?list-type=2&prefix=other").status, 200);
}

TEST_F(FaultsTest, WithoutConditionalWritesTheLastWriterWins) {
  Rule(R"({"fault":"no-conditional-writes"})");
  ASSERT_EQ(Put("/bucket/k", "first").status, 200);
  EXPECT_EQ(Put("/bucket/k", "second", {{"if-none-match", "*"}}).status, 200);
  EXPECT_EQ(Get("/bucket/k").body, "second");
}

TEST_F(FaultsTest, ConditionalOnlyRulesLeaveOthersAlone) {
  Rule(
      R"({"op":"PutObject","conditional":true,"fault":"error","status":501,"code":"NotImplemented"})");
  EXPECT_EQ(Put("/bucket/k", "x").status, 200);
  EXPECT_EQ(Put("/bucket/k", "x", {{"if-none-match", "*"}}).status, 501);
}

TEST_F(FaultsTest, RulesThatCannotBeMeantAreRefusedByName) {
  const std::pair<const char*, const char*> wrong[] = {
      {"{", "not JSON"},
      {"7", "'fault'"},
      {R"({"op":"PutObject"})", "'fault'"},
      {R"({"fault":"explode"})", "unknown"},
      {R"({"fault":"error","sped":1})", "'sped'"},
      {R"({"fault":"error","op":"PutObjekt"})", "'PutObjekt'"},
      {R"({"fault":"error","status":99})", "'status'"},
      {R"({"fault":"error","count":0})", "'count'"},
      {R"({"fault":"error","skip":-1})", "'skip'"},
      {R"({"fault":"throttle"})", "'bytes_per_second'"},
      {R"({"fault":"error","delay_ms":5})", "'delay_ms'"},
      {R"({"fault":"error","execute":1})", "'execute'"}};
  for (const auto& [json, expected] : wrong) {
    const Seen answer = Admin("POST", json);
    EXPECT_EQ(answer.status, 400) << json;
    EXPECT_THAT(answer.body, HasSubstr(expected)) << json;
  }
  EXPECT_EQ(Admin("GET").body, "[]\n");
}

TEST_F(FaultsTest, OneWrongRuleOfAListAddsNone) {
  EXPECT_EQ(Admin("POST", R"([{"fault":"error"},{"fault":"nonsense"}])").status, 400);
  EXPECT_EQ(Admin("GET").body, "[]\n");
  Rule(R"([{"fault":"error","op":"GetObject"},{"fault":"refuse","op":"PutObject"}])");
  EXPECT_THAT(Admin("GET").body, HasSubstr(R"("id":2)"));
}

TEST_F(FaultsTest, ClearingTheRulesEndsDelays) {
  Rule(R"({"op":"GetObject","fault":"delay","delay_ms":3600000})");
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  Seen answer;
  std::thread getter([&] { answer = Get("/bucket/k"); });
  while (Admin("GET").body.find(R"("hits":1)") == std::string::npos) {
    std::this_thread::yield();
  }
  Admin("DELETE");
  getter.join();
  EXPECT_EQ(answer.body, "x");
}

}  // namespace
}  // namespace sqlite_s3::server

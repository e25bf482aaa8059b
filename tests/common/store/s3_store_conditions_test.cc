// Conditional writes and deletes of many against servers that honour them, ignore them or lie.

#include "tests/common/store/s3_store_fixture.h"

#include "common/store/s3_digest.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

TEST_F(S3StoreTest, AServerThatIgnoresTheConditionIsFoundOut) {
  Script({HttpReply(200), HttpReply(200), S3Error(404, "NoSuchKey"),
          HttpReply(200, "", "ETag: \"e\"\r\n"), HttpReply(200, "", kLastModified)});
  EXPECT_FALSE(store_->SupportsConditionalPut());
  EXPECT_FALSE(store_->SupportsConditionalPut());
  EXPECT_EQ(Requests().size(), 2u);
  EXPECT_EQ(Requests()[0].target, "/bucket/root/~conditional-put");
  EXPECT_EQ(Requests()[0].headers["if-none-match"], "*");
  EXPECT_OK(store_->PutIfAbsent("k", AsBytes("x")));
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kAlreadyExists);
}

TEST_F(S3StoreTest, AServerThatHonoursTheConditionIsAskedOnce) {
  Script({HttpReply(200), kProbeHonoured, HttpReply(200, "", "ETag: \"e\"\r\n"),
          S3Error(412, "PreconditionFailed")});
  EXPECT_TRUE(store_->SupportsConditionalPut());
  EXPECT_OK(store_->PutIfAbsent("k", AsBytes("x")));
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kAlreadyExists);
  EXPECT_EQ(Requests()[2].headers["if-none-match"], "*");
}

// A portal, or a proxy whose store is away: it says 200 to everything.
TEST_F(S3StoreTest, AnAnswerWithoutAnEtagIsBelievedOnlyWhenTheObjectIsThere) {
  Script({kProbeHonoured, HttpReply(200), S3Error(404, "NoSuchKey"), HttpReply(200, "<html/>"),
          HttpReply(200, "x", kLastModified), HttpReply(200),
          HttpReply(200, "<html/>", kLastModified), HttpReply(200), S3Error(403, "AccessDenied")});
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kUnavailable);
  EXPECT_OK(store_->PutIfAbsent("k", AsBytes("x")));
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kUnavailable);
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kPermissionDenied);
  EXPECT_EQ(Requests()[2].method, "HEAD");
}

TEST_F(S3StoreTest, NorIsOneToAPutWithoutACondition) {
  Script({HttpReply(200), HttpReply(200), S3Error(404, "NoSuchKey"), HttpReply(200),
          S3Error(404, "NoSuchKey")});
  EXPECT_FALSE(store_->SupportsConditionalPut());
  EXPECT_STATUS(store_->PutIfAbsent("k", AsBytes("x")), StatusCode::kUnavailable);
}

// What was there before may be as long: its bytes tell.
TEST_F(S3StoreTest, NorIsOneToAPutThatReplacesSomething) {
  Script({HttpReply(200), HttpReply(200, "old"), HttpReply(200), HttpReply(200, "new"),
          HttpReply(200), S3Error(404, "NoSuchKey"), HttpReply(200), HttpReply(200, "longer")});
  EXPECT_STATUS(store_->Put("k", AsBytes("new")), StatusCode::kUnavailable);
  EXPECT_OK(store_->Put("k", AsBytes("new")));
  EXPECT_STATUS(store_->Put("k", AsBytes("new")), StatusCode::kUnavailable);
  EXPECT_STATUS(store_->Put("k", AsBytes("new")), StatusCode::kUnavailable);
  EXPECT_EQ(Requests()[1].method, "GET");
  Script({kProbeHonoured, HttpReply(200), HttpReply(200, "old"), HttpReply(200),
          HttpReply(200, "new")});
  EXPECT_STATUS(store_->PutIfMatch("k", AsBytes("new"), "\"e\""), StatusCode::kUnavailable);
  EXPECT_OK(store_->PutIfMatch("k", AsBytes("new"), "\"e\""));
}

TEST_F(S3StoreTest, NothingIsWrittenUnderAConditionThatWasNeverTried) {
  Script({S3Error(503, "SlowDown"), S3Error(503, "SlowDown"), HttpReply(200), HttpReply(200),
          S3Error(404, "NoSuchKey"), HttpReply(200, "", "ETag: \"e\"\r\n")});
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

}  // namespace
}  // namespace sqlite_s3

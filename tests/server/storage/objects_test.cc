#include <signal.h>
#include <sys/resource.h>

#include "tests/server/storage/storage_fixture.h"

namespace sqlite_s3::server {
namespace {

TEST_F(BucketTest, BodiesOfEverySizeComeBackAsTheyWere) {
  const size_t sizes[] = {
      0, 1, kInlineBytes, kInlineBytes + 1, kChunkBytes, kChunkBytes + 1, 3 * kChunkBytes};
  for (size_t size : sizes) {
    std::string body = Pattern(size, static_cast<uint32_t>(size));
    Put("k", body);
    EXPECT_EQ(Get("k"), body) << size;
  }
  Reopen();
  EXPECT_EQ(Get("k"), Pattern(3 * kChunkBytes, static_cast<uint32_t>(3 * kChunkBytes)));
}

TEST_F(BucketTest, ReadsAnyRange) {
  std::string body = Pattern(3 * kChunkBytes + 17, 1);
  Put("k", body);
  auto opened = bucket_->Open("k", {});
  ASSERT_TRUE(opened.ok());
  for (auto [offset, length] : {std::pair<size_t, size_t>{0, 1},
                                {kChunkBytes - 1, 2},
                                {kChunkBytes, kChunkBytes},
                                {body.size() - 1, 100},
                                {body.size(), 5},
                                {5, 2 * kChunkBytes}}) {
    opened->body->SetRange(offset, length);
    EXPECT_EQ(ReadAll(*opened->body), body.substr(offset, length)) << offset;
  }
}

TEST_F(BucketTest, FillsABufferAcrossChunks) {
  std::string body = Pattern(3 * kChunkBytes + 17, 1);
  Put("large", body);
  Put("small", "in memory");
  for (const auto& [key, whole] :
       {std::pair<std::string, std::string>{"large", body}, {"small", "in memory"}}) {
    auto opened = bucket_->Open(key, {});
    ASSERT_TRUE(opened.ok());
    opened->body->SetRange(5, whole.size());
    Bytes out(2 * kChunkBytes);
    std::string got;
    for (size_t expected = std::min(out.size(), whole.size() - 5); expected > 0;
         expected = std::min(out.size(), whole.size() - 5 - got.size())) {
      auto n = opened->body->Read(out);
      ASSERT_TRUE(n.ok()) << n.status().ToString();
      ASSERT_EQ(*n, expected) << key;
      got += AsText(ByteSpan(out).first(*n));
    }
    EXPECT_EQ(got, whole.substr(5)) << key;
    EXPECT_EQ(*opened->body->Read(out), 0U);
  }
}

// The key of an index on a body would be the body: each comparison on the way to a chunk read one.
TEST_F(BucketTest, FindingAChunkReadsNoOtherChunk) {
  Put("k", Pattern(8 * kChunkBytes, 1));
  auto connection = Connection::Open(dir_.File("bucket.sqlite3"), SQLITE_OPEN_READONLY, "", 1000);
  ASSERT_TRUE(connection.ok());
  auto offset = connection->QueryInt(
      "SELECT offset FROM chunk WHERE offset <= 5500000 AND content "
      "= (SELECT content FROM object) ORDER BY offset DESC LIMIT 1");
  ASSERT_TRUE(offset.ok()) << offset.status().ToString();
  EXPECT_EQ(*offset, 5 * static_cast<int64_t>(kChunkBytes));
  int pages = 0;
  int highest = 0;
  sqlite3_db_status(connection->get(), SQLITE_DBSTATUS_CACHE_MISS, &pages, &highest, 0);
  EXPECT_LT(pages, 64);
}

TEST_F(BucketTest, KeepsEveryAttribute) {
  PutRequest request;
  request.key = "ключ/%_\"'";
  request.attributes = {"text/plain",
                        "gzip",
                        "de",
                        "inline; filename=\"x\"",
                        "no-cache",
                        "Thu, 01 Dec 1994 16:00:00 GMT",
                        "/other",
                        {{"b", "2"}, {"a", "ü\"\\"}},
                        {{"tag", "value"}},
                        "GLACIER",
                        "public-read",
                        "me"};
  request.etag = "00112233445566778899aabbccddeeff";
  request.checksum = {"CRC32", "AAAAAA==", "FULL_OBJECT"};
  ASSERT_TRUE(bucket_->PutBytes(request, AsBytes("body")).ok());
  auto info = bucket_->Head(request.key, {});
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->attributes, request.attributes);
  EXPECT_EQ(info->etag, request.etag);
  EXPECT_EQ(info->checksum, request.checksum);
  EXPECT_EQ(info->size_bytes, 4U);
  EXPECT_EQ(info->modified_us, clock_.WallMicros());
}

TEST_F(BucketTest, RefusesKeysThatS3Refuses) {
  EXPECT_EQ(Put("", "x"), "<InvalidArgument>");
  EXPECT_EQ(Put("\xff", "x"), "<InvalidArgument>");
  EXPECT_EQ(Put("\xed\xa0\x80", "x"), "<InvalidArgument>");
  EXPECT_EQ(Put(std::string(1025, 'k'), "x"), "<KeyTooLong>");
  EXPECT_EQ(Put(std::string(1024, 'k'), "x"), "null");
  EXPECT_EQ(Get(std::string(1024, 'k')), "x");
}

TEST_F(BucketTest, IfNoneMatchStarCreatesOnce) {
  WriteConditions once;
  once.if_none_match = "*";
  EXPECT_EQ(Put("k", "1", once), "null");
  EXPECT_EQ(Put("k", "2", once), "<PreconditionFailed>");
  EXPECT_EQ(Get("k"), "1");
  Delete("k");
  EXPECT_EQ(Put("k", "3", once), "null");
}

TEST_F(BucketTest, IfMatchWantsExactlyThatEtag) {
  WriteConditions match;
  match.if_match = Md5::Hex(AsBytes("1"));
  EXPECT_EQ(Put("k", "2", match), "<NoSuchKey>");
  Put("k", "1");
  EXPECT_EQ(Put("k", "2", match), "null");
  EXPECT_EQ(Put("k", "3", match), "<PreconditionFailed>");
  match.if_match = "*";
  EXPECT_EQ(Put("k", "3", match), "null");
}

TEST_F(BucketTest, DeletingWhatIsNotThereIsFine) {
  auto result = bucket_->Delete({"nothing", {}, {}, {}, {}});
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->existed);
  EXPECT_EQ(Get("nothing"), "<NoSuchKey>");
}

TEST_F(BucketTest, DeletingAFolderKeyLeavesWhatIsInIt) {
  Put("a/", "");
  Put("a/b", "1");
  Put("A/", "2");
  Delete("a/");
  EXPECT_EQ(List({}), "A/ a/b");
}

TEST_F(BucketTest, ConditionalDeleteComparesEtagSizeAndTime) {
  Put("k", "1");
  DeleteRequest request;
  request.key = "k";
  request.if_match = "bad";
  EXPECT_EQ(ReasonOf(bucket_->Delete(request)), Reason::kPreconditionFailed);
  request.if_match = Md5::Hex(AsBytes("1"));
  request.if_match_size_bytes = 2;
  EXPECT_EQ(ReasonOf(bucket_->Delete(request)), Reason::kPreconditionFailed);
  request.if_match_size_bytes = 1;
  request.if_match_modified_seconds = 5;
  EXPECT_EQ(ReasonOf(bucket_->Delete(request)), Reason::kPreconditionFailed);
  request.if_match_modified_seconds = clock_.WallMicros() / 1'000'000;
  EXPECT_TRUE(bucket_->Delete(request).ok());
  EXPECT_EQ(Get("k"), "<NoSuchKey>");
}

TEST_F(BucketTest, BatchDeleteAnswersEachKeyOnItsOwn) {
  Put("a", "1");
  Put("b", "2");
  auto results = bucket_->DeleteMany({{"a", {}, {}, {}, {}},
                                      {"b", {}, "wrong", {}, {}},
                                      {"missing", {}, {}, {}, {}},
                                      {"", {}, {}, {}, {}}});
  ASSERT_EQ(results.size(), 4U);
  EXPECT_TRUE(results[0].ok() && results[0]->existed);
  EXPECT_EQ(results[1].reason(), Reason::kPreconditionFailed);
  EXPECT_TRUE(results[2].ok() && !results[2]->existed);
  EXPECT_EQ(results[3].reason(), Reason::kInvalidArgument);
  EXPECT_EQ(List({}), "b");
}

TEST_F(BucketTest, CopySharesTheBytesAndOutlivesItsSource) {
  for (size_t size : {size_t{5}, 2 * kChunkBytes}) {
    std::string body = Pattern(size, 7);
    Put("source", body);
    CopyRequest copy;
    copy.source.key = "source";
    copy.key = "copy";
    ASSERT_TRUE(bucket_->Copy(copy).ok());
    EXPECT_EQ(QueryInt("SELECT count(*) FROM content"), 1);
    Delete("source");
    ASSERT_TRUE(bucket_->Maintain().ok());
    EXPECT_EQ(Get("copy"), body);
    Delete("copy");
    ASSERT_TRUE(bucket_->Maintain().ok());
    EXPECT_EQ(QueryInt("SELECT (SELECT count(*) FROM content) + (SELECT count(*) FROM chunk) + "
                       "(SELECT count(*) FROM content_share)"),
              0);
  }
}

TEST_F(BucketTest, CopyOntoItselfReplacesAttributesAndKeepsTheBody) {
  Put("k", "body");
  CopyRequest copy;
  copy.source.key = copy.key = "k";
  copy.attributes.emplace();
  copy.attributes->content_type = "text/new";
  ASSERT_TRUE(bucket_->Copy(copy).ok());
  EXPECT_EQ(Get("k"), "body");
  EXPECT_EQ(bucket_->Head("k", {})->attributes.content_type, "text/new");
  EXPECT_EQ(QueryInt("SELECT count(*) FROM content_share"), 0);
}

TEST_F(BucketTest, CopyChecksItsSource) {
  Put("k", "1");
  CopyRequest copy;
  copy.source.key = "k";
  copy.key = "l";
  copy.source.if_match = "other";
  EXPECT_EQ(ReasonOf(bucket_->Copy(copy)), Reason::kPreconditionFailed);
  copy.source.if_match = {};
  copy.source.if_none_match = Md5::Hex(AsBytes("1"));
  EXPECT_EQ(ReasonOf(bucket_->Copy(copy)), Reason::kPreconditionFailed);
  copy.source.if_none_match = {};
  copy.source.if_modified_since_seconds = clock_.WallMicros() / 1'000'000;
  EXPECT_EQ(ReasonOf(bucket_->Copy(copy)), Reason::kPreconditionFailed);
  copy.source.if_modified_since_seconds = {};
  copy.source.key = "missing";
  EXPECT_EQ(ReasonOf(bucket_->Copy(copy)), Reason::kNoSuchKey);
}

// --- readers and the sweep ---

TEST_F(BucketTest, AReaderSeesOneVersionWhateverHappensToTheObject) {
  std::string body = Pattern(4 * kChunkBytes, 3);
  Put("k", body);
  auto opened = bucket_->Open("k", {});
  ASSERT_TRUE(opened.ok());
  auto first = opened->body->Next();
  ASSERT_TRUE(first.ok());
  std::string got(AsText(*first));
  Put("k", "small");
  ASSERT_TRUE(bucket_->Maintain().ok());
  Delete("k");
  ASSERT_TRUE(bucket_->Maintain().ok());
  got += ReadAll(*opened->body);
  EXPECT_EQ(got, body);
  opened->body.reset();
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(QueryInt("SELECT count(*) FROM chunk"), 0);
}

TEST_F(BucketTest, ChunksOfADroppedUploadAreSwept) {
  auto body = bucket_->NewBody();
  ASSERT_TRUE(body->Append(AsBytes(Pattern(2 * kChunkBytes, 1))).ok());
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(QueryInt("SELECT count(*) FROM chunk"), 2) << "a live upload is left alone";
  EXPECT_EQ(List({}), "");
  body.reset();
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(QueryInt("SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM unreferenced)"),
            0);
}

TEST_F(BucketTest, AnUploadThatWaitsForItsClientHoldsNoWriterUp) {
  auto slow = bucket_->NewBody();
  ASSERT_TRUE(slow->Append(AsBytes(Pattern(2 * kChunkBytes + 5, 1))).ok());
  EXPECT_EQ(Put("small", "1"), "null");
  EXPECT_EQ(Put("large", Pattern(2 * kChunkBytes, 2)), "null");
  Delete("small");
  EXPECT_EQ(List({}), "large");
  ASSERT_TRUE(slow->Append(AsBytes(Pattern(kChunkBytes, 3))).ok());
  PutRequest request;
  request.key = "slow";
  ASSERT_TRUE(bucket_->Put(request, slow.get()).ok());
  EXPECT_EQ(Get("slow"), Pattern(2 * kChunkBytes + 5, 1) + Pattern(kChunkBytes, 3));
}

TEST_F(BucketTest, ARefusedBodyMayBeHandedInAgain) {
  Put("k", "1");
  auto body = bucket_->NewBody();
  std::string text = Pattern(kChunkBytes + 5, 2);
  ASSERT_TRUE(body->Append(AsBytes(text)).ok());
  PutRequest request;
  request.key = "k";
  request.conditions.if_none_match = "*";
  EXPECT_EQ(ReasonOf(bucket_->Put(request, body.get())), Reason::kPreconditionFailed);
  request.conditions = {};
  ASSERT_TRUE(bucket_->Put(request, body.get()).ok());
  EXPECT_EQ(ReasonOf(bucket_->Put(request, body.get())), Reason::kInternal);
  body.reset();
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(Get("k"), text);
}

TEST_F(BucketTest, FreedPagesGoBackToTheFilesystem) {
  Put("k", Pattern(40 * kChunkBytes, 1));
  ASSERT_TRUE(bucket_->Maintain().ok());
  Delete("k");
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_LE(QueryInt("PRAGMA page_count"), 4096 + 256);
}

TEST_F(BucketTest, TheWalStaysBounded) {
  options_.checkpoint_pages = 100;
  Reopen();
  for (uint32_t i = 0; i < 200; ++i) {
    Put(Numbered("k", i), Pattern(16 * 1024, i));
    ASSERT_TRUE(bucket_->Maintain().ok());
  }
  EXPECT_LT(bucket_->Stats().wal_bytes, 200 * 4120U);
  EXPECT_GT(bucket_->Stats().checkpoints, 2U);
}

TEST_F(BucketTest, DocumentsAreKeptAsTheyAre) {
  EXPECT_EQ(ReasonOf(bucket_->GetDocument("cors")), Reason::kNoSuchDocument);
  ASSERT_TRUE(bucket_->PutDocument("cors", "<CORS/>").ok());
  EXPECT_EQ(*bucket_->GetDocument("cors"), "<CORS/>");
  ASSERT_TRUE(bucket_->DeleteDocument("cors").ok());
  ASSERT_TRUE(bucket_->DeleteDocument("cors").ok());
  EXPECT_EQ(ReasonOf(bucket_->GetDocument("cors")), Reason::kNoSuchDocument);
}

TEST_F(BucketTest, AFailedWritePublishesNothingAndTheNextPutWorks) {
  Put("k", "1");
  // The WAL may not grow: its writes fail.
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit small = old;
  small.rlim_cur = 256 * 1024;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string large = Put("k", Pattern(3 * kChunkBytes, 1));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(large, "<Internal>") << "a limit on the file size is no full disk to SQLite";
  EXPECT_EQ(Get("k"), "1");
  EXPECT_EQ(Put("k", "2"), "null");
  EXPECT_EQ(Get("k"), "2");
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(QueryInt("SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM unreferenced)"),
            0);
}

TEST_F(BucketTest, ASweepThatFailedIsTriedAgainAfterTheNextWrite) {
  auto body = bucket_->NewBody();
  ASSERT_TRUE(body->Append(AsBytes(Pattern(2 * kChunkBytes, 1))).ok());
  body.reset();
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit small = old;
  small.rlim_cur = 64 * 1024;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const StorageStatus failed = bucket_->Maintain();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_FALSE(failed.ok());
  Put("k", "1");
  ASSERT_TRUE(bucket_->Maintain().ok());
  EXPECT_EQ(QueryInt("SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM unreferenced)"),
            0);
}

}  // namespace
}  // namespace sqlite_s3::server

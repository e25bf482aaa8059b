#include "tests/server/storage/storage_fixture.h"

namespace sqlite_s3::server {
namespace {

class ListingTest : public BucketTest {
 protected:
  void PutAll(std::initializer_list<const char*> keys) {
    for (const char* key : keys) {
      Put(key, "x");
    }
  }
  std::string ListVersions(ListVersionsRequest request) {
    std::string text;
    while (true) {
      auto result = bucket_->ListVersions(request);
      if (!result.ok()) {
        return Error(result.status());
      }
      for (const ObjectInfo& info : result->versions) {
        text += info.key + (info.is_delete_marker ? "-" : "+") + (info.is_latest ? "! " : " ");
      }
      for (const std::string& prefix : result->common_prefixes) {
        text += prefix + " ";
      }
      if (!result->is_truncated) {
        return text;
      }
      text += "| ";
      request.key_marker = result->next_key_marker;
      request.version_id_marker = result->next_version_id_marker;
    }
  }
};

TEST_F(ListingTest, KeysAreInByteOrder) {
  PutAll({"b", "a", "B", "_", "\xf0\x9f\x98\x80", "\xef\xbf\xbd", "é", "a/b"});
  EXPECT_EQ(List({}), "B _ a a/b b é \xef\xbf\xbd \xf0\x9f\x98\x80");
}

TEST_F(ListingTest, APrefixIsTextAndNoPattern) {
  PutAll({"a%b", "aXb", "a_b", "A%b"});
  EXPECT_EQ(List({"a%", "", "", 1000}), "a%b");
  EXPECT_EQ(List({"a_", "", "", 1000}), "a_b");
}

TEST_F(ListingTest, DelimiterRollsUp) {
  PutAll({"a", "b/1", "b/2", "b/c/3", "c", "d/"});
  EXPECT_EQ(List({"", "/", "", 1000}), "a b/ c d/");
  EXPECT_EQ(List({"b/", "/", "", 1000}), "b/1 b/2 b/c/");
  EXPECT_EQ(List({"", "/", "", 1}), "a|b/|c|d/");
  EXPECT_EQ(List({"", "2", "", 1000}), "a b/1 b/2 b/c/3 c d/");
}

TEST_F(ListingTest, ALongDelimiterIsOneDelimiter) {
  PutAll({"a--b", "a-b", "a--c"});
  EXPECT_EQ(List({"", "--", "", 1000}), "a-- a-b");
}

TEST_F(ListingTest, StartsAfterTheMarker) {
  PutAll({"a", "b/1", "b/2", "c"});
  EXPECT_EQ(List({"", "", "b/1", 1000}), "b/2 c");
  EXPECT_EQ(List({"", "", "b", 1000}), "b/1 b/2 c");
  EXPECT_EQ(List({"", "/", "b/1", 1000}), "c") << "b/ is not after b/1";
  EXPECT_EQ(List({"b/", "", "a", 1000}), "b/1 b/2");
  EXPECT_EQ(List({"b/", "", "z", 1000}), "");
}

TEST_F(ListingTest, MaxKeysZeroIsEmptyAndWhole) {
  PutAll({"a"});
  auto result = bucket_->List({"", "", "", 0});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->objects.empty());
  EXPECT_FALSE(result->is_truncated);
}

TEST_F(ListingTest, APageThatEndsWithTheLastKeyIsNotTruncated) {
  PutAll({"a", "b"});
  EXPECT_EQ(List({"", "", "", 2}), "a b");
  EXPECT_EQ(List({"", "", "", 1}), "a|b");
}

TEST_F(ListingTest, ACommonPrefixCostsOneSeek) {
  auto connection = Connection::Open(dir_.File("bucket.sqlite3"), SQLITE_OPEN_READWRITE, "", 5000);
  ASSERT_TRUE(connection.ok());
  ASSERT_OK(connection->Exec(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
      "INSERT INTO object (key, seq, version_id, modified_us, delete_marker, size, parts) "
      "SELECT printf('many/%06d', i), i, 'null', 0, 0, 0, 0 FROM n"));
  PutAll({"a", "z"});
  auto result = bucket_->List({"", "/", "", 1000});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->common_prefixes, std::vector<std::string>{"many/"});
  EXPECT_EQ(result->objects.size(), 2U);
  // And all of them in pages.
  ListRequest request;
  size_t count = 0;
  while (true) {
    result = bucket_->List(request);
    ASSERT_TRUE(result.ok());
    count += result->objects.size();
    if (!result->is_truncated) {
      break;
    }
    request.start_after = result->next_marker;
  }
  EXPECT_EQ(count, 100002U);
}

// --- versions ---

TEST_F(ListingTest, WithoutVersioningThereIsOneNullVersion) {
  EXPECT_EQ(Put("k", "1"), "null");
  EXPECT_EQ(Put("k", "2"), "null");
  EXPECT_EQ(ListVersions({}), "k+! ");
}

TEST_F(ListingTest, VersionsAreKeptAndFoundById) {
  Put("k", "null one");
  ASSERT_TRUE(bucket_->SetVersioning(Versioning::kEnabled).ok());
  std::string second = Put("k", "2");
  std::string third = Put("k", Pattern(2 * kChunkBytes, 3));
  EXPECT_EQ(Get("k", "null"), "null one");
  EXPECT_EQ(Get("k", second), "2");
  EXPECT_EQ(Get("k", third), Pattern(2 * kChunkBytes, 3));
  EXPECT_EQ(Get("k", "feedfeedfeedfeedfeedfeedfeedfeed"), "<NoSuchVersion>");
  EXPECT_EQ(ListVersions({}), "k+! k+ k+ ");
}

TEST_F(ListingTest, ADeleteMarkerHidesAndItsRemovalShowsAgain) {
  ASSERT_TRUE(bucket_->SetVersioning(Versioning::kEnabled).ok());
  std::string first = Put("k", "1");
  std::string marker = Delete("k");
  auto head = bucket_->Head("k", {});
  EXPECT_EQ(head.reason(), Reason::kDeleteMarker);
  EXPECT_EQ(head.status().version_id(), marker);
  EXPECT_EQ(Get("k", marker), "<IsDeleteMarker>");
  EXPECT_EQ(Get("k", first), "1");
  EXPECT_EQ(List({}), "");
  EXPECT_EQ(ListVersions({}), "k-! k+ ");
  Delete("k", marker);
  EXPECT_EQ(Get("k"), "1");
  EXPECT_EQ(ListVersions({}), "k+! ");
}

TEST_F(ListingTest, RemovingTheCurrentVersionPromotesTheNextOlder) {
  ASSERT_TRUE(bucket_->SetVersioning(Versioning::kEnabled).ok());
  std::string first = Put("k", "1");
  std::string second = Put("k", "2");
  std::string third = Put("k", "3");
  Delete("k", second);
  Delete("k", third);
  EXPECT_EQ(Get("k"), "1");
  Delete("k", first);
  EXPECT_EQ(Get("k"), "<NoSuchKey>");
  EXPECT_EQ(QueryInt("SELECT count(*) FROM content"), 0);
}

TEST_F(ListingTest, SuspendedWritesReplaceTheNullVersionWhereverItIs) {
  Put("k", "null one");
  ASSERT_TRUE(bucket_->SetVersioning(Versioning::kEnabled).ok());
  std::string second = Put("k", "2");
  ASSERT_TRUE(bucket_->SetVersioning(Versioning::kSuspended).ok());
  EXPECT_EQ(Put("k", "null two"), "null");
  EXPECT_EQ(ListVersions({}), "k+! k+ ");
  EXPECT_EQ(Get("k", "null"), "null two");
  EXPECT_EQ(Get("k", second), "2");
  EXPECT_EQ(Delete("k"), "null");
  EXPECT_EQ(ListVersions({}), "k-! k+ ");
  EXPECT_EQ(QueryInt("SELECT count(*) FROM content"), 1);
  EXPECT_EQ(ReasonOf(bucket_->SetVersioning(Versioning::kOff)), Reason::kInvalidBucketState);
}

TEST_F(ListingTest, NewVersionsAreNewerAlsoWhenTheClockGoesBack) {
  ASSERT_TRUE(bucket_->SetVersioning(Versioning::kEnabled).ok());
  Put("k", "1");
  Reopen();
  clock_.SetWall(1'000'000);
  Put("k", "2");
  Delete("k", Put("k", "3"));
  EXPECT_EQ(Get("k"), "2");
}

TEST_F(ListingTest, VersionPagesContinueWithinAKey) {
  ASSERT_TRUE(bucket_->SetVersioning(Versioning::kEnabled).ok());
  Put("a", "1");
  Put("b", "1");
  Put("b", "2");
  Delete("b");
  Put("c/1", "1");
  Put("c/2", "1");
  EXPECT_EQ(ListVersions({"", "", "", "", 1}), "a+! | b-! | b+ | b+ | c/1+! | c/2+! ");
  EXPECT_EQ(ListVersions({"", "/", "", "", 2}), "a+! b-! | b+ b+ | c/ ");
  EXPECT_EQ(ListVersions({"b", "", "", "", 1}), "b-! | b+ | b+ ");
}

TEST_F(ListingTest, TagsAndAclsAreSetOnTheNamedVersion) {
  ASSERT_TRUE(bucket_->SetVersioning(Versioning::kEnabled).ok());
  std::string first = Put("k", "1");
  Put("k", "2");
  ASSERT_TRUE(bucket_->SetTags("k", first, {{"a", "b"}}).ok());
  ASSERT_TRUE(bucket_->SetAcl("k", {}, "public-read").ok());
  EXPECT_EQ(bucket_->Head("k", {first, false})->attributes.tags, (NameValues{{"a", "b"}}));
  EXPECT_TRUE(bucket_->Head("k", {})->attributes.tags.empty());
  EXPECT_EQ(bucket_->Head("k", {})->attributes.acl, "public-read");
  EXPECT_EQ(ReasonOf(bucket_->SetTags("no", {}, {})), Reason::kNoSuchKey);
}

}  // namespace
}  // namespace sqlite_s3::server

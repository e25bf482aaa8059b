#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "common/os/file.h"
#include "tests/server/storage/s3ite_files.h"
#include "tests/server/storage/storage_fixture.h"

namespace sqlite_s3::server {
namespace {

class BucketSetTest : public BucketTest {
 protected:
  void Sql(const std::string& file, const std::string& sql) {
    auto connection =
        Connection::Open(dir_.File(file), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000);
    ASSERT_TRUE(connection.ok());
    ASSERT_OK(connection->Exec(sql.c_str()));
  }
  void MakeS3iteBucket(bool two_tables) {
    Sql("old.sqlite3", two_tables ? kS3iteTwoTablesSql : kS3iteOneTableSql);
  }
  void ExpectS3iteValues() {
    auto bucket = set_->Get("old");
    ASSERT_TRUE(bucket.ok()) << bucket.status().ToString();
    bucket_ = *bucket;
    EXPECT_EQ(Get("a"), "hello");
    EXPECT_EQ(Get("big"), std::string(3000000, '\0'));
    auto info = bucket_->Head("a", {});
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->etag, "5d41402abc4b2a76b9719d911017c592");
    EXPECT_EQ(info->modified_us, 1706933106789000);
    EXPECT_EQ(info->attributes.metadata, (NameValues{{"n", "v"}}));
    EXPECT_EQ(bucket_->Head("big", {})->modified_us, 1706933106500000);
    EXPECT_EQ(List({}), "a big");
  }
};

TEST(BucketNameTest, FollowsS3sRules) {
  for (const char* name :
       {"abc", "a-b.c", "0ab", "a23456789012345678901234567890123456789012345678901234567890123"}) {
    EXPECT_TRUE(IsValidBucketName(name)) << name;
  }
  for (const char* name : {"", "ab", "Abc", "a_b", "-abc", "abc-", ".abc", "abc.", "a..b", "a.-b",
                           "a-.b", "192.168.5.4", "xn--abc", "abc-s3alias", "../etc", "a/b", "a%b",
                           "a234567890123456789012345678901234567890123456789012345678901234"}) {
    EXPECT_FALSE(IsValidBucketName(name)) << name;
  }
}

TEST_F(BucketSetTest, CreatesListsAndDeletes) {
  EXPECT_EQ(ReasonOf(set_->Create("bucket", "x")), Reason::kBucketAlreadyExists);
  EXPECT_EQ(ReasonOf(set_->Create("../x", "x")), Reason::kInvalidBucketName);
  EXPECT_EQ(ReasonOf(set_->Get("../bucket")), Reason::kNoSuchBucket);
  ASSERT_TRUE(set_->Create("another", "somebody").ok());
  auto list = set_->List();
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ(list->at(0).name, "another");
  EXPECT_EQ(list->at(0).owner, "somebody");
  EXPECT_EQ(list->at(0).created_us, clock_.WallMicros());
  Put("k", "x");
  EXPECT_EQ(ReasonOf(set_->Delete("bucket")), Reason::kBucketNotEmpty);
  Delete("k");
  EXPECT_EQ(ReasonOf(set_->Delete("bucket")), Reason::kOk);
  EXPECT_EQ(ReasonOf(set_->Delete("bucket")), Reason::kNoSuchBucket);
  EXPECT_EQ(ReasonOf(set_->Get("bucket")), Reason::kNoSuchBucket);
}

TEST_F(BucketSetTest, ADeletedBucketStaysReadableAndIsNotItsSuccessor) {
  auto old = bucket_;
  ASSERT_EQ(ReasonOf(set_->Delete("bucket")), Reason::kOk);
  auto again = set_->Create("bucket", "x");
  ASSERT_TRUE(again.ok());
  bucket_ = *again;
  Put("new", "1");
  EXPECT_TRUE(old->List({})->objects.empty());
  PutRequest request;
  request.key = "k";
  EXPECT_EQ(ReasonOf(old->PutBytes(request, {})), Reason::kNoSuchBucket);
  old.reset();
  EXPECT_EQ(Get("new"), "1") << "closing the old one leaves the new one's WAL alone";
  Reopen();
  EXPECT_EQ(Get("new"), "1");
}

// SQLite would read the old bucket's WAL into the new one.
TEST_F(BucketSetTest, ABucketIsNotMadeOverTheWalOfAnother) {
  ASSERT_OK(WriteFileAtomically(dir_.File("other.sqlite3-wal"), AsBytes("somebody's"), 0600,
                                Durability::kVisible));
  EXPECT_EQ(ReasonOf(set_->Create("other", "o")), Reason::kInvalidBucketState);
  EXPECT_EQ(ReasonOf(set_->Get("other")), Reason::kNoSuchBucket);
  ASSERT_OK(RemoveFile(dir_.File("other.sqlite3-wal")));
  EXPECT_TRUE(set_->Create("other", "o").ok());
}

TEST_F(BucketSetTest, ADeletionThatACrashInterruptedIsFinishedBeforeTheNameIsUsedAgain) {
  for (const bool restart : {false, true}) {
    ASSERT_OK(WriteFileAtomically(dir_.File(".other.deleting"), AsBytes("the old database"), 0600,
                                  Durability::kVisible));
    ASSERT_OK(WriteFileAtomically(dir_.File("other.sqlite3-wal"), AsBytes("its WAL"), 0600,
                                  Durability::kVisible));
    if (restart) {
      Reopen();
      EXPECT_EQ(*FileExists(dir_.File("other.sqlite3-wal")), false);
    }
    ASSERT_TRUE(set_->Create("other", "o").ok());
    EXPECT_EQ(*FileExists(dir_.File(".other.deleting")), false);
    EXPECT_TRUE(set_->Delete("other").ok());
  }
}

TEST_F(BucketSetTest, OneServerPerDirectory) {
  EXPECT_STATUS(BucketSet::Open(dir_.path(), options_).status(), StatusCode::kFailedPrecondition);
  StorageOptions read_only = options_;
  read_only.read_only = true;
  EXPECT_TRUE(BucketSet::Open(dir_.path(), read_only).ok());
}

TEST_F(BucketSetTest, ReadOnlyRefusesEveryWrite) {
  Put("k", "1");
  options_.read_only = true;
  Reopen();
  EXPECT_EQ(Get("k"), "1");
  EXPECT_EQ(Put("k", "2"), "<ReadOnly>");
  EXPECT_EQ(Delete("k"), "<ReadOnly>");
  EXPECT_EQ(CreateUpload("k"), "<ReadOnly>");
  EXPECT_EQ(PutPart("k", "u", 1, "x"), "<ReadOnly>");
  EXPECT_EQ(ReasonOf(bucket_->SetVersioning(Versioning::kEnabled)), Reason::kReadOnly);
  EXPECT_EQ(ReasonOf(set_->Create("more", "x")), Reason::kReadOnly);
  EXPECT_EQ(ReasonOf(set_->Delete("bucket")), Reason::kReadOnly);
}

TEST_F(BucketSetTest, FilesThatAppearLaterAreFound) {
  MakeS3iteBucket(true);
  ExpectS3iteValues();
  EXPECT_EQ(set_->List()->size(), 2U);
}

TEST_F(BucketSetTest, S3iteWithOneTableIsMigrated) {
  MakeS3iteBucket(false);
  ExpectS3iteValues();
  Put("a", "new");
  EXPECT_EQ(Get("a"), "new");
  bucket_.reset();
  set_.reset();
  OpenSet();
  bucket_ = *set_->Get("old");
  EXPECT_EQ(Get("a"), "new");
}

TEST_F(BucketSetTest, S3iteUploadsCanBeCompleted) {
  MakeS3iteBucket(true);
  ExpectS3iteValues();
  CompleteRequest request;
  request.key = "u";
  request.upload_id = "00112233-4455-6677-8899-aabbccddeeff";
  request.parts = {{1, "pe", {}}};
  ASSERT_TRUE(bucket_->CompleteUpload(request).ok());
  EXPECT_EQ(Get("u"), "part");
}

TEST_F(BucketSetTest, S3iteBucketsAreReadAsTheyAreInReadOnlyMode) {
  for (bool two_tables : {false, true}) {
    ASSERT_OK(RemoveFile(dir_.File("old.sqlite3")));
    MakeS3iteBucket(two_tables);
    options_.read_only = true;
    bucket_.reset();
    set_.reset();
    OpenSet();
    ExpectS3iteValues();
    EXPECT_EQ(Get("none"), "<NoSuchKey>");
    EXPECT_TRUE(bucket_->ListUploads({})->uploads.empty());
    EXPECT_EQ(bucket_->ListVersions({})->versions.size(), 2U);
    EXPECT_EQ(*bucket_->GetVersioning(), Versioning::kOff);
    bucket_.reset();
    set_.reset();
  }
}

TEST_F(BucketSetTest, ADamagedFileFailsItsOwnBucketOnly) {
  std::string noise = Pattern(8192, 9);
  ASSERT_OK(
      WriteFileAtomically(dir_.File("bad.sqlite3"), AsBytes(noise), 0600, Durability::kVisible));
  Sql("foreign.sqlite3", "CREATE TABLE t(a)");
  EXPECT_EQ(ReasonOf(set_->Get("bad")), Reason::kCorrupt);
  EXPECT_EQ(ReasonOf(set_->Get("foreign")), Reason::kInternal);
  EXPECT_EQ(set_->List()->size(), 3U);
  EXPECT_EQ(Put("k", "1"), "null");
}

TEST_F(BucketSetTest, ADamagedPageIsAnErrorAndNoCrash) {
  for (int i = 0; i < 200; ++i) {
    Put(Numbered("k", i), Pattern(3000, static_cast<uint32_t>(i)));
  }
  bucket_.reset();
  set_.reset();
  auto fd = OpenFile(dir_.File("bucket.sqlite3"), O_RDWR);
  ASSERT_TRUE(fd.ok());
  auto size = FileSize(*fd, "bucket");
  ASSERT_TRUE(size.ok());
  for (uint64_t page = 40; (page + 60) * 4096 < *size; ++page) {
    ASSERT_OK(WriteAt(*fd, page * 4096, AsBytes(Pattern(4096, 5)), "bucket"));
  }
  OpenSet();
  auto bucket = set_->Get("bucket");
  ASSERT_TRUE(bucket.ok()) << bucket.status().ToString();
  bucket_ = *bucket;
  int corrupt = 0;
  for (int i = 0; i < 200; ++i) {
    corrupt += Get(Numbered("k", i)) == "<Corrupt>";
  }
  EXPECT_GT(corrupt, 20);
}

TEST_F(BucketSetTest, ConcurrentWritersAndReadersAllSucceed) {
  options_.background_maintenance = true;
  options_.checkpoint_pages = 200;
  options_.clock = &Clock::Real();
  Reopen();
  constexpr int kWriters = 8;
  constexpr int kPuts = 60;
  std::atomic<int> wrong{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  std::vector<std::thread> readers;
  auto body = [](int writer, int i) {
    size_t size = i % 20 == 0 ? 2 * kChunkBytes : 4096;
    return Pattern(size, static_cast<uint32_t>(writer * 1000 + i));
  };
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kPuts; ++i) {
        std::string text = body(w, i);
        PutRequest request;
        request.key = Numbered("w", w);
        request.etag = Md5::Hex(AsBytes(text));
        wrong += !bucket_->PutBytes(request, AsBytes(text)).ok();
      }
    });
  }
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] {
      for (int i = 0; !stop; ++i) {
        auto opened = bucket_->Open(Numbered("w", (r + i) % kWriters), {});
        if (opened.ok()) {
          wrong += Md5::Hex(AsBytes(ReadAll(*opened->body))) != opened->info.etag;
        } else {
          wrong += opened.reason() != Reason::kNoSuchKey;
        }
        wrong += !bucket_->List({}).ok();
      }
    });
  }
  for (auto& thread : writers) {
    thread.join();
  }
  stop = true;
  for (auto& thread : readers) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  for (int w = 0; w < kWriters; ++w) {
    EXPECT_EQ(Get(Numbered("w", w)), body(w, kPuts - 1));
  }
  BucketStats stats = bucket_->Stats();
  EXPECT_GE(stats.operations, static_cast<uint64_t>(kWriters * kPuts));
  ASSERT_TRUE(bucket_->Maintain().ok());
}

TEST_F(BucketSetTest, OfCompletingAndAbortingAnUploadExactlyOneHappens) {
  for (int round = 0; round < 20; ++round) {
    const std::string upload = CreateUpload("k");
    const std::string etag = PutPart("k", upload, 1, Pattern(1000, 1));
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        CompleteRequest request;
        request.key = "k";
        request.upload_id = upload;
        request.parts = {{1, etag, {}}};
        const Reason reason = i % 2 == 0 ? ReasonOf(bucket_->CompleteUpload(request))
                                         : ReasonOf(bucket_->AbortUpload("k", upload));
        winners += reason == Reason::kOk;
        EXPECT_TRUE(reason == Reason::kOk || reason == Reason::kNoSuchUpload);
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    EXPECT_EQ(winners, 1);
  }
}

TEST_F(BucketSetTest, AnAcknowledgedPutKeepsItsBucketFromBeingDeleted) {
  for (int round = 0; round < 10; ++round) {
    auto bucket = set_->Create("racing", "o");
    ASSERT_TRUE(bucket.ok());
    Reason put = Reason::kOk;
    Reason deleted = Reason::kOk;
    std::thread putter([&] {
      PutRequest request;
      request.key = "k";
      put = ReasonOf((*bucket)->PutBytes(request, AsBytes("x")));
    });
    std::thread deleter([&] { deleted = ReasonOf(set_->Delete("racing")); });
    putter.join();
    deleter.join();
    if (put == Reason::kOk) {
      EXPECT_EQ(deleted, Reason::kBucketNotEmpty);
      ASSERT_TRUE((*bucket)->Delete({"k", {}, {}, {}, {}}).ok());
      ASSERT_TRUE(set_->Delete("racing").ok());
    } else {
      EXPECT_EQ(put, Reason::kNoSuchBucket);
      EXPECT_EQ(deleted, Reason::kOk);
    }
  }
}

TEST_F(BucketSetTest, OnlyOneOfManyConditionalPutsWins) {
  std::atomic<int> won{0};
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      PutRequest request;
      request.key = "lock";
      request.conditions.if_none_match = "*";
      auto result = bucket_->PutBytes(request, AsBytes("x"));
      won += result.ok();
      refused += result.reason() == Reason::kPreconditionFailed;
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(won, 1);
  EXPECT_EQ(refused, 7);
}

}  // namespace
}  // namespace sqlite_s3::server

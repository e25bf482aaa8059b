// Pages and checkpoint give the same bytes, those of the database as it was, at every commit.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/restore/restore_fixture.h"
#include "tests/restore/sqlite_history.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;

struct Shape {
  uint32_t page_size;
  int auto_vacuum;
  int commits;
};

class BothWaysTest : public RestoreFixture, public ::testing::WithParamInterface<Shape> {
 protected:
  // Every commit, both ways.
  void ExpectEveryCommit(SqliteHistory& source, uint64_t cache_bytes, uint64_t wal_bytes) {
    source.history().Cut();
    for (Txid txid{1}; txid <= source.history().txid(); txid = txid.Next()) {
      for (const RestoreVia via : {RestoreVia::kPages, RestoreVia::kCheckpoint}) {
        RestoreOptions options;
        options.target = txid;
        options.via = via;
        options.cache_bytes = cache_bytes;
        options.wal_bytes = wal_bytes;
        ASSERT_OK(Restore(options)) << FormatTxid(txid);
        ASSERT_EQ(Output(), source.Reference(txid))
            << FormatTxid(txid) << (via == RestoreVia::kPages ? " pages" : " checkpoint");
        EXPECT_THAT(Files(), ElementsAre("app.db"));
        RemoveOutput();
      }
    }
  }
};

TEST_P(BothWaysTest, GiveTheSameBytesAtEveryCommit) {
  SqliteHistory source(*store_, GetParam().page_size, GetParam().page_size + 1,
                       GetParam().auto_vacuum);
  for (int i = 0; i < GetParam().commits; ++i) {
    History::Commit how;
    how.in_parts = i % 7 == 3;
    how.flags = i % 5 == 2 ? kCommitWholePages : 0;
    source.Step(how);
  }
  // The smallest cache and a checkpoint after every few commits: everything is evicted and read
  // again.
  ExpectEveryCommit(source, 0, 20 * GetParam().page_size);
}

INSTANTIATE_TEST_SUITE_P(PageSizes, BothWaysTest,
                         ::testing::Values(Shape{512, 0, 40}, Shape{512, 1, 30}, Shape{1024, 2, 30},
                                           Shape{4096, 0, 40}, Shape{4096, 1, 30},
                                           Shape{65536, 0, 12}, Shape{65536, 2, 12}),
                         [](const auto& shape) {
                           return "Size" + std::to_string(shape.param.page_size) + "AutoVacuum" +
                                  std::to_string(shape.param.auto_vacuum);
                         });

class OneWayTest : public RestoreFixture {};

TEST_F(OneWayTest, ACommitLargerThanTheCacheAndTheWalBound) {
  SqliteHistory source(*store_, 4096, 1);
  source.Run(
      "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < 3000) "
      "INSERT INTO t(a, b) SELECT hex(randomblob(8)), zeroblob(2000) FROM c");
  source.Run("UPDATE t SET b = randomblob(1900)");
  source.Run("DELETE FROM t WHERE id % 2 = 0");
  source.Run("VACUUM");
  source.history().Cut();
  for (const RestoreVia via : {RestoreVia::kPages, RestoreVia::kCheckpoint}) {
    RestoreOptions options;
    options.via = via;
    options.cache_bytes = 0;
    options.wal_bytes = 1;
    options.verify = VerifyLevel::kFull;
    ASSERT_OK(Restore(options));
    EXPECT_EQ(Output(), source.Reference(source.history().txid()));
    RemoveOutput();
  }
}

TEST_F(OneWayTest, CheckpointWorksWhateverJournalModeThePagesSay) {
  SqliteHistory source(*store_, 4096, 1);
  Bytes first = source.history().PageAt(Txid{1}, 1);
  first[18] = first[19] = 1;  // fileformat2, 1.3: read and write version of the rollback journal
  source.history().AddCommit({{1, first}}, source.history().PageCountAt(Txid{1}));
  first[27] ^= 1;
  const Txid last = source.history().AddCommit({{1, first}}, source.history().PageCountAt(Txid{1}));
  source.history().Cut();
  RestoreOptions options;
  options.via = RestoreVia::kCheckpoint;
  options.wal_bytes = 1;  // the second WAL finds the first commit in the file
  ASSERT_OK(Restore(options));
  EXPECT_EQ(Output(), source.history().ImageAt(last));
}

TEST_F(OneWayTest, CheckpointOfWhatIsNoDatabaseFailsAndLeavesNothing) {
  History history(*store_);
  history.Origin(5);
  history.Grow(3);
  EXPECT_STATUS(Restore(TargetLatest{}, RestoreVia::kCheckpoint), StatusCode::kCorruption);
  EXPECT_TRUE(Files().empty());
}

TEST_F(OneWayTest, TheLockBytePageIsZeroAndNoCommits) {
  // 1 GiB of 64 KiB pages: all zero but a few around the one that holds byte 2^30.
  SqliteHistory source(*store_, 65536, 1);
  const Bytes first = source.history().PageAt(Txid{1}, 1);
  const PageNumber lock_page = LockBytePage(65536);
  ASSERT_EQ(lock_page, 16385u);
  auto other = std::make_shared<MemoryStore>("large");
  History::Options options;
  options.page_size = 65536;
  options.image_part_pages = 4096;
  History large(*other, options);
  large.OriginOfZeros(lock_page - 2, {{1, first}});
  const auto page = [](uint8_t fill) { return Bytes(65536, fill); };
  large.AddCommit({{lock_page - 1, page(1)}}, lock_page - 1);
  large.AddCommit({{lock_page - 1, page(2)}, {lock_page + 1, page(3)}}, lock_page + 1);
  large.AddCommit({{lock_page + 1, page(4)}, {lock_page + 2, page(5)}}, lock_page + 2);
  large.AddCommit({{2, page(6)}}, lock_page - 1);
  large.AddCommit({{lock_page + 1, page(7)}}, lock_page + 1);
  large.Cut();
  store_ = other;
  for (const RestoreVia via : {RestoreVia::kPages, RestoreVia::kCheckpoint}) {
    ASSERT_OK(Restore(TargetLatest{}, via));
    ASSERT_OK_AND_ASSIGN(Fd file, OpenFile(output_, O_RDONLY));
    EXPECT_EQ(*FileSize(file, output_), uint64_t{lock_page + 1} * 65536);
    const auto read = [&](PageNumber n) {
      Bytes bytes(65536);
      EXPECT_OK(ReadExactlyAt(file, uint64_t{n - 1} * 65536, bytes, output_));
      return bytes;
    };
    EXPECT_EQ(read(2), page(6));
    EXPECT_EQ(read(lock_page - 1), page(2));
    EXPECT_EQ(read(lock_page), page(0));
    EXPECT_EQ(read(lock_page + 1), page(7));
    RemoveOutput();
  }
}

}  // namespace
}  // namespace sqlite_s3

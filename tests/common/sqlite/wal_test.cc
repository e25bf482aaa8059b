// SQLite's WAL and wal-index, read from files that SQLite itself wrote.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <vector>

#include "common/os/file.h"
#include "common/sqlite/connection.h"
#include "common/sqlite/wal_file.h"
#include "common/sqlite/wal_format.h"
#include "common/sqlite/wal_index.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

class WalTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    path_ = dir_.File("a.db");
    auto opened = Connection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000);
    ASSERT_OK(opened.status());
    db_ = std::move(opened).value();
    Exec("PRAGMA page_size=" + std::to_string(GetParam()));
    Exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a, b)");
  }
  void Exec(const std::string& sql) { ASSERT_OK(db_.Exec(sql.c_str())); }
  uint32_t page_size() const { return static_cast<uint32_t>(GetParam()); }

  TempDir dir_;
  std::string path_;
  Connection db_;
};

TEST_P(WalTest, EveryFrameUpToMxFrameHasTheRunningChecksum) {
  for (int i = 0; i < 50; ++i) {
    Exec("INSERT INTO t VALUES(" + std::to_string(i) + ", randomblob(700))");
  }
  ASSERT_OK_AND_ASSIGN(WalIndexView index, WalIndexView::Attach(db_.get()));
  auto header = index.ReadHeader();
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->page_size, page_size());
  EXPECT_GT(header->max_frame, 50u);
  EXPECT_EQ(index.PeekMaxFrame(), header->max_frame);
  EXPECT_EQ(index.PeekSalt1(), header->salt1);

  ASSERT_OK_AND_ASSIGN(WalFile wal, WalFile::Open(path_ + "-wal"));
  ASSERT_OK_AND_ASSIGN(WalHeader file, wal.ReadHeader());
  EXPECT_EQ(file.salt1, header->salt1);
  EXPECT_EQ(file.salt2, header->salt2);
  WalChecksum running = file.checksum;
  Bytes frame(page_size() + kWalFrameHeaderBytes);
  for (uint32_t i = 1; i <= header->max_frame; ++i) {
    ASSERT_OK(wal.ReadFrames(i, page_size(), frame));
    WalFrameHeader h = ParseWalFrameHeader(frame.data());
    running = ExtendWalChecksum(running, ByteSpan(frame).first(8), file.big_endian_words);
    running = ExtendWalChecksum(running, ByteSpan(frame).subspan(kWalFrameHeaderBytes),
                                file.big_endian_words);
    ASSERT_EQ(h.checksum, running) << "frame " << i;
    EXPECT_EQ(h.salt1, file.salt1);
    EXPECT_EQ(index.PageOfFrame(i), h.page) << "frame " << i;
  }
  EXPECT_EQ(running, header->frame_checksum);
}

TEST_P(WalTest, FramesOfAnOpenTransactionAreBeyondMxFrame) {
  Exec("INSERT INTO t VALUES(1, 'committed')");
  ASSERT_OK_AND_ASSIGN(WalIndexView index, WalIndexView::Attach(db_.get()));
  uint32_t committed = index.PeekMaxFrame();
  Exec("PRAGMA cache_size=2; BEGIN");
  for (int i = 0; i < 50; ++i) {
    Exec("INSERT INTO t VALUES(2, randomblob(70000))");  // spills
  }
  ASSERT_OK_AND_ASSIGN(Bytes wal, ReadFile(path_ + "-wal", 1 << 30));
  EXPECT_GT(wal.size(), WalFrameOffset(committed + 2, page_size()));
  EXPECT_EQ(index.PeekMaxFrame(), committed);
  Exec("ROLLBACK");
  EXPECT_EQ(index.PeekMaxFrame(), committed);
}

TEST_P(WalTest, EncodedHeaderIsWhatSqliteWrote) {
  Exec("INSERT INTO t VALUES(1, 1)");
  ASSERT_OK_AND_ASSIGN(Bytes wal, ReadFile(path_ + "-wal", 1 << 30));
  ASSERT_OK_AND_ASSIGN(WalHeader header, ParseWalHeader(wal));
  std::array<uint8_t, kWalHeaderBytes> encoded{};
  EncodeWalHeader(header, encoded);
  EXPECT_TRUE(std::equal(encoded.begin(), encoded.end(), wal.begin()));
}

TEST_P(WalTest, DamagedHeadersAreRefused) {
  Exec("INSERT INTO t VALUES(1, 1)");
  ASSERT_OK_AND_ASSIGN(Bytes wal, ReadFile(path_ + "-wal", 1 << 30));
  for (size_t bit = 0; bit < 32 * 8; ++bit) {
    Bytes damaged(wal.begin(), wal.begin() + 32);
    damaged[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    EXPECT_FALSE(ParseWalHeader(damaged).ok()) << "bit " << bit;
  }
  EXPECT_STATUS(ParseWalHeader(ByteSpan(wal).first(31)), StatusCode::kCorruption);
}

TEST_P(WalTest, AnUnlinkedWalIsNoticed) {
  Exec("INSERT INTO t VALUES(1, 1)");
  ASSERT_OK_AND_ASSIGN(WalFile wal, WalFile::Open(path_ + "-wal"));
  EXPECT_TRUE(wal.StillLinked());
  ASSERT_OK(RemoveFile(path_ + "-wal"));
  EXPECT_FALSE(wal.StillLinked());
}

INSTANTIATE_TEST_SUITE_P(PageSizes, WalTest, testing::Values(512, 1024, 4096, 65536));

TEST(WalIndexTest, IndexBlocksBeyondTheFirstAreRead) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(
      Connection db,
      Connection::Open(dir.File("a.db"), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000));
  ASSERT_OK(
      db.Exec("PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
              "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"
              " WHERE i<9000) INSERT INTO t SELECT randomblob(400) FROM n"));
  ASSERT_OK_AND_ASSIGN(WalIndexView index, WalIndexView::Attach(db.get()));
  ASSERT_OK_AND_ASSIGN(WalFile wal, WalFile::Open(dir.File("a.db-wal")));
  Bytes frame(512 + kWalFrameHeaderBytes);
  ASSERT_GT(index.PeekMaxFrame(), 4062u + 4096u);  // block 0 holds 4062, the others 4096
  for (uint32_t i : {1u, 4061u, 4062u, 4063u, 4062u + 4096u, 4062u + 4097u}) {
    ASSERT_OK(wal.ReadFrames(i, 512, frame));
    EXPECT_EQ(index.PageOfFrame(i), ParseWalFrameHeader(frame.data()).page) << "frame " << i;
  }
}

TEST(WalIndexTest, AnUnmarkedSlotThatIsHeldKeepsTheWalAndIsInNoFullCheckpointsWay) {
  TempDir dir;
  const auto open = [&dir] {
    auto db = Connection::Open(dir.path() + "/a.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "",
                               /*busy_timeout_ms=*/0);
    EXPECT_OK(db);
    return std::move(db).value();
  };
  Connection writer = open();
  ASSERT_OK(writer.Exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)"));
  Connection idle = open();
  ASSERT_OK(idle.Exec("SELECT * FROM t"));
  ASSERT_OK_AND_ASSIGN(WalIndexView index, WalIndexView::Attach(idle.get()));
  const uint32_t salt = index.PeekSalt1();
  const std::optional<int> slot = index.HoldUnmarkedSlot();
  ASSERT_TRUE(slot);
  ASSERT_OK(writer.Exec("INSERT INTO t VALUES(1)"));
  ASSERT_OK_AND_ASSIGN(int64_t busy, writer.QueryInt("PRAGMA wal_checkpoint(FULL)"));
  EXPECT_EQ(busy, 0);
  EXPECT_EQ(index.BackfilledFrames(), index.PeekMaxFrame());
  ASSERT_OK(writer.Exec("INSERT INTO t VALUES(2)"));
  EXPECT_EQ(index.PeekSalt1(), salt);
  index.LetGoOfSlot(*slot);
  ASSERT_OK_AND_ASSIGN(busy, writer.QueryInt("PRAGMA wal_checkpoint(FULL)"));
  EXPECT_EQ(busy, 0);
  ASSERT_OK(writer.Exec("INSERT INTO t VALUES(3)"));
  EXPECT_NE(index.PeekSalt1(), salt);
}

TEST(WalIndexTest, WhereEverySlotIsMarkedNoneIsHeld) {
  TempDir dir;
  std::vector<Connection> readers;
  for (int i = 0; i < 5; ++i) {
    ASSERT_OK_AND_ASSIGN(
        readers.emplace_back(),
        Connection::Open(dir.path() + "/a.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 0));
    if (i == 0) {
      ASSERT_OK(
          readers[0].Exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
                          "CREATE TABLE t(a)"));
      continue;
    }
    ASSERT_OK(readers[0].Exec("INSERT INTO t VALUES(1)"));
    ASSERT_OK(readers.back().Exec("BEGIN; SELECT * FROM t"));
  }
  ASSERT_OK_AND_ASSIGN(WalIndexView index, WalIndexView::Attach(readers[0].get()));
  EXPECT_FALSE(index.HoldUnmarkedSlot());
}

TEST(WalIndexTest, ARollbackDatabaseHasNoIndex) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(
      Connection db,
      Connection::Open(dir.File("a.db"), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000));
  ASSERT_OK(db.Exec("CREATE TABLE t(a)"));
  EXPECT_STATUS(WalIndexView::Attach(db.get()), StatusCode::kFailedPrecondition);
}

TEST(WalResetBugTest, VersionsWithTheFixAreKnown) {
  EXPECT_TRUE(HasWalResetBug(3040001));
  EXPECT_TRUE(HasWalResetBug(3051002));
  EXPECT_FALSE(HasWalResetBug(3051003));
  EXPECT_FALSE(HasWalResetBug(3050007));
  EXPECT_TRUE(HasWalResetBug(3050006));
  EXPECT_FALSE(HasWalResetBug(3044006));
  EXPECT_TRUE(HasWalResetBug(3045000));
  EXPECT_FALSE(HasWalResetBug(3006023));
}

}  // namespace
}  // namespace sqlite_s3

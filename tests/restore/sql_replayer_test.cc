// SQL from a bucket is code: what a hostile log tries, each of it in vain. And what an honest one
// may: one commit is taken whole or not at all.

#include "restore/sql_replayer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/os/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

CommitStatements Commit(const std::vector<std::string>& sql) {
  CommitStatements commit;
  commit.state = StatementsState::kRecorded;
  commit.settings = kSettingSecureDelete;
  for (const std::string& text : sql) {
    LoggedStatement& statement = commit.statements.emplace_back();
    statement.sql = text;
    statement.start_us = 1'700'000'000'000'000;
  }
  return commit;
}

class SqlReplayerTest : public ::testing::Test {
 protected:
  void SetUp() override { Create("CREATE TABLE t(x)"); }

  // A database in WAL mode, all of it in its file.
  void Create(const std::string& sql) {
    replayer_.reset();
    pages_.reset();
    fd_.Close();
    (void)RemoveFile(path_);
    {
      auto db = Connection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 0);
      ASSERT_OK(db);
      ASSERT_OK(db->Exec(("PRAGMA page_size=4096; PRAGMA journal_mode=WAL;" + sql).c_str()));
    }
    ASSERT_OK_AND_ASSIGN(fd_, OpenFile(path_, O_RDWR));
    ASSERT_OK_AND_ASSIGN(const Bytes bytes, ReadFile(path_, 1 << 30));
    const auto count = static_cast<uint32_t>(bytes.size() / 4096);
    uint64_t checksum = 0;
    for (uint32_t page = 1; page <= count; ++page) {
      checksum ^= hasher_.Hash(page, ByteSpan(bytes).subspan((page - 1) * 4096, 4096));
    }
    pages_.emplace(fd_, path_, 4096, hasher_, 1 << 20);
    pages_->SetState(count, checksum);
    replayer_.emplace(*pages_, 4096, limits_);
  }

  // Must be refused, whatever it would do if it were not.
  std::string Refused(const std::string& sql) {
    auto result = replayer_->ExecuteFreely(Commit({sql}));
    EXPECT_OK(result);
    EXPECT_THAT(result->surprises, Not(IsEmpty())) << sql;
    return result->surprises.empty() ? "" : result->surprises[0];
  }
  ReplayResult Free(const std::vector<std::string>& sql) {
    auto result = replayer_->ExecuteFreely(Commit(sql));
    EXPECT_OK(result);
    return *result;
  }
  std::set<std::string> Files() {
    auto names = ListDirectory(directory_.path());
    EXPECT_OK(names);
    return {names->begin(), names->end()};
  }

  TempDir directory_;
  const std::string path_ = directory_.File("restoring.db");
  Fd fd_;
  const PageHasher hasher_{ChecksumKey{}};
  SqlReplayer::Limits limits_;
  std::optional<PageStore> pages_;
  std::optional<SqlReplayer> replayer_;
};

TEST_F(SqlReplayerTest, NothingOutsideTheDatabaseCanBeOpened) {
  const std::string other = directory_.File("other.db");
  Refused("ATTACH '" + other + "' AS o");
  Refused("ATTACH 'file:" + other + "?vfs=unix' AS o");
  Refused("VACUUM INTO '" + other + "'");
  Refused("VACUUM main INTO 'file:" + other + "?vfs=unix'");
  Refused("CREATE TEMP TABLE s AS SELECT 1");
  Refused("CREATE VIRTUAL TABLE v USING csv(filename='/etc/passwd')");
  Refused("CREATE VIRTUAL TABLE v USING fsdir");
  Refused("CREATE VIRTUAL TABLE v USING dbstat");
  Refused("INSERT INTO t SELECT readfile('/etc/passwd')");
  Refused("INSERT INTO t SELECT writefile('" + other + "', 'x')");
  Refused("INSERT INTO t SELECT edit('x', 'sh')");
  EXPECT_THAT(Files(), UnorderedElementsAre("restoring.db"));
}

TEST_F(SqlReplayerTest, NothingIsLoadedAndNoPointerIsTaken) {
  EXPECT_THAT(Refused("SELECT load_extension('/lib/x.so')"), HasSubstr("not authorized"));
  EXPECT_THAT(Refused("SELECT fts3_tokenizer('simple', x'4141414141414141')"),
              HasSubstr("not authorized"));
}

TEST_F(SqlReplayerTest, PragmasAreRefusedButForTheFewThatAreLogged) {
  for (const char* pragma :
       {"PRAGMA journal_mode=DELETE", "PRAGMA writable_schema=ON", "PRAGMA mmap_size=1000000000",
        "PRAGMA temp_store_directory='/tmp'", "PRAGMA locking_mode=NORMAL",
        "PRAGMA trusted_schema=ON", "PRAGMA data_store_directory='/tmp'", "PRAGMA threads=8",
        "PRAGMA key='x'"}) {
    EXPECT_THAT(Refused(pragma), HasSubstr("not authorized")) << pragma;
  }
  EXPECT_THAT(Free({"PRAGMA user_version=7", "PRAGMA application_id=8"}).surprises, IsEmpty());
}

TEST_F(SqlReplayerTest, TheSchemaCannotBeWrittenByHand) {
  Refused("UPDATE sqlite_schema SET sql = 'CREATE TABLE t(x, y)'");
  Refused("DELETE FROM sqlite_schema");
  Refused("UPDATE sqlite_dbpage SET data = zeroblob(4096)");
}

TEST_F(SqlReplayerTest, ASecondStatementInTheTextIsRefused) {
  EXPECT_THAT(Refused("INSERT INTO t VALUES(1); ATTACH 'x' AS y"), HasSubstr("not one statement"));
  EXPECT_THAT(Refused(""), HasSubstr("not one statement"));
  EXPECT_THAT(Refused("-- nothing"), HasSubstr("not one statement"));
}

TEST_F(SqlReplayerTest, AnEndlessStatementEndsAtItsDeadline) {
  limits_.seconds = 0.1;
  Create("CREATE TABLE t(x)");
  const uint64_t checksum = pages_->checksum();
  const ReplayResult result =
      Free({"INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT i "
            "FROM c "
            "WHERE i < 0"});
  EXPECT_FALSE(result.same);
  EXPECT_THAT(result.reason, HasSubstr("took longer"));
  EXPECT_EQ(replayer_->timeouts(), 1u);
  EXPECT_EQ(pages_->checksum(), checksum);
}

// What takes hours within one step of SQLite's, where nothing can interrupt it.
class StuckTest : public SqlReplayerTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(StuckTest, IsInterruptedOrEndsTheProcess) {
  limits_.seconds = 0.05;
  limits_.grace_seconds = 0.05;
  limits_.on_stuck = [] { _exit(42); };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Create("CREATE TABLE t(x)");
        const ReplayResult result = Free({GetParam()});
        _exit(result.surprises.empty() ? 1 : 43);  // it could be interrupted, or was refused
      },
      [](int status) {
        return WIFEXITED(status) && (WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 43);
      },
      "");
}

INSTANTIATE_TEST_SUITE_P(
    Functions, StuckTest,
    ::testing::Values(
        "INSERT INTO t SELECT replace(a, a || 'b', 'c') FROM (SELECT replace(hex(zeroblob("
        "4000000)), '0', 'a') AS a)",
        "INSERT INTO t SELECT replace(a || a, a || 'b', 'c') FROM (SELECT replace(hex(zeroblob("
        "4000000)), '0', 'a') AS a)",
        "INSERT INTO t SELECT instr(a || a, a || 'b') FROM (SELECT hex(zeroblob(4000000)) AS a)",
        "INSERT INTO t SELECT trim(a, b || 'c') FROM (SELECT hex(zeroblob(4000000)) AS a, "
        "replace(hex(zeroblob(100000)), '0', 'b') || '0' AS b)",
        "INSERT INTO t SELECT a LIKE '%0%1%0%1%0%1%0%1%0%1%0%1%0%1%0%1%0%1_' FROM (SELECT "
        "hex(zeroblob(40000000)) AS a)",
        "INSERT INTO t SELECT a GLOB '*[^1][^1][^1][^1][^1][^1][^1][^1][^1][^1][^1][^1][^1]1' FROM "
        "(SELECT hex(zeroblob(40000000)) AS a)",
        "INSERT INTO t SELECT printf('%.*c', 2000000000, 'x')",
        "INSERT INTO t SELECT printf('%*d', 2000000000, 1)",
        "INSERT INTO t SELECT json_patch(j, j) FROM (SELECT '{' || substr(group_concat('\"' || i "
        "|| '\":1'), 1) || '}' AS j FROM (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 "
        "FROM c LIMIT 200000) SELECT i FROM c))",
        "INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT "
        "group_concat(i, zeroblob(100)) FROM c"));

TEST_F(SqlReplayerTest, AQuickFunctionOfManyRowsIsInterruptedAtItsDeadline) {
  limits_.seconds = 0.05;
  Create("CREATE TABLE t(x)");
  const ReplayResult result =
      Free({"INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT i "
            "FROM c, (SELECT hex(zeroblob(5000)) AS a) WHERE a || i LIKE '%x%x%x'"});
  EXPECT_THAT(result.reason, HasSubstr("took longer"));
}

TEST_F(SqlReplayerTest, AMatchOverALargeIndexIsInterruptedOrEndsTheProcess) {
  limits_.seconds = 0.05;
  limits_.grace_seconds = 0.05;
  limits_.on_stuck = [] { _exit(42); };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Create(
            "CREATE TABLE t(x); CREATE VIRTUAL TABLE f USING fts5(x); WITH RECURSIVE c(i) AS "
            "(SELECT 1 UNION ALL SELECT i+1 FROM c LIMIT 300) INSERT INTO f SELECT "
            "replace(hex(zeroblob(10000)), '00', 'a ') FROM c");
        const ReplayResult result =
            Free({"INSERT INTO t SELECT count(*) FROM f WHERE f MATCH replace('\"' || "
                  "hex(zeroblob(200)) || '\" NOT b', '00', 'a ')"});
        _exit(result.surprises.empty() ? 1 : 43);
      },
      [](int status) {
        return WIFEXITED(status) && (WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 43);
      },
      "");
}

TEST_F(SqlReplayerTest, AStatementThatFillsMemoryEndsAtItsBound) {
  limits_.memory_bytes = 8 << 20;
  Create("CREATE TABLE t(x)");
  const uint64_t checksum = pages_->checksum();
  const ReplayResult result =
      Free({"BEGIN",
            "INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c LIMIT "
            "30000) SELECT zeroblob(4000) FROM c",
            "COMMIT"});
  EXPECT_THAT(result.surprises, Not(IsEmpty()));
  EXPECT_EQ(pages_->checksum(), checksum);
  Refused("INSERT INTO t VALUES(zeroblob(1000000000))");
}

TEST_F(SqlReplayerTest, CodeInTheSchemaIsNoMoreThanCodeInTheLog) {
  // Triggers and views of the application's, or of whoever wrote the image.
  Create(
      "CREATE TABLE t(x); CREATE TABLE s(y);"
      "CREATE TRIGGER ti AFTER INSERT ON t BEGIN INSERT INTO s VALUES(load_extension('x')); END;"
      "CREATE VIEW v AS SELECT fts3_tokenizer('simple') AS p");
  Refused("INSERT INTO t VALUES(1)");
  Refused("INSERT INTO s SELECT p FROM v");
}

TEST_F(SqlReplayerTest, AVacuumStaysInMemory) {
  EXPECT_THAT(Free({"VACUUM"}).surprises, IsEmpty());
  EXPECT_THAT(Files(), UnorderedElementsAre("restoring.db"));
}

TEST_F(SqlReplayerTest, ADifferentResultLeavesThePagesAsTheyWere) {
  const uint64_t checksum = pages_->checksum();
  const uint32_t count = pages_->page_count();
  CommitRecord other;
  other.db_checksum = checksum ^ 1;
  other.page_count = count;
  auto result = replayer_->Execute(Commit({"INSERT INTO t VALUES(zeroblob(100000))"}), other);
  ASSERT_OK(result);
  EXPECT_FALSE(result->same);
  EXPECT_EQ(pages_->checksum(), checksum);
  EXPECT_EQ(pages_->page_count(), count);
  // And the next one begins from there.
  CommitRecord same;
  same.db_checksum = checksum;
  same.page_count = count;
  result = replayer_->Execute(Commit({"DELETE FROM t WHERE x > 0"}), same);
  ASSERT_OK(result);
  EXPECT_TRUE(result->same) << result->reason;
}

TEST_F(SqlReplayerTest, AnUnfinishedTransactionIsNotTaken) {
  const uint64_t checksum = pages_->checksum();
  const ReplayResult result = Free({"BEGIN", "INSERT INTO t VALUES(1)"});
  EXPECT_FALSE(result.same);
  EXPECT_EQ(pages_->checksum(), checksum);
}

TEST_F(SqlReplayerTest, TheClockIsTheRecordedOne) {
  CommitStatements commit = Commit({"CREATE TABLE u(at)"});
  ASSERT_TRUE(replayer_->ExecuteFreely(commit)->same);
  commit = Commit({"INSERT INTO u SELECT 1 WHERE datetime('now') = '2023-11-14 22:13:20'"});
  commit.statements[0].changed_rows = 1;
  EXPECT_THAT(replayer_->ExecuteFreely(commit)->surprises, IsEmpty());
}

TEST_F(SqlReplayerTest, TheLastRowidIsTheRecordedOne) {
  CommitStatements commit = Commit({"INSERT INTO t SELECT 1 WHERE last_insert_rowid() = 42"});
  commit.last_insert_rowid = 42;
  commit.statements[0].changed_rows = 1;
  EXPECT_THAT(replayer_->ExecuteFreely(commit)->surprises, IsEmpty());
}

TEST_F(SqlReplayerTest, AWalThatGrowsIsBegunAnew) {
  limits_.memory_bytes = 1 << 20;
  Create("CREATE TABLE t(x)");
  for (int i = 0; i < 200; ++i) {
    const ReplayResult result = Free({"INSERT INTO t VALUES(zeroblob(20000))"});
    ASSERT_TRUE(result.same) << i << ": " << result.reason;
  }
  ASSERT_OK(pages_->Flush());
  auto db = Connection::Open(path_, SQLITE_OPEN_READWRITE, "", 0);
  ASSERT_OK(db);
  EXPECT_EQ(*db->QueryInt("SELECT count(*) FROM t WHERE length(x) = 20000"), 200);
  EXPECT_EQ(*db->QueryText("PRAGMA integrity_check"), "ok");
}

}  // namespace
}  // namespace sqlite_s3

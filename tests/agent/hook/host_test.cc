#include "agent/hook/host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/agent/hook/app.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

struct HostTest : ::testing::Test {
  TempDir dir;
  const std::string path = dir.File("app.db");
  App app;
};

TEST_F(HostTest, NamesTheFileTheVfsAndTheInode) {
  app.Create(path);
  ASSERT_OK_AND_ASSIGN(HostDatabase database, InspectConnection(app.db()));
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(database.path, path);
  EXPECT_EQ(database.vfs, sqlite3_vfs_find(nullptr)->zName);
  EXPECT_EQ(database.file.inode, info.st_ino);
}

TEST_F(HostTest, ASymbolicLinkLeadsToTheSameName) {
  app.Create(path);
  ASSERT_EQ(symlink(path.c_str(), dir.File("link.db").c_str()), 0);
  App through_link(dir.File("link.db"));
  ASSERT_OK_AND_ASSIGN(HostDatabase database, InspectConnection(through_link.db()));
  EXPECT_EQ(database.path, path);
}

TEST_F(HostTest, RefusesWhatCannotBeShippedAndSaysWhy) {
  App maker;
  maker.Create(path);
  struct {
    std::string what, name;
    int flags;
    const char* setup;
    const char* message;
  } cases[] = {
      {"memory", ":memory:", 0, "", "in-memory or temporary"},
      {"temporary", "", 0, "", "in-memory or temporary"},
      {"shared memory", "file:x?mode=memory&cache=shared", 0, "", "in-memory or temporary"},
      {"rollback journal", dir.File("delete.db"), 0, "CREATE TABLE t(x)", "journal_mode=delete"},
      {"read-only", path, SQLITE_OPEN_READONLY, "", "read-only"},
      {"exclusive", path, 0, "PRAGMA locking_mode=EXCLUSIVE", "locking_mode=exclusive"},
  };
  for (const auto& c : cases) {
    App other(c.name, c.flags);
    other.Do(c.setup);
    Result<HostDatabase> database = InspectConnection(other.db());
    EXPECT_STATUS(database, StatusCode::kFailedPrecondition) << c.what;
    EXPECT_THAT(database.status().message(), HasSubstr(c.message)) << c.what;
    EXPECT_THAT(database.status().message(), HasSubstr("hint: ")) << c.what;
  }
  maker.Insert();  // and nobody holds a lock
}

TEST_F(HostTest, ReadsTheThresholdWithoutChangingIt) {
  app.Create(path);
  app.Do("PRAGMA wal_autocheckpoint=17");
  ASSERT_OK_AND_ASSIGN(int pages, AutocheckpointPages(app.db()));
  EXPECT_EQ(pages, 17);
  EXPECT_EQ(app.Ask("PRAGMA wal_autocheckpoint"), "17");
}

TEST_F(HostTest, KnowsAnOpenWriteTransaction) {
  app.Create(path);
  EXPECT_FALSE(InWriteTransaction(app.db()));
  app.Do("BEGIN; SELECT * FROM t");
  EXPECT_FALSE(InWriteTransaction(app.db()));
  app.Do("INSERT INTO t VALUES(1)");
  EXPECT_TRUE(InWriteTransaction(app.db()));
  app.Do("COMMIT; BEGIN IMMEDIATE");
  EXPECT_TRUE(InWriteTransaction(app.db()));
  app.Do("ROLLBACK");
  EXPECT_FALSE(InWriteTransaction(app.db()));
}

TEST_F(HostTest, CountsThisConnectionsCommitsOnly) {
  app.Create(path);
  App other(path);
  uint32_t before = OwnCommits(app.db()).value();
  other.Insert(3);
  app.Ask("SELECT count(*) FROM t");
  EXPECT_EQ(OwnCommits(app.db()).value() - before, 0u);
  app.Insert(2);
  EXPECT_EQ(OwnCommits(app.db()).value() - before, 2u);
  app.Do("BEGIN; INSERT INTO t VALUES(1); ROLLBACK");
  EXPECT_EQ(OwnCommits(app.db()).value() - before, 2u);
}

}  // namespace
}  // namespace sqlite_s3

// Whether somebody else's database can be shipped, found out without touching it.

#include "agent/daemon/database_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "common/sqlite/connection.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

void Make(const std::string& path, const char* sql) {
  auto db = Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 0);
  ASSERT_OK(db.status());
  ASSERT_OK(db->Exec(sql));
}

TEST(DatabaseFileTest, NamesAnotherPathOfTheSameFile) {
  FileClaims claims;
  const FileId id{1, 2};
  EXPECT_OK(claims.Claim(id, "/a"));
  EXPECT_OK(claims.Claim(id, "/a"));
  const Status refused = claims.Claim(id, "/b");
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("/a"));
  claims.Release(id, "/b");  // not its own
  EXPECT_FALSE(claims.Claim(id, "/b").ok());
  claims.Release(id, "/a");
  EXPECT_OK(claims.Claim(id, "/b"));
}

TEST(DatabaseFileTest, SaysWhatIsMissing) {
  TempDir dir;
  const std::string path = dir.path() + "/a.db";
  EXPECT_EQ(FindDatabaseFile(path).code(), StatusCode::kNotFound);
  Make(path, "pragma journal_mode=delete; create table t(a)");
  auto file = FindDatabaseFile(path);
  ASSERT_OK(file.status());
  EXPECT_THAT(CheckReadyToShip(*file).message(), HasSubstr("not in WAL mode"));
  Make(path, "pragma journal_mode=wal");
  EXPECT_OK(CheckReadyToShip(*file));
  EXPECT_EQ(FindDatabaseFile(dir.path()).code(), StatusCode::kFailedPrecondition);
}

TEST(DatabaseFileTest, AnotherUsersDatabaseNeedsItsWal) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give a file away";
  }
  TempDir dir;
  const std::string path = dir.path() + "/a.db";
  Make(path, "pragma journal_mode=wal; create table t(a)");
  ASSERT_EQ(chown(path.c_str(), 65534, 65534), 0);
  auto file = FindDatabaseFile(path);
  ASSERT_OK(file.status());
  EXPECT_THAT(CheckReadyToShip(*file).message(), HasSubstr("belongs to another user"));
}

}  // namespace
}  // namespace sqlite_s3

// Which files of a directory are databases, and where each is shipped to.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "agent/daemon/directory_scan.h"
#include "common/sqlite/connection.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uid_t kNobody = 65534;

DirectorySpec SpecOf(const std::string& path) {
  DirectorySpec spec;
  spec.path = path;
  spec.replica = "s3://bucket/prefix/{path}";
  return spec;
}

void MakeDatabase(const std::string& path) {
  auto db = Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000);
  ASSERT_OK(db.status());
  ASSERT_OK(db->Exec("create table t(a)"));
}

std::vector<std::string> Found(const DirectorySpec& spec) {
  FileClaims claims;
  DirectoryScan scan = ScanDirectory(spec, claims, [](const std::string&) { return false; });
  EXPECT_OK(scan.status);
  return scan.databases;
}

TEST(DirectorySpecTest, TwoPathsNeverGetOneAddress) {
  std::set<std::string> parts;
  const std::vector<std::string> paths = {
      "a.db",    "a%2Edb",   "a%2edb", "a db",     "a%20db", "a+db",        "a?b",     "a#b",
      "a\nb",    "a%0Ab",    "a/b.db", "a%2Fb.db", "A.db",   "\xc3\xbc.db", "\xfc.db", "a&b=c",
      "{path}x", "a%25b.db", "a%b.db", "a,b",      "a;b",    "a\\b"};
  for (const std::string& path : paths) {
    ASSERT_OK_AND_ASSIGN(const DatabaseSpec spec, DatabaseSpecIn(SpecOf("/d"), "/d", path));
    EXPECT_TRUE(parts.insert(spec.replica.location.prefix).second) << path;
    EXPECT_THAT(spec.replica.location.prefix, testing::StartsWith("prefix/"));
    EXPECT_EQ(spec.path, "/d/" + path);
  }
}

// A change of these would leave the replicas of existing databases behind.
TEST(DirectorySpecTest, AddressesStayAsTheyAre) {
  const DirectorySpec spec = SpecOf("/d");
  for (const auto& [path, prefix] :
       {std::pair("app.db", "prefix/app.db"), std::pair("a/b-c_1~2.db", "prefix/a/b-c_1~2.db"),
        std::pair("\xc3\xbc 1%.db", "prefix/%C3%BC%201%25.db")}) {
    ASSERT_OK_AND_ASSIGN(const DatabaseSpec database, DatabaseSpecIn(spec, "/d", path));
    EXPECT_EQ(database.replica.location.prefix, prefix);
  }
  for (const std::string replica : {"file:///r/{path}", "/r/{path}"}) {
    DirectorySpec files = spec;
    files.replica = replica;
    ASSERT_OK_AND_ASSIGN(const DatabaseSpec database, DatabaseSpecIn(files, "/d", "x/a b.db"));
    EXPECT_EQ(database.replica.location.path, "/r/x/a%20b.db");
  }
}

TEST(DirectorySpecTest, WhatAllDatabasesWouldShareNeedsThePath) {
  DirectorySpec spec = SpecOf("/d");
  spec.replica = "s3://bucket/prefix?tags=x={path}";
  EXPECT_THAT(DatabaseSpecIn(spec, "/d", "a").status().message(), HasSubstr("'replica' needs"));
  spec = SpecOf("/d");
  spec.options = "state_dir=/state";
  EXPECT_THAT(DatabaseSpecIn(spec, "/d", "a").status().message(), HasSubstr("'state_dir' needs"));
  spec.options = "state_dir=/state/{path}";
  ASSERT_OK_AND_ASSIGN(const DatabaseSpec database, DatabaseSpecIn(spec, "/d", "a b"));
  EXPECT_EQ(database.replica.ship.state_dir, "/state/a%20b");
}

TEST(DirectorySpecTest, PatternsMatchTheNameOrWithASlashThePath) {
  DirectorySpec spec = SpecOf("/d");
  EXPECT_TRUE(MatchesPatterns(spec, "x/a.db"));
  EXPECT_FALSE(MatchesPatterns(spec, "x/.a.db")) << "hidden files are not asked for";
  spec.patterns = {"*.db", "shops/*/main.sqlite"};
  EXPECT_TRUE(MatchesPatterns(spec, "x/a.db"));
  EXPECT_FALSE(MatchesPatterns(spec, "a.sqlite"));
  EXPECT_TRUE(MatchesPatterns(spec, "shops/7/main.sqlite"));
  EXPECT_FALSE(MatchesPatterns(spec, "shops/7/8/main.sqlite"));
  spec.exclude = {"tmp*", "x/y"};
  EXPECT_TRUE(IsExcluded(spec, "a/tmp.db"));
  EXPECT_TRUE(IsExcluded(spec, "x/y"));
  EXPECT_FALSE(IsExcluded(spec, "x/y/z.db"));
}

TEST(DirectoryScanTest, FindsDatabasesByTheirFirstBytesAndNothingElse) {
  TempDir dir;
  const std::string root = dir.path();
  ASSERT_EQ(mkdir((root + "/sub").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((root + "/b.db-s3").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((root + "/old-s3").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((root + "/backups-s3").c_str(), 0700), 0);
  for (const char* name :
       {"/b.db", "/a b\n.db", "/x-wal", "/x-shm", "/x-journal", "/sub/c.db", "/b.db-s3/no.db",
        "/old-s3/no.db", "/backups-s3/yes.db", "/.hidden.db"}) {
    MakeDatabase(root + name);
  }
  std::ofstream(root + "/old-s3/identity") << "{}";
  std::ofstream(root + "/empty.db");
  std::ofstream(root + "/text.db") << "this is no database at all";
  ASSERT_EQ(mkfifo((root + "/pipe.db").c_str(), 0600), 0);
  ASSERT_EQ(symlink((root + "/b.db").c_str(), (root + "/link.db").c_str()), 0);
  ASSERT_EQ(symlink(root.c_str(), (root + "/sub/loop").c_str()), 0);
  DirectorySpec spec = SpecOf(root);
  EXPECT_THAT(Found(spec), ElementsAre("a b\n.db", "b.db"));
  spec.recursive = true;
  EXPECT_THAT(Found(spec), ElementsAre("a b\n.db", "b.db", "backups-s3/yes.db", "sub/c.db"));
  spec.exclude = {"sub", "a*"};
  EXPECT_THAT(Found(spec), ElementsAre("b.db", "backups-s3/yes.db"));
}

TEST(DirectoryScanTest, NeverOpensWhatThisProcessHasOpen) {
  TempDir dir;
  const std::string path = dir.path() + "/a.db";
  MakeDatabase(path);
  FileClaims claims;
  ASSERT_OK_AND_ASSIGN(const DatabaseFile file, FindDatabaseFile(path));
  ASSERT_OK(claims.Claim(file.id, "another name"));
  const auto unknown = [](const std::string&) { return false; };
  EXPECT_THAT(ScanDirectory(SpecOf(dir.path()), claims, unknown).databases, IsEmpty());
  const auto known = [](const std::string&) { return true; };
  EXPECT_THAT(ScanDirectory(SpecOf(dir.path()), claims, known).databases, ElementsAre("a.db"));
  claims.Release(file.id, "another name");
  EXPECT_THAT(ScanDirectory(SpecOf(dir.path()), claims, unknown).databases, ElementsAre("a.db"));
  EXPECT_OK(claims.Claim(file.id, "anybody")) << "the scan gives back what it claimed";
}

TEST(DirectoryScanTest, SaysWhatItCouldNotRead) {
  TempDir dir;
  FileClaims claims;
  const auto unknown = [](const std::string&) { return false; };
  EXPECT_EQ(ScanDirectory(SpecOf(dir.path() + "/no"), claims, unknown).status.code(),
            StatusCode::kNotFound);
  ASSERT_EQ(chmod(dir.path().c_str(), 0755), 0);
  ASSERT_EQ(mkdir((dir.path() + "/closed").c_str(), 0), 0);
  const bool root = geteuid() == 0;  // whom no mode keeps out
  ASSERT_EQ(root ? seteuid(kNobody) : 0, 0);
  DirectorySpec spec = SpecOf(dir.path());
  spec.recursive = true;
  const DirectoryScan scan = ScanDirectory(spec, claims, unknown);
  ASSERT_EQ(root ? seteuid(0) : 0, 0);
  EXPECT_EQ(scan.status.code(), StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace sqlite_s3

// The database as its applications see it, whatever the file looks like.

#include "agent/daemon/live_state.h"

#include <gtest/gtest.h>

#include "common/sqlite/connection.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

// A checkpoint with SQLITE_FCNTL_CHUNK_SIZE leaves a file of whole chunks. An emptied WAL's index
// still knows how large the database is, and the next commit starts from that.
TEST(LiveStateTest, PagesAChunkSizeAddedToTheFileAreNoneOfTheDatabase) {
  TempDir dir;
  const std::string path = dir.File("app.db");
  ASSERT_OK_AND_ASSIGN(Connection app,
                       Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 0));
  ASSERT_OK(app.Exec("PRAGMA journal_mode=WAL"));
  int chunk = 1 << 20;
  ASSERT_EQ(sqlite3_file_control(app.get(), "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk), SQLITE_OK);
  ASSERT_OK(app.Exec("CREATE TABLE t(a); INSERT INTO t VALUES(1)"));
  const PageHasher hasher(ChecksumKey{});
  ASSERT_OK_AND_ASSIGN(const LiveState before, ReadLiveState(path, hasher));
  ASSERT_OK(app.Exec("PRAGMA wal_checkpoint(TRUNCATE)"));
  ASSERT_OK_AND_ASSIGN(const LiveState after, ReadLiveState(path, hasher));
  EXPECT_EQ(before.page_count, 2u);
  EXPECT_EQ(after.page_count, before.page_count);
  EXPECT_EQ(after.checksum, before.checksum);
}

}  // namespace
}  // namespace sqlite_s3

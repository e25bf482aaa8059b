// What was acknowledged is there after kill -9; what was not is whole or not there.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/server/storage/storage_fixture.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kLarge = 3 * kChunkBytes + 11;

// The child: puts until it is killed, one byte into `acknowledge` after each.
[[noreturn]] void PutForEver(const std::string& directory, int acknowledge) {
  auto set = BucketSet::Open(directory, {});
  if (!set.ok()) {
    ::_exit(1);
  }
  auto bucket = (*set)->Create("bucket", "owner");
  if (!bucket.ok()) {
    ::_exit(2);
  }
  for (uint32_t i = 0;; ++i) {
    std::string body = Pattern(i % 5 == 4 ? kLarge : 1000, i);
    PutRequest request;
    request.key = std::to_string(i);
    request.etag = Md5::Hex(AsBytes(body));
    if (!(*bucket)->PutBytes(request, AsBytes(body)).ok() || ::write(acknowledge, "x", 1) != 1) {
      ::_exit(3);
    }
  }
}

TEST(StorageCrashTest, AnAcknowledgedPutSurvivesKill) {
  for (int acknowledged : {1, 7, 23}) {
    TempDir dir;
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe[0]);
      PutForEver(dir.path(), pipe[1]);
    }
    ::close(pipe[1]);
    for (int i = 0; i < acknowledged; ++i) {
      char byte;
      ASSERT_EQ(::read(pipe[0], &byte, 1), 1);
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    ::close(pipe[0]);

    StorageOptions options;
    options.background_maintenance = false;
    auto set = BucketSet::Open(dir.path(), options);
    ASSERT_TRUE(set.ok()) << set.status().ToString();
    auto bucket = (*set)->Get("bucket");
    ASSERT_TRUE(bucket.ok()) << bucket.status().ToString();
    ASSERT_TRUE((*bucket)->Maintain().ok());
    auto list = (*bucket)->List({});
    ASSERT_TRUE(list.ok());
    EXPECT_GE(list->objects.size(), static_cast<size_t>(acknowledged));
    for (size_t i = 0; i < list->objects.size(); ++i) {
      auto opened = (*bucket)->Open(std::to_string(i), {});
      ASSERT_TRUE(opened.ok()) << i;
      Md5 md5;
      while (true) {
        auto piece = opened->body->Next();
        ASSERT_TRUE(piece.ok());
        if (piece->empty()) {
          break;
        }
        md5.Update(*piece);
      }
      EXPECT_EQ(HexEncode(md5.Finish()), opened->info.etag);
    }
    auto connection = Connection::Open(dir.File("bucket.sqlite3"), SQLITE_OPEN_READONLY, "", 1000);
    ASSERT_TRUE(connection.ok());
    EXPECT_EQ(*connection->QueryText("PRAGMA integrity_check"), "ok");
    // Of uploads that were under way nothing is left.
    EXPECT_EQ(*connection->QueryInt("SELECT count(*) FROM unreferenced"), 0);
    EXPECT_EQ(*connection->QueryInt(
                  "SELECT count(*) FROM chunk WHERE content NOT IN (SELECT content FROM object)"),
              0);
  }
}

}  // namespace
}  // namespace sqlite_s3::server

#include "common/store/directory_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "common/base/clock.h"
#include "common/os/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DirectoryStoreTest : public ::testing::Test {
 protected:
  DirectoryStoreTest() { store_ = Open({.path = root_, .create = true}); }

  static std::shared_ptr<ObjectStore> Open(const DirectoryStoreOptions& options) {
    Result<std::shared_ptr<ObjectStore>> store = OpenDirectoryStore(options);
    EXPECT_OK(store);
    return store.ok() ? *store : nullptr;
  }
  std::string File(const std::string& name) const { return root_ + "/" + name; }
  static void Write(const std::string& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  std::vector<std::string> Keys(const std::string& prefix = "") {
    std::vector<std::string> keys;
    Result<std::vector<ObjectInfo>> all = ListAll(*store_, prefix);
    EXPECT_OK(all);
    for (const ObjectInfo& info : *all) {
      keys.push_back(info.key);
    }
    return keys;
  }
  bool Exists(const std::string& path) {
    struct stat st;
    return ::lstat(path.c_str(), &st) == 0;
  }

  TempDir dir_;
  const std::string root_ = dir_.File("root");
  std::shared_ptr<ObjectStore> store_;
};

TEST_F(DirectoryStoreTest, AnObjectIsTheFileOfItsKey) {
  ASSERT_OK(store_->Put("a/b", AsBytes("body")));
  ASSERT_OK_AND_ASSIGN(Bytes file, ReadFile(File("a/b"), 100));
  EXPECT_EQ(AsText(file), "body");
  Write(File("a/c"), "by hand");
  EXPECT_THAT(Keys(), ElementsAre("a/b", "a/c"));
}

TEST_F(DirectoryStoreTest, NamesThatNoKeyCanHaveAndOtherKindsOfFilesAreInvisible) {
  ASSERT_OK(store_->Put("d/k", {}));
  for (const char* name : {"d/x~", "d/a b", "d/#x#", "d/\xc3\xa9", "~tmp/leftover"}) {
    Write(File(name), "x");
  }
  ASSERT_EQ(::mkdir(File("d/~dir").c_str(), 0700), 0);
  Write(File("d/~dir/k"), "x");
  ASSERT_EQ(::mkfifo(File("d/fifo").c_str(), 0600), 0);
  EXPECT_THAT(Keys(), ElementsAre("d/k"));
  EXPECT_STATUS(store_->Get("d/fifo", 10), StatusCode::kNotFound);  // and does not hang
  EXPECT_STATUS(store_->Head("d/fifo"), StatusCode::kNotFound);
  EXPECT_STATUS(store_->PutIfAbsent("d/fifo", {}), StatusCode::kFailedPrecondition);
  EXPECT_OK(store_->Delete("d/fifo"));
  EXPECT_TRUE(Exists(File("d/fifo")));
}

TEST_F(DirectoryStoreTest, SymlinksLeadNowhere) {
  const std::string outside = dir_.File("outside");
  ASSERT_EQ(::mkdir(outside.c_str(), 0700), 0);
  Write(outside + "/secret", "secret");
  ASSERT_EQ(::symlink(outside.c_str(), File("dir").c_str()), 0);
  ASSERT_EQ(::symlink((outside + "/secret").c_str(), File("file").c_str()), 0);
  ASSERT_EQ(::symlink((outside + "/new").c_str(), File("dangling").c_str()), 0);

  EXPECT_THAT(Keys(), IsEmpty());
  EXPECT_THAT(Keys("dir/"), IsEmpty());
  for (const char* key : {"dir/secret", "file", "dangling", "dir"}) {
    EXPECT_STATUS(store_->Get(key, 100), StatusCode::kNotFound) << key;
    EXPECT_STATUS(store_->Head(key), StatusCode::kNotFound) << key;
    EXPECT_OK(store_->Delete(key)) << key;
    EXPECT_STATUS(store_->PutIfAbsent(key, AsBytes("x")), StatusCode::kFailedPrecondition) << key;
  }
  EXPECT_STATUS(store_->Put("dir/new", AsBytes("x")), StatusCode::kFailedPrecondition);
  EXPECT_STATUS(store_->Put("dir/sub/new", AsBytes("x")), StatusCode::kFailedPrecondition);
  // A link under the final name is replaced, and what it led to left alone.
  EXPECT_OK(store_->Put("file", AsBytes("mine")));
  EXPECT_OK(store_->Put("dangling", AsBytes("mine")));
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> names, ListDirectory(outside));
  EXPECT_THAT(names, ElementsAre("secret"));
  ASSERT_OK_AND_ASSIGN(Bytes secret, ReadFile(outside + "/secret", 100));
  EXPECT_EQ(AsText(secret), "secret");
}

TEST_F(DirectoryStoreTest, ASymlinkInPlaceOfTheTemporaryFolderIsRefused) {
  ASSERT_EQ(::rmdir(File("~tmp").c_str()), 0);
  ASSERT_EQ(::symlink(dir_.path().c_str(), File("~tmp").c_str()), 0);
  EXPECT_FALSE(store_->Put("k", {}).ok());
  EXPECT_FALSE(OpenDirectoryStore({.path = root_}).ok());
}

TEST_F(DirectoryStoreTest, TheRootItselfMayBeASymlink) {
  ASSERT_EQ(::symlink(root_.c_str(), dir_.File("link").c_str()), 0);
  auto store = Open({.path = dir_.File("link")});
  EXPECT_OK(store->Put("k", {}));
  EXPECT_THAT(Keys(), ElementsAre("k"));
}

TEST_F(DirectoryStoreTest, AKeyBelowAnObjectAndAnObjectInPlaceOfAFolderAreRefused) {
  ASSERT_OK(store_->Put("a", AsBytes("x")));
  EXPECT_STATUS(store_->Put("a/b", {}), StatusCode::kFailedPrecondition);
  EXPECT_STATUS(store_->PutIfAbsent("a/b/c", {}), StatusCode::kFailedPrecondition);
  EXPECT_STATUS(store_->Get("a/b", 10), StatusCode::kNotFound);
  EXPECT_OK(store_->Delete("a/b"));
  ASSERT_OK(store_->Put("d/e", {}));
  EXPECT_STATUS(store_->Put("d", {}), StatusCode::kFailedPrecondition);
  EXPECT_STATUS(store_->PutIfAbsent("d", {}), StatusCode::kFailedPrecondition);
  EXPECT_THAT(Keys(), ElementsAre("a", "d/e"));
}

TEST_F(DirectoryStoreTest, ASegmentLongerThanAFileNameIsRefused) {
  const std::string key = "a/" + std::string(256, 'x');
  EXPECT_STATUS(store_->Put(key, {}), StatusCode::kInvalidArgument);
  EXPECT_STATUS(store_->PutIfAbsent(key + "/y", {}), StatusCode::kInvalidArgument);
  EXPECT_STATUS(store_->Get(key, 10), StatusCode::kInvalidArgument);
}

TEST_F(DirectoryStoreTest, AReadOnlyStoreRefusesWritesAndChangesNothing) {
  const std::string path = dir_.File("bare");
  ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
  Write(path + "/k", "v");
  auto store = Open({.path = path, .create = true, .read_only = true});
  EXPECT_FALSE(store->SupportsConditionalPut());
  EXPECT_STATUS(store->Put("k", {}), StatusCode::kPermissionDenied);
  EXPECT_STATUS(store->PutIfAbsent("new", {}), StatusCode::kPermissionDenied);
  EXPECT_STATUS(store->Delete("k"), StatusCode::kPermissionDenied);
  ASSERT_OK_AND_ASSIGN(Bytes body, store->Get("k", 10));
  EXPECT_EQ(AsText(body), "v");
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> names, ListDirectory(path));
  EXPECT_THAT(names, ElementsAre("k"));
  EXPECT_STATUS(OpenDirectoryStore({.path = dir_.File("no"), .create = true, .read_only = true}),
                StatusCode::kNotFound);
}

TEST_F(DirectoryStoreTest, NothingIsLeftInTheTemporaryFolder) {
  ASSERT_OK(store_->Put("a/k", AsBytes("x")));
  ASSERT_OK(store_->PutIfAbsent("a/l", AsBytes("x")));
  EXPECT_STATUS(store_->PutIfAbsent("a/l", AsBytes("x")), StatusCode::kAlreadyExists);
  EXPECT_STATUS(store_->Put("a", AsBytes("x")), StatusCode::kFailedPrecondition);
  EXPECT_STATUS(store_->Put("a/l/m", AsBytes("x")), StatusCode::kFailedPrecondition);
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> names, ListDirectory(File("~tmp")));
  EXPECT_THAT(names, IsEmpty());
}

TEST_F(DirectoryStoreTest, LeftoversOlderThanAnHourAreRemovedAtOpen) {
  Write(File("~tmp/old"), "x");
  Write(File("~tmp/young"), "x");
  struct timespec times[2];
  times[0].tv_nsec = times[1].tv_nsec = 0;
  const int64_t now_s = Clock::Real().WallMicros() / 1'000'000;
  times[0].tv_sec = times[1].tv_sec = now_s - 3700;
  ASSERT_EQ(::utimensat(AT_FDCWD, File("~tmp/old").c_str(), times, 0), 0);
  times[0].tv_sec = times[1].tv_sec = now_s - 3300;
  ASSERT_EQ(::utimensat(AT_FDCWD, File("~tmp/young").c_str(), times, 0), 0);
  (void)Open({.path = root_});
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> names, ListDirectory(File("~tmp")));
  EXPECT_THAT(names, ElementsAre("young"));
}

TEST_F(DirectoryStoreTest, ATemporaryFolderThatWasRemovedIsMadeAgain) {
  ASSERT_EQ(::rmdir(File("~tmp").c_str()), 0);
  EXPECT_OK(store_->Put("k", {}));
}

TEST_F(DirectoryStoreTest, FoldersThatLostTheirLastObjectAreRemovedUpToTheRoot) {
  ASSERT_OK(store_->Put("a/b/c/k", {}));
  ASSERT_OK(store_->Put("a/l", {}));
  ASSERT_OK(store_->Delete("a/b/c/k"));
  EXPECT_FALSE(Exists(File("a/b")));
  EXPECT_TRUE(Exists(File("a/l")));
  ASSERT_OK(store_->Delete("a/l"));
  EXPECT_FALSE(Exists(File("a")));
  EXPECT_TRUE(Exists(root_));
  ASSERT_OK(store_->PutIfAbsent("a/b/c/k", {}));
  EXPECT_THAT(Keys(), ElementsAre("a/b/c/k"));
}

TEST_F(DirectoryStoreTest, TheStoreTimeIsWhenTheObjectGotItsNameByTheFilesystemsClock) {
  ASSERT_OK_AND_ASSIGN(PutResult put, store_->PutIfAbsent("k", AsBytes("x")));
  ASSERT_OK_AND_ASSIGN(ObjectInfo info, store_->Head("k"));
  ASSERT_TRUE(put.store_time_us.has_value());
  EXPECT_GE(*put.store_time_us, info.modified_us);
  struct stat st;
  ASSERT_EQ(::stat(File("k").c_str(), &st), 0);
  EXPECT_EQ(info.modified_us, int64_t{st.st_mtim.tv_sec} * 1'000'000 + st.st_mtim.tv_nsec / 1000);
}

TEST_F(DirectoryStoreTest, ASparseGiantIsRefusedBeforeAnythingIsAllocated) {
  ASSERT_OK_AND_ASSIGN(Fd fd, OpenFile(File("giant"), O_WRONLY | O_CREAT, 0600));
  ASSERT_OK(TruncateFile(fd, uint64_t{1} << 42, "giant"));
  EXPECT_STATUS(store_->Get("giant", 1 << 20), StatusCode::kResourceExhausted);
  ASSERT_OK_AND_ASSIGN(Bytes end,
                       store_->Get("giant", 16, ByteRange{(uint64_t{1} << 42) - 4, 100}));
  EXPECT_EQ(end, Bytes(4));
}

TEST_F(DirectoryStoreTest, OpenErrorsNameThePath) {
  Write(dir_.File("file"), "");
  Status status = OpenDirectoryStore({.path = dir_.File("file"), .create = true}).status();
  EXPECT_STATUS(status, StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr(dir_.File("file")));
  EXPECT_STATUS(OpenDirectoryStore({.path = ""}), StatusCode::kInvalidArgument);
  EXPECT_EQ(Open({.path = root_ + "//"})->Describe(), "file:" + root_);
}

TEST_F(DirectoryStoreTest, TheTreeSurvivesAChangeOfTheWorkingDirectory) {
  // A relative path is resolved once, at open.
  ASSERT_OK_AND_ASSIGN(Fd here, OpenFile(".", O_RDONLY | O_DIRECTORY));
  ASSERT_EQ(::chdir(dir_.path().c_str()), 0);
  auto store = Open({.path = "root"});
  ASSERT_EQ(::chdir("/"), 0);
  EXPECT_OK(store->Put("k", {}));
  ASSERT_EQ(::fchdir(here.get()), 0);
  EXPECT_THAT(Keys(), ElementsAre("k"));
}

}  // namespace
}  // namespace sqlite_s3

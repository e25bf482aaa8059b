#include "common/os/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FileTest : public ::testing::Test {
 protected:
  std::string File(std::string_view name) const { return dir_.File(name); }
  void Write(std::string_view name, std::string_view text) {
    ASSERT_OK(WriteFileAtomically(File(name), AsBytes(text), 0600, Durability::kVisible));
  }
  std::string Read(std::string_view name) {
    Result<Bytes> bytes = ReadFile(File(name), 1 << 20);
    return bytes.ok() ? std::string(AsText(*bytes)) : bytes.status().ToString();
  }
  TempDir dir_;
};

TEST_F(FileTest, AnAtomicWriteCreatesReplacesAndLeavesNoTemporaryFile) {
  for (Durability durability : {Durability::kVisible, Durability::kDurable}) {
    ASSERT_OK(WriteFileAtomically(File("f"), AsBytes("a longer first text"), 0600, durability));
    ASSERT_OK(WriteFileAtomically(File("f"), AsBytes("second"), 0600, durability));
    EXPECT_EQ(Read("f"), "second");
  }
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> names, ListDirectory(dir_.path()));
  EXPECT_THAT(names, ElementsAre("f"));
}

TEST_F(FileTest, AnAtomicWriteHasTheModeAsked) {
  ASSERT_OK(WriteFileAtomically(File("secret"), AsBytes("x"), 0600, Durability::kVisible));
  struct stat st;
  ASSERT_EQ(::stat(File("secret").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(FileTest, AnAtomicWriteThatFailsLeavesTheOldFileAndNoTemporaryOne) {
  ASSERT_EQ(::mkdir(File("dir").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir(File("dir/x").c_str(), 0700), 0);
  EXPECT_STATUS(WriteFileAtomically(File("dir/x"), AsBytes("x"), 0600, Durability::kDurable),
                StatusCode::kFailedPrecondition);
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> names, ListDirectory(File("dir")));
  EXPECT_THAT(names, ElementsAre("x"));
  EXPECT_STATUS(WriteFileAtomically(File("no/x"), {}, 0600, Durability::kVisible),
                StatusCode::kNotFound);
}

TEST_F(FileTest, AnAtomicWriteReplacesASymlinkAndLeavesItsTarget) {
  Write("target", "theirs");
  ASSERT_EQ(::symlink(File("target").c_str(), File("link").c_str()), 0);
  ASSERT_OK(WriteFileAtomically(File("link"), AsBytes("ours"), 0600, Durability::kVisible));
  EXPECT_EQ(Read("target"), "theirs");
  EXPECT_EQ(Read("link"), "ours");
}

TEST_F(FileTest, ReadFileIsBounded) {
  Write("f", "12345");
  EXPECT_OK(ReadFile(File("f"), 5));
  EXPECT_STATUS(ReadFile(File("f"), 4), StatusCode::kResourceExhausted);
  ASSERT_OK_AND_ASSIGN(Fd fd, OpenFile(File("giant"), O_WRONLY | O_CREAT, 0600));
  ASSERT_OK(TruncateFile(fd, uint64_t{1} << 42, "giant"));
  EXPECT_STATUS(ReadFile(File("giant"), 1 << 20), StatusCode::kResourceExhausted);
}

TEST_F(FileTest, ReadFileReadsFilesThatDoNotKnowTheirSize) {
  ASSERT_OK_AND_ASSIGN(Bytes bytes, ReadFile("/proc/self/status", 1 << 20));
  EXPECT_THAT(std::string(AsText(bytes)), HasSubstr("Pid:"));
  EXPECT_STATUS(ReadFile("/proc/self/status", 10), StatusCode::kResourceExhausted);
}

TEST_F(FileTest, ReadFileRefusesWhatIsNotAFile) {
  EXPECT_STATUS(ReadFile(File("absent"), 10), StatusCode::kNotFound);
  EXPECT_STATUS(ReadFile(dir_.path(), 10), StatusCode::kFailedPrecondition);
  ASSERT_EQ(::mkfifo(File("fifo").c_str(), 0600), 0);
  EXPECT_STATUS(ReadFile(File("fifo"), 10), StatusCode::kFailedPrecondition);
}

TEST_F(FileTest, ErrorsNameThePath) {
  EXPECT_THAT(ReadFile(File("absent"), 10).status().message(), HasSubstr(File("absent")));
}

TEST_F(FileTest, ReadsStopAtTheEndAndExactReadsSaySo) {
  Write("f", "0123456789");
  ASSERT_OK_AND_ASSIGN(Fd fd, OpenFile(File("f"), O_RDWR));
  Bytes out(4);
  ASSERT_OK_AND_ASSIGN(size_t n, ReadAt(fd, 8, out, "f"));
  EXPECT_EQ(n, 2u);
  ASSERT_OK_AND_ASSIGN(size_t none, ReadAt(fd, 100, out, "f"));
  EXPECT_EQ(none, 0u);
  EXPECT_OK(ReadExactlyAt(fd, 6, out, "f"));
  EXPECT_EQ(AsText(out), "6789");
  EXPECT_STATUS(ReadExactlyAt(fd, 7, out, "f"), StatusCode::kCorruption);
  EXPECT_STATUS(ReadAt(fd, ~uint64_t{0}, out, "f"), StatusCode::kInvalidArgument);
  EXPECT_STATUS(WriteAt(fd, (uint64_t{1} << 63) - 2, out, "f"), StatusCode::kInvalidArgument);
}

TEST_F(FileTest, WritesGoWhereTheyAreTold) {
  ASSERT_OK_AND_ASSIGN(Fd fd, OpenFile(File("f"), O_RDWR | O_CREAT, 0600));
  ASSERT_OK(WriteAll(fd, AsBytes("ab"), "f"));
  ASSERT_OK(WriteAll(fd, AsBytes("cd"), "f"));
  ASSERT_OK(WriteAt(fd, 1, AsBytes("XY"), "f"));
  ASSERT_OK(SyncFile(fd, "f"));
  EXPECT_EQ(Read("f"), "aXYd");
  ASSERT_OK(TruncateFile(fd, 2, "f"));
  ASSERT_OK_AND_ASSIGN(uint64_t size, FileSize(fd, "f"));
  EXPECT_EQ(size, 2u);
}

TEST_F(FileTest, MakeDirectoriesMakesAllOfThemAndAcceptsWhatIsThere) {
  ASSERT_OK(MakeDirectories(File("a/b//c/"), 0700, Durability::kDurable));
  ASSERT_OK(MakeDirectories(File("a/b/c"), 0700, Durability::kDurable));
  ASSERT_OK(MakeDirectories("/", 0700, Durability::kDurable));
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> names, ListDirectory(File("a/b")));
  EXPECT_THAT(names, ElementsAre("c"));
  Write("file", "");
  EXPECT_STATUS(MakeDirectories(File("file"), 0700, Durability::kVisible),
                StatusCode::kFailedPrecondition);
  EXPECT_STATUS(MakeDirectories(File("file/x"), 0700, Durability::kVisible),
                StatusCode::kFailedPrecondition);
}

TEST_F(FileTest, ListDirectoryIsInByteOrder) {
  for (const char* name : {"b", "a", ".x", "Z", "a-", "a.b"}) {
    Write(name, "");
  }
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> names, ListDirectory(dir_.path()));
  EXPECT_THAT(names, ElementsAre(".x", "Z", "a", "a-", "a.b", "b"));
  EXPECT_STATUS(ListDirectory(File("absent")), StatusCode::kNotFound);
}

TEST_F(FileTest, RemovingNothingIsOk) {
  Write("f", "");
  EXPECT_OK(RemoveFile(File("f")));
  EXPECT_OK(RemoveFile(File("f")));
  ASSERT_OK_AND_ASSIGN(bool exists, FileExists(File("f")));
  EXPECT_FALSE(exists);
}

TEST_F(FileTest, RenameMovesBetweenFolders) {
  Write("f", "x");
  ASSERT_OK(MakeDirectories(File("d"), 0700, Durability::kVisible));
  ASSERT_OK(RenameFile(File("f"), File("d/g"), Durability::kDurable));
  EXPECT_EQ(Read("d/g"), "x");
  EXPECT_STATUS(RenameFile(File("f"), File("d/h"), Durability::kDurable), StatusCode::kNotFound);
}

TEST_F(FileTest, FreeDiskSpaceIsOfTheFilesystemOfThePath) {
  ASSERT_OK_AND_ASSIGN(uint64_t free, FreeDiskSpace(dir_.path()));
  EXPECT_GT(free, 0u);
  EXPECT_STATUS(FreeDiskSpace(File("absent")), StatusCode::kNotFound);
}

TEST(DirectoryOfTest, FollowsTheRulesOfDirname) {
  EXPECT_EQ(DirectoryOf(""), ".");
  EXPECT_EQ(DirectoryOf("x"), ".");
  EXPECT_EQ(DirectoryOf("/x"), "/");
  EXPECT_EQ(DirectoryOf("a/b"), "a");
  EXPECT_EQ(DirectoryOf("/a/b"), "/a");
}

TEST(FdTest, OwnsOneDescriptor) {
  ASSERT_OK_AND_ASSIGN(Fd fd, OpenFile("/", O_RDONLY | O_DIRECTORY));
  const int number = fd.get();
  EXPECT_NE(::fcntl(number, F_GETFD) & FD_CLOEXEC, 0);
  Fd other = std::move(fd);
  EXPECT_FALSE(fd.valid());  // NOLINT(bugprone-use-after-move): what this test is about
  EXPECT_EQ(other.get(), number);
  other.Close();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace sqlite_s3

// sqlite-s3-restore as a program: arguments, exit codes, what it prints and what it leaves.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/format/keys.h"
#include "tests/integration/restore_program.h"

extern char** environ;

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST_F(RestoreProgramTest, RestoresTheLatestCommitBothWays) {
  Commits(5);
  for (const char* via : {"pages", "checkpoint"}) {
    const ProgramResult result =
        Run({replica_, "-o", output_, "--via", via, "--verify", "full", "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.out;
    EXPECT_EQ(Output(), Reference(Last()));
    EXPECT_THAT(Files(), ElementsAre("app.db"));
    const auto json = Json(result);
    EXPECT_EQ(json["txid"], FormatTxid(Last()));
    EXPECT_EQ(json["via"], via);
    EXPECT_EQ(json["page_count"], history().PageCountAt(Last()));
    EXPECT_FALSE(json.contains("next_txid"));
    ASSERT_OK(RemoveFile(output_));
  }
}

TEST_F(RestoreProgramTest, RestoresToTimesTxidsAndMarks) {
  Commits(9);  // TXID n at the start plus n - 1 seconds: 2025-10-09T08:53:20Z
  history().MakeMark("before", Txid{4});
  const struct {
    const char* until;
    uint64_t txid;
  } kCases[] = {{"latest", 10},
                {"txid:3", 3},
                {"0000000000000007", 7},
                {"mark:before", 4},
                {"2025-10-09T08:53:24Z", 5},
                {"2025-10-09 08:53:24.999999", 5},
                {"2025-10-09 10:53:25.5+02:00", 6}};
  for (const auto& c : kCases) {
    const ProgramResult result =
        Run({"file://" + replica_, "-o", output_, "--until", c.until, "--json"});
    ASSERT_EQ(result.exit_code, 0) << c.until << result.out;
    EXPECT_EQ(Json(result)["txid"], FormatTxid(Txid{c.txid})) << c.until;
    EXPECT_EQ(Output(), Reference(Txid{c.txid})) << c.until;
    ASSERT_OK(RemoveFile(output_));
  }
  EXPECT_EQ(Run({replica_, "-o", output_, "--until", "2025-10-09 10:53:24"},
                {{"TZ", "CET-1CEST,M3.5.0,M10.5.0/3"}})
                .exit_code,
            0)
      << "local time";
  EXPECT_EQ(Output(), Reference(Txid{5}));
}

TEST_F(RestoreProgramTest, SaysWhatItChoseOnStandardError) {
  Commits(5);
  const std::string text = ErrorText(replica_ + " -o " + output_ + " --until txid:4");
  EXPECT_THAT(text, HasSubstr("TXID 0000000000000004 of timeline 1"));
  EXPECT_THAT(text, HasSubstr("2025-10-09 08:53:23.000000 +0000"));
  EXPECT_THAT(text, HasSubstr("next commit is TXID 0000000000000005"));
  EXPECT_THAT(text, HasSubstr("checksum equal"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("\r"))) << "no progress where there is no terminal";
}

TEST_F(RestoreProgramTest, FailsWithTheFixedExitCodesAndNamesTheObject) {
  Commits(2);
  Commits(2);
  Commits(2);
  const auto code = [&](std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const ProgramResult result = Run(std::move(arguments));
    const auto json = Json(result);
    EXPECT_EQ(json["error"]["exit_code"], result.exit_code);
    EXPECT_FALSE(json["error"]["message"].get<std::string>().empty());
    EXPECT_THAT(Files(), IsEmpty());
    return result.exit_code;
  };
  EXPECT_EQ(code({replica_, "-o", output_, "--until", "yesterday"}), 2);
  EXPECT_EQ(code({replica_, "-o", output_, "--timeline", "x"}), 2);
  EXPECT_EQ(code({replica_, "-o", output_, "--max-size", "big"}), 2);
  EXPECT_EQ(code({"gopher://x", "-o", output_}), 2);
  EXPECT_EQ(code({replica_ + "/none", "-o", output_}), 3);
  EXPECT_EQ(code({replica_, "-o", output_, "--until", "txid:99"}), 3);
  EXPECT_EQ(code({replica_, "-o", output_, "--until", "mark:none"}), 3);
  EXPECT_EQ(code({replica_, "-o", output_, "--timeline", "7"}), 3);
  EXPECT_EQ(code({replica_, "-o", output_, "--until", "2001-01-01 00:00:00Z"}), 3);
  EXPECT_EQ(code({replica_, "-o", target_.File("no/such/app.db")}), 3);
  EXPECT_EQ(code({replica_, "-o", output_, "--max-size", "4KiB"}), 9);

  const std::string segment = history().segment_keys()[2];
  ASSERT_OK_AND_ASSIGN(const Bytes whole, store_->Get(segment, kMaxSegmentBytes));
  ASSERT_OK(store_->Put(segment, Bytes{1, 2, 3}));
  EXPECT_EQ(code({replica_, "-o", output_}), 5);
  ASSERT_OK(store_->Delete(segment));
  EXPECT_EQ(code({replica_, "-o", output_}), 6);
  const auto error = Json(Run({replica_, "-o", output_, "--json"}))["error"];
  EXPECT_EQ(error["code"], "gap");
  EXPECT_EQ(error["object"], segment);
  EXPECT_EQ(error["missing"], true);
  EXPECT_EQ(error["best_txid"], "0000000000000003");
  EXPECT_THAT(error["hint"].get<std::string>(), HasSubstr("--until txid:0000000000000003"));
  EXPECT_EQ(Run({replica_, "-o", output_, "--until", "txid:3"}).exit_code, 0) << "as the hint says";
  ASSERT_OK(RemoveFile(output_));

  ASSERT_OK(store_->Put(segment, whole));
  history().Branch(Txid{5}, false);
  history().Grow(1);
  EXPECT_EQ(code({replica_, "-o", output_}), 4) << "two lines live";
}

TEST_F(RestoreProgramTest, RefusesBadCommandLines) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{replica_},
                                                    {"-o", output_},
                                                    {replica_, "-o", output_, "--frob"},
                                                    {replica_, "-o", output_, "--via", "magic"},
                                                    {replica_, "-o", output_, "--parallel", "0"},
                                                    {"list"},
                                                    {"verify", replica_, "--force"},
                                                    {replica_, "-o", "-", "--json"}}) {
    EXPECT_EQ(Run(arguments).exit_code, 2) << ::testing::PrintToString(arguments);
  }
  EXPECT_THAT(Files(), IsEmpty());
  const ProgramResult json = Run({replica_, "-o", output_, "--frob", "--json"});
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_EQ(Json(json)["error"]["code"], "invalid argument");
  EXPECT_EQ(Run({"--help"}).exit_code, 0);
  EXPECT_THAT(Run({"--version"}).out, StartsWith("sqlite-s3-restore "));
}

TEST_F(RestoreProgramTest, ExistingTargets) {
  Commits(3);
  ASSERT_EQ(Run({replica_, "-o", output_, "--until", "txid:2"}).exit_code, 0);
  EXPECT_EQ(Run({replica_, "-o", output_}).exit_code, 4);
  EXPECT_EQ(Run({replica_, "-o", output_, "--if-not-exists"}).exit_code, 0);
  EXPECT_EQ(Output(), Reference(Txid{2}));
  const ProgramResult forced = Run({replica_, "-o", output_, "--force", "--json"});
  ASSERT_EQ(forced.exit_code, 0);
  EXPECT_EQ(Output(), Reference(Last()));
  const std::string aside = Json(forced)["moved_aside"][0];
  EXPECT_EQ(*ReadFile(aside, 1 << 30), Reference(Txid{2}));
}

TEST_F(RestoreProgramTest, ADryRunSaysWhatItWouldFetch) {
  Commits(3);
  const ProgramResult result = Run({replica_, "-o", output_, "--dry-run", "--json"});
  ASSERT_EQ(result.exit_code, 0);
  EXPECT_EQ(Json(result)["txid"], FormatTxid(Last()));
  EXPECT_EQ(Json(result)["commits"], 3);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(RestoreProgramTest, WritesToStandardOutput) {
  Commits(5);
  const ProgramResult result = Run({replica_, "-o", "-", "--until", "txid:4"});
  ASSERT_EQ(result.exit_code, 0);
  EXPECT_EQ(Bytes(result.out.begin(), result.out.end()), Reference(Txid{4}));
  EXPECT_THAT(FilesIn(scratch_), IsEmpty());
}

TEST_F(RestoreProgramTest, WritesNothingToStandardOutputBeforeTheProof) {
  Commits(2);
  Commits(2);
  ASSERT_OK(store_->Put(history().segment_keys()[2], Bytes{1}));
  const ProgramResult result = Run({replica_, "-o", "-"});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(FilesIn(scratch_), IsEmpty());
}

TEST_F(RestoreProgramTest, AReaderThatGoesAwayIsAnErrorThatLeavesNothing) {
  source_->Run("INSERT INTO t(a, b) VALUES('big', randomblob(1000000))");
  history().Cut();
  std::string script("(");
  script.append(SQLITE_S3_RESTORE_PROGRAM).append(" ").append(replica_);
  script.append(" -o -; echo $? >").append(target_.File("code"));
  script.append(") | head -c 10 >/dev/null");
  const ProgramResult result = RunProgram({"/bin/sh", "-c", script}, {{"TMPDIR", scratch_.path()}});
  EXPECT_EQ(result.exit_code, 0);
  const Bytes code = *ReadFile(target_.File("code"), 100);
  EXPECT_THAT(std::string(AsText(code)), ::testing::AnyOf("70\n", "7\n"));
  EXPECT_THAT(FilesIn(scratch_), IsEmpty());
}

TEST_F(RestoreProgramTest, ASignalRemovesTheTemporaryFileAndIsTheExitCode) {
  // More than a pipe holds: once the first byte is there, the program is proved and cannot finish.
  source_->Run("INSERT INTO t(a, b) VALUES('big', randomblob(1000000))");
  history().Cut();
  for (const int signal_number : {SIGINT, SIGTERM}) {
    int fds[2];
    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    Fd read_end(fds[0]);
    Fd write_end(fds[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    std::vector<std::string> command = Command({replica_, "-o", "-"});
    std::vector<char*> argv;
    for (std::string& word : command) {
      argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    const std::string old_tmpdir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    setenv("TMPDIR", scratch_.path().c_str(), 1);
    pid_t pid = 0;
    ASSERT_EQ(posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ), 0);
    setenv("TMPDIR", old_tmpdir.c_str(), 1);
    posix_spawn_file_actions_destroy(&actions);
    write_end.Close();
    char byte = 0;
    ASSERT_EQ(read(read_end.get(), &byte, 1), 1);
    EXPECT_EQ(FilesIn(scratch_).size(), 1u);
    ASSERT_EQ(kill(pid, signal_number), 0);
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 128 + signal_number);
    EXPECT_THAT(FilesIn(scratch_), IsEmpty());
  }
}

TEST_F(RestoreProgramTest, ADamagedImageIsPassedOverAndNamed) {
  Commits(4);
  history().MakeImage(Last());
  Commits(2);
  auto parts = ListAll(*store_, keys::ImagePrefix(TimelineId{1}, Txid{5}));
  ASSERT_OK(parts);
  ASSERT_OK(store_->Delete((*parts)[0].key));
  const ProgramResult result = Run({replica_, "-o", output_, "--json"});
  ASSERT_EQ(result.exit_code, 0);
  EXPECT_EQ(Output(), Reference(Last()));
  EXPECT_EQ(Json(result)["image_txid"], "0000000000000001");
  EXPECT_THAT(Json(result)["problems"][0].get<std::string>(), HasSubstr((*parts)[0].key));
}

TEST_F(RestoreProgramTest, DoesNotWriteToTheReplica) {
  Commits(3);
  const auto listing = [&] { return RunProgram({"/usr/bin/find", replica_, "-ls"}).out; };
  RunProgram({"/bin/chmod", "-R", "a-w", replica_});
  const std::string before = listing();
  EXPECT_EQ(Run({replica_, "-o", output_}).exit_code, 0);
  EXPECT_EQ(Run({"verify", replica_}).exit_code, 0);
  EXPECT_EQ(listing(), before);
  RunProgram({"/bin/chmod", "-R", "u+w", replica_});
}

// --- list, info, verify
// ------------------------------------------------------------------------------

class ReplicaReportTest : public RestoreProgramTest {
 protected:
  void SetUp() override {
    RestoreProgramTest::SetUp();
    for (int i = 0; i < 10; ++i) {
      Commits(2);  // 2..21
    }
    history().MakeImage(Txid{9});
    history().MakeMark("before", Txid{12});
  }
  // The TXIDs that `list` shows.
  std::vector<uint64_t> Listed(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"list", replica_, "--json"});
    const ProgramResult result = Run(std::move(arguments));
    EXPECT_EQ(result.exit_code, 0);
    std::vector<uint64_t> txids;
    const auto json = Json(result);
    for (const auto& point : json["points"]) {
      txids.push_back(ParseTxid(point["txid"].get<std::string>())->value);
    }
    return txids;
  }
};

TEST_F(ReplicaReportTest, ListShowsWhatIsWithinItsBounds) {
  EXPECT_EQ(Listed({}).size(), 21u);
  EXPECT_THAT(Listed({"--limit", "3"}), ElementsAre(19, 20, 21));
  EXPECT_THAT(Listed({"--until", "txid:4"}), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Listed({"--since", "txid:14"}), ElementsAre(20, 21));
  EXPECT_THAT(Listed({"--since", "mark:before", "--until", "txid:e"}), ElementsAre(12, 13, 14));
  EXPECT_THAT(Listed({"--until", "txid:10", "--limit", "2"}), ElementsAre(15, 16));
  EXPECT_THAT(Listed({"--since", "2025-10-09T08:53:30Z", "--until", "2025-10-09T08:53:32Z"}),
              ElementsAre(11, 12, 13));
  EXPECT_THAT(Listed({"--until", "2025-10-09T08:53:21Z"}), ElementsAre(1, 2));
  EXPECT_THAT(Listed({"--since", "txid:99"}), IsEmpty());
  EXPECT_EQ(Json(Run({"list", replica_, "--json", "--limit", "2"}))["restore_points"], 21);
}

TEST_F(ReplicaReportTest, ListShowsTimesMarksAndImages) {
  const auto json = Json(Run({"list", replica_, "--json"}));
  EXPECT_EQ(json["points"][11]["mark"], "before");
  EXPECT_EQ(json["points"][11]["time"], "2025-10-09T08:53:31.000000Z");
  EXPECT_EQ(json["points"][8]["image"], true);
  EXPECT_EQ(json["points"][9]["image"], false);
  EXPECT_EQ(json["marks"][0]["name"], "before");
  EXPECT_EQ(json["timelines"].size(), 1u);
  const std::string text = Run({"list", replica_}).out;
  EXPECT_THAT(text, HasSubstr("mark:before"));
  EXPECT_THAT(text, HasSubstr("21 restore points"));
}

TEST_F(ReplicaReportTest, ListShowsWhatComesBeforeDamageAndFails) {
  ASSERT_OK(store_->Delete(history().segment_keys()[3]));
  const ProgramResult result = Run({"list", replica_, "--json"});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_EQ(Json(result)["points"].size(), 5u);
  EXPECT_THAT(Json(result)["problems"][0].get<std::string>(),
              HasSubstr(history().segment_keys()[3]));
}

TEST_F(ReplicaReportTest, ListNeedsNoLogBeforeTheImageThatItStartsFrom) {
  ASSERT_OK(store_->Delete(history().segment_keys()[2]));
  EXPECT_THAT(Listed({"--limit", "3"}), ElementsAre(19, 20, 21));
}

TEST_F(ReplicaReportTest, InfoIsTheReplicaInOneGlance) {
  const ProgramResult result = Run({"info", replica_, "--json"});
  ASSERT_EQ(result.exit_code, 0);
  const auto json = Json(result);
  EXPECT_EQ(json["database_id"], FormatDatabaseId(history().document().database_id));
  EXPECT_EQ(json["latest_txid"], FormatTxid(Txid{21}));
  EXPECT_EQ(json["oldest_txid"], FormatTxid(Txid{1}));
  EXPECT_EQ(json["segments"], 11);
  EXPECT_EQ(json["images"], 2);
  EXPECT_EQ(json["marks"], 1);
  EXPECT_THAT(Run({"info", replica_}).out, HasSubstr("latest_txid"));
}

TEST_F(ReplicaReportTest, VerifyFindsDamageAndSaysWhatIsRestorable) {
  EXPECT_EQ(Run({"verify", replica_}).exit_code, 0);
  ASSERT_OK(store_->Delete(history().segment_keys()[2]));
  ProgramResult result = Run({"verify", replica_, "--json"});
  EXPECT_EQ(result.exit_code, 6);
  auto json = Json(result);
  EXPECT_EQ(json["ok"], false);
  EXPECT_EQ(json["damages"][0]["object"], history().segment_keys()[2]);
  ASSERT_EQ(json["restorable"].size(), 2u);
  EXPECT_EQ(json["restorable"][0]["last_txid"], FormatTxid(Txid{3}));
  EXPECT_EQ(json["restorable"][1]["first_txid"], FormatTxid(Txid{9}));
  ASSERT_OK(store_->Put(history().segment_keys()[8], Bytes{1}));
  result = Run({"verify", replica_});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.out, HasSubstr("timeline 1: TXID 0000000000000009 to"));
  EXPECT_THAT(FilesIn(scratch_), IsEmpty());
}

}  // namespace
}  // namespace sqlite_s3

// To which commit statements are bound when the WAL is begun anew around it. The frames and salts
// are SQLite's own; what capture would know of them is said by the test.

#include "agent/hook/statement_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "tests/agent/hook/app.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

class StatementRecorderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    app_.Create(path_);
    other_.Open(path_);
    for (App* app : {&app_, &other_}) {
      app->Do("PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF");
    }
    recorder_.emplace(app_.db(), /*values=*/true);
    sqlite3_trace_v2(app_.db(), SQLITE_TRACE_STMT, OnTrace, this);
    sqlite3_wal_hook(app_.db(), OnWal, this);
  }
  void TearDown() override {
    sqlite3_trace_v2(app_.db(), 0, nullptr, nullptr);
    sqlite3_wal_hook(app_.db(), nullptr, nullptr);
    recorder_.reset();
  }

  static int OnTrace(unsigned, void* self, void* statement, void* text) {
    auto* test = static_cast<StatementRecorderTest*>(self);
    test->recorder_->OnStatement(test->inbox_, static_cast<sqlite3_stmt*>(statement),
                                 static_cast<const char*>(text));
    std::exchange(test->after_trace_, nullptr)();
    test->after_trace_ = [] {};
    return 0;
  }
  static int OnWal(void* self, sqlite3*, const char*, int frames) {
    auto* test = static_cast<StatementRecorderTest*>(self);
    test->frames_ = static_cast<uint32_t>(frames);
    std::exchange(test->before_hook_, nullptr)();
    test->before_hook_ = [] {};
    test->recorder_->OnCommit(test->inbox_, test->frames_);
    return SQLITE_OK;
  }

  // Where the last commit of the WAL lies.
  CommitPlace Last() {
    auto view = WalIndexView::Attach(other_.db());
    EXPECT_TRUE(view.ok());
    const auto header = view->ReadHeader();
    return {header->salt1, header->salt2, header->max_frame};
  }
  // What is in the WAL goes into the database, and the next commit begins the WAL anew.
  void Checkpoint() { other_.Do("PRAGMA wal_checkpoint(PASSIVE)"); }
  // Commits of the other connection, so many frames long.
  void OthersUpTo(uint32_t frame) {
    while (Last().frame < frame) {
      other_.Do("INSERT INTO t VALUES(0)");
    }
  }
  // The first statement bound to the commit at `place`, when the WAL before it ended at `before`.
  std::string Bound(const CommitPlace& place, std::optional<CommitPlace> before) {
    auto taken = inbox_.Take({{place, before}});
    return taken[0] && !taken[0]->statements.empty() ? taken[0]->statements[0].sql : "none";
  }

  TempDir directory_;
  const std::string path_ = directory_.File("app.db");
  App app_, other_;
  StatementInbox inbox_{1 << 20};
  std::optional<StatementRecorder> recorder_;
  uint32_t frames_ = 0;
  std::function<void()> after_trace_ = [] {}, before_hook_ = [] {};
  const std::string small_ = "INSERT INTO t VALUES('small')";
  const std::string large_ = "INSERT INTO t VALUES(zeroblob(100000))";
};

TEST_F(StatementRecorderTest, ACommitLongerThanTheWalBeforeItIsBoundToTheWalItBegins) {
  app_.Do(small_);
  const CommitPlace before = Last();
  Checkpoint();
  app_.Do(large_);
  const CommitPlace place = Last();
  ASSERT_EQ(place.salt1, before.salt1 + 1);
  ASSERT_GT(place.frame, before.frame);
  EXPECT_EQ(Bound(place, before), large_);
}

TEST_F(StatementRecorderTest, ACommitThatFitsBothWalsIsBoundToNone) {
  app_.Do(small_);
  CommitPlace before;
  after_trace_ = [&] {  // the others go on while it waits for its turn
    OthersUpTo(40);
    before = Last();
    Checkpoint();
  };
  app_.Do(large_);
  ASSERT_EQ(Last().salt1, before.salt1 + 1);
  ASSERT_LT(Last().frame, before.frame);
  EXPECT_EQ(Bound(Last(), before), "none");
}

TEST_F(StatementRecorderTest, ACommitThatFitsBothWalsIsBoundToNoneWhereAWalWasMissed) {
  app_.Do(small_);
  Checkpoint();
  app_.Do(large_);
  EXPECT_EQ(Bound(Last(), std::nullopt), "none");
}

TEST_F(StatementRecorderTest, ACommitWhoseWalIsBegunAnewBeforeItsHookIsBoundToTheOlder) {
  app_.Do(small_);
  CommitPlace place;
  before_hook_ = [&] {
    place = Last();
    Checkpoint();
    other_.Do(small_);
  };
  app_.Do(large_);
  ASSERT_EQ(Last().salt1, place.salt1 + 1);
  EXPECT_EQ(Bound(place, std::nullopt), large_);
}

TEST_F(StatementRecorderTest, ACommitBehindTwoWalsBegunAnewIsBoundToNone) {
  OthersUpTo(30);
  CommitPlace place;
  before_hook_ = [&] {
    place = Last();
    for (int i = 0; i < 2; ++i) {
      Checkpoint();
      other_.Do(small_);
      OthersUpTo(place.frame);
    }
  };
  app_.Do(small_);
  const CommitPlace newest = Last();
  ASSERT_EQ(newest.salt1, place.salt1 + 2);
  for (const CommitPlace& p :
       {place, CommitPlace{newest.salt1, newest.salt2, place.frame}, newest}) {
    EXPECT_EQ(Bound(p, std::nullopt), "none");
  }
}

TEST_F(StatementRecorderTest, TheFirstCommitOfTheFirstWalIsBound) {
  // No connection has the database: the last one to leave removed the WAL.
  TearDown();
  ASSERT_EQ(app_.Close(), SQLITE_OK);
  ASSERT_EQ(other_.Close(), SQLITE_OK);
  other_.Open(path_);
  EXPECT_EQ(other_.Ask("SELECT count(*) FROM t"), "0");
  const CommitPlace nothing = Last();
  ASSERT_EQ(nothing.salt1, 0u);
  app_.Open(path_);
  recorder_.emplace(app_.db(), /*values=*/true);
  sqlite3_trace_v2(app_.db(), SQLITE_TRACE_STMT, OnTrace, this);
  sqlite3_wal_hook(app_.db(), OnWal, this);
  app_.Do(small_);
  EXPECT_EQ(Bound(Last(), nothing), small_);
}

}  // namespace
}  // namespace sqlite_s3

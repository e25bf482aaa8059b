// What happens to the machine under an engine that runs: what it needs is refused, its state
// directory goes away, its clock jumps.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "agent/ship/shared_block.h"
#include "agent/ship/state_dir.h"
#include "common/os/file.h"
#include "common/os/file_lock.h"
#include "tests/support/replayer.h"
#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

constexpr auto kLong = std::chrono::milliseconds(60'000);

void Begin(ShippedDatabase& db) {
  db.Exec("create table t(id integer primary key, b)");
  db.Start();
  db.Sync();
  db.WaitForImage();
}

void Insert(ShippedDatabase& db, int commits) {
  for (int i = 0; i < commits; ++i) {
    db.Exec("insert into t(b) values(randomblob(700))");
  }
}

size_t CountOf(const std::vector<std::string>& lines, const std::string& part) {
  return static_cast<size_t>(std::count_if(lines.begin(), lines.end(),
                                           [&](const auto& l) { return l.find(part) != l.npos; }));
}

// Two lines for each try, every two seconds, for as long as a disk was full.
TEST(MachineTest, AReasonThatStaysIsToldOnceHoweverOftenItIsTried) {
  ShippedDatabase::Options options;
  options.first_retry = std::chrono::milliseconds(1);
  ShippedDatabase db(options);
  Begin(db);
  db.engine().PrepareFork();
  std::atomic<int> refused{0};
  db.faults().SetHook([&](StoreOp, std::string_view, int) {
    ++refused;
    return PermissionDeniedError("keys expired");
  });
  db.engine().ParentAfterFork();
  while (refused < 6) {
    std::this_thread::yield();
  }
  db.faults().SetHook(nullptr);
  Insert(db, 3);
  db.Note();
  db.Sync();
  const std::vector<std::string> log = db.log();
  EXPECT_EQ(CountOf(log, "keys expired"), 1u);
  EXPECT_EQ(std::count(log.begin(), log.end(), "starting"), 2);  // at first, and after the fork
  EXPECT_EQ(std::count(log.begin(), log.end(), "shipping"), 2);
  db.CheckNoted();
  db.CheckHead();
}

// The lock was that of a file without a name: a second agent shipped the same database.
TEST(MachineTest, AStateDirectoryThatWasRemovedIsMadeAnewAndLocked) {
  ShippedDatabase db;
  Begin(db);
  Insert(db, 3);
  db.Note();
  db.Sync();
  const auto writer = [&] {
    auto dir = StateDir::Open(db.state_dir());
    auto identity = dir->LoadIdentity();
    return (*identity)->writer;
  };
  const WriterId before = writer();
  std::filesystem::remove_all(db.state_dir());
  Insert(db, 3);
  while (!std::filesystem::exists(db.state_dir() + "/identity")) {
    db.engine().Notify(true);
    std::this_thread::yield();
  }
  EXPECT_STATUS(FileLock::TryAcquire(db.state_dir() + "/lock").status(),
                StatusCode::kFailedPrecondition);
  EXPECT_TRUE(writer() == before);
  Insert(db, 3);
  db.Note();
  db.Sync();
  db.CheckNoted();
  db.CheckHead();
  db.Stop();
  db.Start();  // it knows itself
  db.Sync();
  EXPECT_EQ(db.engine().GetStatus(false).timeline, 1u);
}

TEST(MachineTest, OfTwoEnginesOneShipsAfterTheStateDirectoryWasRemoved) {
  ShippedDatabase db;
  Begin(db);
  std::filesystem::remove_all(db.state_dir());
  EngineConfig config;
  config.database_path = db.path();
  config.options = db.options().ship;
  config.store = db.store();
  config.pool = db.pool();
  auto second = Engine::Start(config);
  ASSERT_OK(second.status());
  const auto is = [](Engine& engine, EngineState state) {
    return engine.GetStatus(false).state == state;
  };
  const auto one_ships = [&](Engine& a, Engine& b) {
    return is(a, EngineState::kShipping) && is(b, EngineState::kStandby);
  };
  while (!one_ships(db.engine(), **second) && !one_ships(**second, db.engine())) {
    db.engine().Notify(true);
    std::this_thread::yield();
  }
  Insert(db, 3);
  // The one that stands by waits at the same file as the one that ships.
  ASSERT_OK(db.engine().Sync(kLong, nullptr));
  ASSERT_OK((*second)->Sync(kLong, nullptr));
  db.CheckHead();
  ASSERT_OK((*second)->Stop(kLong));
  Insert(db, 3);
  db.Sync();
  db.CheckHead();
}

// A ticket of the file that is gone may have a number that the other one's has long passed.
TEST(SharedBlockTest, TicketsOfAFileThatIsGoneAreToldApart) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(auto block, SharedBlock::Open(dir.File("shared")));
  (*block)->captured_txid = 7;
  (*block)->sync_ticket = 3;
  SharedBlock::Layout* const address = &**block;
  ASSERT_OK(block->Reopen());
  EXPECT_EQ(block->mapping(), 0u);
  ASSERT_OK(RemoveFile(dir.File("shared")));
  ASSERT_OK(block->Reopen());
  EXPECT_EQ(block->mapping(), 1u);
  EXPECT_EQ(&**block, address);
  EXPECT_EQ((*block)->captured_txid, 7u);  // TXIDs that were told keep their meaning
  EXPECT_EQ((*block)->sync_ticket, 0u);
  ASSERT_OK_AND_ASSIGN(auto other, SharedBlock::Open(dir.File("shared")));
  (*other)->sync_ticket = 9;
  EXPECT_EQ((*block)->sync_ticket, 9u);
}

}  // namespace
}  // namespace sqlite_s3

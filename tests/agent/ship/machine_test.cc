// What happens to the machine under an engine that runs: what it needs is refused, its state
// directory goes away, its clock jumps.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "agent/ship/shared_block.h"
#include "agent/ship/state_dir.h"
#include "agent/ship/store_watch.h"
#include "agent/ship/work_pool.h"
#include "common/base/clock.h"
#include "common/os/file.h"
#include "common/os/file_lock.h"
#include "tests/support/full_disk.h"
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

// The file is for those who wait: nothing is in it that is not found out at a start.
TEST(MachineTest, AGarbledFileOfThoseWhoWaitIsMadeAnew) {
  ShippedDatabase db;
  Begin(db);
  db.Stop();
  const std::string shared = db.state_dir() + "/shared";
  ASSERT_OK(WriteFileAtomically(shared, Bytes(100'000, 0xa5), 0600, Durability::kVisible));
  db.Start();
  Insert(db, 1);
  db.Sync();
  db.CheckHead();
  EXPECT_EQ(CountOf(db.log(), "made anew: " + shared), 1u);
  db.Stop();
  // Not under a process that ships, nor when it is another version's.
  ASSERT_OK(WriteFileAtomically(shared, Bytes(100'000, 0xa5), 0600, Durability::kVisible));
  {
    ASSERT_OK_AND_ASSIGN(const FileLock other, FileLock::TryAcquire(db.state_dir() + "/lock"));
    EXPECT_STATUS(db.TryStart(), StatusCode::kCorruption);
  }
  ASSERT_OK(WriteFileAtomically(shared, Bytes{2, 0, 0, 0}, 0600, Durability::kVisible));
  EXPECT_STATUS(db.TryStart(), StatusCode::kFailedPrecondition);
}

// The start had the lock then, and its end told the others of it through a block that was not
// there.
TEST(MachineTest, AStartThatCannotMakeTheFileOfThoseWhoWaitAnewIsRefusedAlone) {
  ShippedDatabase db;
  Begin(db);
  db.Stop();
  const std::string shared = db.state_dir() + "/shared";
  ASSERT_OK(WriteFileAtomically(shared, Bytes(1'000'000, 0xa5), 0600, Durability::kVisible));
  {
    const FullDisk disk(1);
    EXPECT_STATUS(db.TryStart(), StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(CountOf(db.log(), "made anew: " + shared), 1u);
  ASSERT_OK(FileLock::TryAcquire(db.state_dir() + "/lock").status());
  db.Start();
  Insert(db, 1);
  db.Sync();
  db.CheckHead();
}

// It was taken for another process that ships: nobody did, and nothing said so.
TEST(MachineTest, ALockThatIsNoFileIsAnErrorThatNamesIt) {
  ShippedDatabase db;
  Begin(db);
  db.Stop();
  const std::string lock = db.state_dir() + "/lock";
  ASSERT_OK(RemoveFile(lock));
  ASSERT_TRUE(std::filesystem::create_directory(lock));
  const Status started = db.TryStart();
  EXPECT_STATUS(started, StatusCode::kFailedPrecondition);
  EXPECT_NE(started.message().find(lock), std::string::npos) << started.message();
  ASSERT_TRUE(std::filesystem::remove(lock));
  db.Start();
  Insert(db, 1);
  db.Sync();
  // Nor in its place while the engine runs.
  db.engine().PrepareFork();
  ASSERT_OK(RemoveFile(lock));
  ASSERT_TRUE(std::filesystem::create_directory(lock));
  db.engine().ParentAfterFork();
  while (db.engine().GetStatus(false).state != EngineState::kFailed) {
    std::this_thread::yield();
  }
  EXPECT_NE(db.engine().GetStatus(false).last_error.find(lock), std::string::npos);
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

class ShiftedClock : public Clock {
 public:
  int64_t WallMicros() const override { return Clock::Real().WallMicros() + shift_us; }
  int64_t MonotonicMicros() const override { return Clock::Real().MonotonicMicros(); }
  std::atomic<int64_t> shift_us{0};
};

// The next image was due a day and an interval later.
TEST(MachineTest, AClockThatIsSetBackPutsOffNoImageByMoreThanAnInterval) {
  constexpr int64_t kHour = int64_t{3600} * 1'000'000;
  ShiftedClock clock;
  ShippedDatabase::Options options;
  options.clock = &clock;
  options.ship.image_interval = std::chrono::milliseconds(1);
  ShippedDatabase db(options);
  Begin(db);
  for (const int64_t shift : {kHour, -24 * kHour}) {
    clock.shift_us = shift;
    const uint64_t images = db.engine().GetStatus(false).images;
    while (db.engine().GetStatus(false).images < images + 2) {
      Insert(db, 1);
      db.Note();
      db.Sync();
    }
  }
  db.DropNotesBeforeFirstImage();
  db.CheckNoted();
  db.CheckHead();
}

TEST(StoreWatchTest, AFewFindOutWhetherAStoreThatIsAwayAnswersAgain) {
  using For = StoreWatch::For;
  StoreWatches watches;
  const std::shared_ptr<StoreWatch> watch = watches.Of("http://a");
  std::vector<StoreWatch::Visit> visits;
  const auto enter = [&](For what) {
    auto visit = watch->Enter(what);
    if (visit) {
      visits.push_back(std::move(*visit));
    }
    return visits.size();
  };
  const auto end = [&](size_t visit, const Status& status) {
    visits[visit].Ended(status);
    visits.erase(visits.begin() + static_cast<ptrdiff_t>(visit));
  };
  for (size_t i = 1; i <= 50; ++i) {
    ASSERT_EQ(enter(For::kLog), i);
  }
  end(0, UnavailableError("timed out"));
  EXPECT_EQ(enter(For::kLog), 49u);
  EXPECT_EQ(enter(For::kImage), 50u);
  EXPECT_EQ(enter(For::kImage), 50u);
  EXPECT_TRUE(watches.Of("http://b")->Enter(For::kLog));
  for (int i = 0; i < 45; ++i) {
    end(0, DeadlineExceededError("timed out"));
  }
  EXPECT_EQ(enter(For::kLog), 5u);  // the image's, and four
  end(0, CancelledError("stopping"));
  EXPECT_EQ(enter(For::kLog), 5u);
  EXPECT_EQ(enter(For::kLog), 5u);
  visits.erase(visits.begin());  // one that threw has ended too, and tells nothing
  EXPECT_EQ(enter(For::kLog), 5u);
  EXPECT_EQ(enter(For::kLog), 5u);
  end(0, PermissionDeniedError("an answer"));
  EXPECT_EQ(enter(For::kLog), 5u);
  EXPECT_EQ(enter(For::kLog), 6u);
}

// A hundred databases whose store hung had all the threads, twenty seconds each, and those of a
// healthy store waited behind them, again and again.
TEST(StoreWatchTest, UploadsToAStoreThatHangsLeaveThreadsToOthers) {
  constexpr size_t kHanging = 7;
  WorkPool::MostThreads most = WorkPool::Defaults();
  most[static_cast<size_t>(WorkPool::Lane::kUpload)] = kHanging - 1;
  const auto pool = std::make_shared<WorkPool>(most);
  StoreWatches watches;
  std::vector<std::unique_ptr<ShippedDatabase>> databases;
  std::vector<std::shared_ptr<Engine>> engines;
  for (size_t i = 0; i <= kHanging; ++i) {
    ShippedDatabase& db = *databases.emplace_back(std::make_unique<ShippedDatabase>());
    db.Exec("create table t(id integer primary key, b)");
    EngineConfig config;
    config.database_path = db.path();
    config.options = db.options().ship;
    config.store = db.store();
    config.pool = pool;
    config.store_watch = watches.Of(i < kHanging ? "hangs" : "answers");
    ASSERT_OK_AND_ASSIGN(auto engine, Engine::Start(config));
    ASSERT_OK(engine->Sync(kLong, nullptr));
    engines.push_back(std::move(engine));
  }
  const std::shared_ptr<StoreWatch> watch = watches.Of("hangs");
  auto visit = watch->Enter(StoreWatch::For::kLog);
  ASSERT_TRUE(visit);
  visit->Ended(UnavailableError("timed out"));
  const auto commit = [&](size_t i) {
    Insert(*databases[i], 1);
    engines[i]->Notify(false);
  };
  for (size_t i = 0; i < kHanging; ++i) {
    databases[i]->faults().ResetCounts();
    databases[i]->faults().Block(StoreOp::kPutIfAbsent);
    commit(i);
  }
  const auto are_away = [&] {
    return std::count_if(engines.begin(), engines.end(), [](const auto& engine) {
      return engine->GetStatus(false).state == EngineState::kStoreAway;
    });
  };
  constexpr auto kAsk = static_cast<int64_t>(StoreWatch::kMostWhileAway[0]);
  while (are_away() < static_cast<int64_t>(kHanging) - kAsk) {
    std::this_thread::yield();
  }
  commit(kHanging);
  EXPECT_OK(engines[kHanging]->Sync(kLong, nullptr));
  const auto asked = [&] {
    int64_t count = 0;
    for (size_t i = 0; i < kHanging; ++i) {
      count += databases[i]->faults().Count(StoreOp::kPutIfAbsent);
    }
    return count;
  };
  while (asked() < kAsk) {
    std::this_thread::yield();  // they may, and are on their way
  }
  EXPECT_EQ(asked(), kAsk);
  for (size_t i = 0; i < kHanging; ++i) {
    databases[i]->faults().Release();
  }
  for (size_t i = 0; i <= kHanging; ++i) {
    EXPECT_OK(engines[i]->Sync(kLong, nullptr));
    EXPECT_OK(engines[i]->Stop(kLong));
    databases[i]->CheckHead();
  }
  engines.clear();
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

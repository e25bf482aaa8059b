// Room in the WAL that cannot be made: what the application and the operator see of it.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <string_view>
#include <thread>

#include "tests/support/shipped_database.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

bool LogHas(ShippedDatabase& db, std::string_view text) {
  const auto log = db.log();
  return std::ranges::any_of(log,
                             [&](const std::string& line) { return line.find(text) != line.npos; });
}

// No file of this process may be written beyond `bytes`: the disk that is full for a large file,
// and not for small ones.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : before_signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit{bytes, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FullDisk() {
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before_), 0);
    (void)std::signal(SIGXFSZ, before_signal_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  void (*before_signal_)(int);
  rlimit before_{};
};

// Shipping needs no checkpoint: a session that ended of one that failed compared every page again,
// and said that it was the store.
TEST(RoomTest, ACheckpointThatFailsOfItsDiskEndsNoSession) {
  for (const uint32_t busy_frames_per_second : {20'000u, 0u}) {  // 0: in the background
    ShippedDatabase::Options options;
    options.checkpoint_pages = 10;
    options.announces = false;
    options.ship.interval = std::chrono::milliseconds(0);
    options.busy_frames_per_second = busy_frames_per_second;
    ShippedDatabase db(options);
    db.Exec(
        "pragma synchronous=off; pragma wal_autocheckpoint=0; create table t(id integer primary "
        "key, b)");
    db.Exec(
        "with recursive n(i) as (select 1 union all select i+1 from n where i<700) "
        "insert into t select i, zeroblob(3000) from n; pragma wal_checkpoint(truncate)");
    db.Start();
    db.WaitForImage();  // else it would be in the way of checkpoints
    while (db.engine().GetStatus(true).image_running) {
      std::this_thread::yield();
    }
    const uint64_t before = db.engine().GetStatus(false).checkpoints;
    {
      const FullDisk disk(2'000'000);
      for (int id = 550; id < 610; ++id) {  // more than any checkpoint waits for
        db.Exec("update t set b = randomblob(3000) where id = " + std::to_string(id));
      }
      while (db.engine().GetStatus(true).checkpoint_error.empty()) {
        std::this_thread::yield();
      }
      db.Sync();
      EXPECT_EQ(db.engine().GetStatus(false).state, EngineState::kShipping);
    }
    while (!db.engine().GetStatus(true).checkpoint_error.empty()) {
      std::this_thread::yield();  // until it tries again
    }
    EXPECT_GT(db.engine().GetStatus(false).checkpoints, before);
    EXPECT_FALSE(LogHas(db, "store-away"));
    EXPECT_FALSE(LogHas(db, "starting again"));
    db.CheckHead();
  }
}

}  // namespace
}  // namespace sqlite_s3

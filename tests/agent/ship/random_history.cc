#include "tests/agent/ship/random_history.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "tests/support/replayer.h"

namespace sqlite_s3 {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(60'000);

}  // namespace

RandomHistory::RandomHistory(uint64_t seed) : random_(seed) {
  ShippedDatabase::Options o;
  o.page_size = Pick({512U, 512U, 1024U, 4096U, 4096U, 4096U, 8192U, 65536U});
  o.auto_vacuum = static_cast<int>(Below(3));
  o.checkpoint_pages = Pick({0U, 3U, 10U, 40U, 200U, 1000U});
  o.ship.interval = std::chrono::milliseconds(Pick({0, 0, 2, 20}));
  o.ship.segment_bytes = Pick({uint64_t{20'000}, uint64_t{200'000}, uint64_t{4} << 20});
  // From "one commit of a few pages fills it" to "never felt".
  o.ship.memory_bytes = o.page_size * Pick({uint64_t{12}, uint64_t{60}, uint64_t{6000}});
  o.ship.image_log_percent = Pick({0, 100});
  o.announces = !OneIn(3);
  o.busy_frames_per_second = Pick({0U, 20'000U});
  description_ = "seed " + std::to_string(seed) + ", page size " + std::to_string(o.page_size) +
                 ", auto_vacuum " + std::to_string(o.auto_vacuum) + ", checkpoint at " +
                 std::to_string(o.checkpoint_pages) + ", memory " +
                 std::to_string(o.ship.memory_bytes) + ", segments of " +
                 std::to_string(o.ship.segment_bytes) + (o.announces ? "" : ", unannounced") +
                 (o.busy_frames_per_second == 0 ? ", busy" : "");
  db_ = std::make_unique<ShippedDatabase>(o);
}

RandomHistory::~RandomHistory() {
  db_->faults().Heal();
  JoinImage();
  other_.Close();
}

void RandomHistory::Trace(const std::string& what) {
  static const bool tracing = std::getenv("SQLITE_S3_SEED") != nullptr;
  if (tracing) {
    std::cerr << what << "\n";
  }
}

void RandomHistory::Run() {
  CreateSchema();
  if (OneIn(2)) {
    BigTransaction(db_->app());
  }
  db_->Start();
  const uint32_t steps = 30 + Below(60);
  for (uint32_t i = 0; i < steps; ++i) {
    switch (Below(20)) {
      case 0:
        Restart();
        break;
      case 1:
        CutOff();
        break;
      case 2:
        RequestImage();
        break;
      default:
        Act();
    }
    if (!OneIn(6)) {
      Note();
    }
  }
  Check();
}

void RandomHistory::PrintLog() {
  for (const std::string& line : db_->log()) {
    std::cerr << description_ << " | " << line << "\n";
  }
}

void RandomHistory::Note() {
  if (away_ && !settled_) {
    return;  // a start that needs the store waits for it: no TXID is known before
  }
  const Txid txid = db_->Note();
  settled_ = true;
  Trace("  = " + std::to_string(txid.value));
}

void RandomHistory::Check() {
  away_ = false;
  db_->faults().Heal();
  JoinImage();
  Note();
  db_->Sync();
  if (image_was_lost_) {
    db_->DropNotesBeforeFirstImage();
  }
  db_->CheckNoted();
  db_->CheckHead();
  const int64_t bad = db_->QueryInt(
      "select count(*) from pragma_integrity_check "
      "where integrity_check <> 'ok'");
  EXPECT_EQ(bad, 0);
}

// --- the engine's troubles -----------------------------------------------------------------------

void RandomHistory::Restart() {
  if (OneIn(2)) {
    JoinImage();
  }
  const bool clean = !away_ && OneIn(2);
  if (clean) {
    JoinImage();
    Trace("stop");
    db_->Stop();
  } else {
    // Killed before its first image was complete, the replica has no restore point before the next.
    image_was_lost_ = image_was_lost_ || !db_->engine().GetStatus(false).image_txid;
    Trace("abandon");
    db_->Abandon();
    JoinImage();
  }
  for (uint32_t n = Below(4); n > 0; --n) {
    Act();
  }
  if (OneIn(3)) {
    other_.Close();
    Trace("close");
    db_->CloseApp();  // the last close checkpoints and removes the WAL
    if (OneIn(2)) {
      Act();
    }
  }
  away_ = false;
  db_->faults().Heal();
  settled_ = false;
  Trace("start");
  db_->Start();
  if (OneIn(2)) {
    Note();
  }
}

void RandomHistory::CutOff() {
  if (away_) {
    db_->faults().Heal();
    away_ = false;
    return;
  }
  const FaultWhen when = OneIn(2) ? FaultWhen::kBeforeEffect : FaultWhen::kAfterEffect;
  if (OneIn(2)) {
    db_->faults().FailCall(StoreOp::kPutIfAbsent, 1 + static_cast<int>(Below(3)),
                           StatusCode::kUnavailable, when);
  } else {
    Trace("store away");
    db_->faults().FailEverything(StatusCode::kUnavailable, when);
    away_ = true;
  }
}

void RandomHistory::RequestImage() {
  JoinImage();
  if (!away_) {
    Trace("image");
    // In the middle of what comes next; whether it comes to an end before a restart is chance.
    image_ = std::thread([engine = db_->engine_handle()] { (void)engine->MakeImage(kPatience); });
  }
}

void RandomHistory::JoinImage() {
  if (image_.joinable()) {
    if (away_) {
      db_->faults().Heal();
      away_ = false;
    }
    image_.join();
  }
}

// --- the application -----------------------------------------------------------------------------

}  // namespace sqlite_s3

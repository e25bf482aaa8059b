#include "tests/agent/ship/random_history.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <stdexcept>

#include "tests/support/replayer.h"

namespace sqlite_s3 {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(60'000);

template <typename T, size_t N>
T Pick(std::mt19937_64& random, const T (&from)[N]) {
  return from[random() % N];
}

// What a single history does is told when it is asked for by its seed.
void Trace(const std::string& what) {
  static const bool tracing = std::getenv("SQLITE_S3_SEED") != nullptr;
  if (tracing) {
    std::cerr << what << "\n";
  }
}

}  // namespace

RandomHistory::RandomHistory(uint64_t seed) : random_(seed) {
  ShippedDatabase::Options o;
  o.page_size = Pick(random_, {512U, 512U, 1024U, 4096U, 4096U, 4096U, 8192U, 65536U});
  o.auto_vacuum = static_cast<int>(Below(3));
  o.checkpoint_pages = Pick(random_, {0U, 3U, 10U, 40U, 200U, 1000U});
  o.ship.interval = std::chrono::milliseconds(Pick(random_, {0, 0, 2, 20}));
  o.ship.segment_bytes = Pick(random_, {uint64_t{20'000}, uint64_t{200'000}, uint64_t{4} << 20});
  // From "one commit of a few pages fills it" to "never felt".
  o.ship.memory_bytes = o.page_size * Pick(random_, {uint64_t{12}, uint64_t{60}, uint64_t{6000}});
  o.ship.image_log_percent = Pick(random_, {0, 100});
  description_ = "seed " + std::to_string(seed) + ", page size " + std::to_string(o.page_size) +
                 ", auto_vacuum " + std::to_string(o.auto_vacuum) + ", checkpoint at " +
                 std::to_string(o.checkpoint_pages) + ", memory " +
                 std::to_string(o.ship.memory_bytes) + ", segments of " +
                 std::to_string(o.ship.segment_bytes);
  db_ = std::make_unique<ShippedDatabase>(o);
}

RandomHistory::~RandomHistory() {
  db_->faults().Heal();
  JoinImage();
  other_.Close();
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

void RandomHistory::Must(Connection& c, const std::string& sql) {
  Trace(sql);
  Status status = c.Exec(sql.c_str());
  if (!status.ok()) {
    throw std::runtime_error("the application saw an error: " + status.ToString());
  }
}

Connection& RandomHistory::SomeConnection() {
  if (!OneIn(4)) {
    return db_->app();
  }
  if (!other_) {
    other_ = db_->OpenAnother();
  }
  return other_;
}

std::string RandomHistory::Blob() {
  const uint32_t size = db_->options().page_size;
  const uint32_t bytes = OneIn(8) ? Below(3 * size) : 1 + Below(size / 8);
  return (OneIn(4) ? "zeroblob(" : "randomblob(") + std::to_string(bytes) + ")";
}

void RandomHistory::CreateSchema() {
  Connection& c = db_->app();
  for (int i = 0; i < 3; ++i) {
    Must(c, "create table t" + std::to_string(i) + "(id integer primary key, a, b blob)");
  }
  Must(c, "create virtual table f using fts5(x)");
}

void RandomHistory::Act() {
  Connection& c = SomeConnection();
  switch (Below(24)) {
    case 0:
    case 1:
      Transaction(c);
      break;
    case 2:
      BigTransaction(c);
      break;
    case 3:
      SpillAndRollBack();
      break;
    case 4:
      ChangeSchema();
      break;
    case 5:
      Compact();
      break;
    case 6:
    case 7:
      Checkpoint(c);
      break;
    case 8:
      WriteBlobDirectly();
      break;
    case 9:
      if (OneIn(4)) {
        BackUpInto();
      }
      break;
    case 10:
      ReturnEarly();
      break;
    case 11:
      Pragma();
      break;
    default:
      Write(c);
  }
}

void RandomHistory::Write(Connection& c) {
  const std::string t = Table();
  const std::string id = std::to_string(Below(60));
  switch (Below(8)) {
    case 0:
      Must(c, "delete from " + t + " where id%7=" + std::to_string(Below(7)));
      break;
    case 1:
      Must(c, "update " + t + " set b=" + Blob() + " where id=" + id);
      break;
    case 2:
      Must(c, "update " + t + " set a=a+1 where id>" + id);
      break;
    case 3:
      Must(c, "insert into f values('word" + id + " and " + std::to_string(random_()) + "')");
      break;
    case 4:
      Must(c, OneIn(2) ? "delete from f where rowid%5=1" : "insert into f(f) values('optimize')");
      break;
    case 5:  // no change of any page
      Must(c, "update " + t + " set a=a where id=" + id);
      break;
    default:
      Must(c, "insert or replace into " + t + " values(" + (OneIn(2) ? id : "null") + ", " +
                  std::to_string(Below(1000)) + ", " + Blob() + ")");
  }
}

void RandomHistory::Transaction(Connection& c) {
  Must(c, OneIn(2) ? "begin" : "begin immediate");
  for (uint32_t n = Below(6); n > 0; --n) {
    if (OneIn(3)) {
      Must(c, "savepoint s");
      Write(c);
      Write(c);
      Must(c, OneIn(2) ? "release s" : "rollback to s; release s");
    } else {
      Write(c);
    }
  }
  Must(c, OneIn(4) ? "rollback" : "commit");
}

void RandomHistory::BigTransaction(Connection& c) {
  const std::string t = Table();
  Must(c, "begin");
  Must(c, "with recursive n(i) as (select 1 union all select i+1 from n where i<" +
              std::to_string(5 + Below(40)) + ") insert into " + t + "(a,b) select i, " + Blob() +
              " from n");
  if (OneIn(3)) {
    Must(c, "update " + t + " set b=" + Blob() + " where id%2=0");
  }
  if (OneIn(4)) {
    Must(c, "delete from " + t + " where id>" + std::to_string(Below(80)));
  }
  Must(c, "commit");
}

// What leaves frames in the WAL that are rewritten, or never committed, or committed without
// checksums: spilled pages, a rollback to a savepoint, a statement that fails half way.
void RandomHistory::SpillAndRollBack() {
  Connection& c = db_->app();
  const std::string t = Table();
  Must(c, "pragma cache_size=" + std::to_string(2 + Below(10)));
  Must(c, "begin");
  if (OneIn(2)) {
    Must(c, "insert into " + t + "(a) values(1)");
    (void)c.Exec(("insert into " + t +
                  "(id,a,b) select case when id%5=4 then 1 else id+1000000 "
                  "end, a, " +
                  Blob() + " from " + t + " order by id")
                     .c_str());
    Must(c, "insert into " + t + "(a) values(2)");
  } else {
    Must(c, "savepoint s");
    Must(c, "update " + t + " set b=" + Blob());
    Must(c, "update " + t + " set b=" + Blob() + " where id%2=1");
    Must(c, OneIn(3) ? "release s" : "rollback to s; release s");
    Must(c, "update " + t + " set a=a+1 where id<" + std::to_string(Below(30)));
  }
  Must(c, OneIn(4) ? "rollback" : "commit");
  Must(c, "pragma cache_size=-2000");
}

void RandomHistory::ChangeSchema() {
  Connection& c = db_->app();
  const std::string t = Table();
  switch (Below(4)) {
    case 0:
      Must(c, "create index i" + std::to_string(indexes_++) + " on " + t + "(a, b)");
      break;
    case 1:
      Must(c, "drop index if exists i" + std::to_string(Below(indexes_ + 1)));
      break;
    case 2:
      Must(c, "drop table " + t + "; create table " + t + "(id integer primary key, a, b blob)");
      break;
    default:
      Must(c,
           "create table if not exists extra(x primary key) without rowid;"
           "insert or ignore into extra values(" +
               std::to_string(random_() % 1000) + ")");
  }
}

void RandomHistory::Compact() {
  Connection& c = db_->app();
  switch (Below(4)) {
    case 0:
      Must(c, "pragma auto_vacuum=" + std::to_string(Below(3)) + "; vacuum");
      break;
    case 1:
      Must(c, "delete from " + Table() + " where id>" + std::to_string(Below(20)) + "; vacuum");
      break;
    case 2:
      Must(c, "delete from " + Table() + "; pragma incremental_vacuum(" +
                  std::to_string(1 + Below(20)) + ")");
      break;
    default:
      Must(c, "pragma incremental_vacuum");
  }
}

void RandomHistory::Checkpoint(Connection& c) {
  // While we are attached RESTART and TRUNCATE may be busy; they must not be anything else.
  Trace("checkpoint");
  sqlite3_busy_timeout(c.get(), 1);
  const int rc =
      sqlite3_wal_checkpoint_v2(c.get(), "main", static_cast<int>(Below(4)), nullptr, nullptr);
  sqlite3_busy_timeout(c.get(), 10'000);
  if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
    throw std::runtime_error("checkpoint: " + std::to_string(rc));
  }
}

// Commits that no wal hook announces: incremental blob I/O, the backup API, an early reset.
void RandomHistory::WriteBlobDirectly() {
  Connection& c = db_->app();
  Must(c, "create table if not exists d(id integer primary key, b)");
  Must(c, "insert or replace into d values(7, zeroblob(" +
              std::to_string(db_->options().page_size) + "))");
  Trace("blob");
  sqlite3_blob* blob = nullptr;
  if (sqlite3_blob_open(c.get(), "main", "d", "b", 7, 1, &blob) != SQLITE_OK) {
    throw std::runtime_error("blob_open");
  }
  const std::string bytes = std::to_string(random_());
  const int rc = sqlite3_blob_write(blob, bytes.data(), static_cast<int>(bytes.size()),
                                    static_cast<int>(Below(100)));
  if (sqlite3_blob_close(blob) != SQLITE_OK || rc != SQLITE_OK) {
    throw std::runtime_error("blob_write");
  }
}

void RandomHistory::BackUpInto() {
  Trace("backup into it");
  sqlite3* raw = nullptr;
  sqlite3_open(":memory:", &raw);
  const std::string sql =
      "pragma page_size=" + std::to_string(db_->options().page_size) +
      "; create table t0(id integer primary key, a, b blob); create table t1(id integer primary "
      "key, a, b blob); create table t2(id integer primary key, a, b blob); create virtual table f "
      "using fts5(x); insert into t1(b) values(" +
      Blob() + "),(" + Blob() + ")";
  int rc = sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr);
  sqlite3_backup* backup = sqlite3_backup_init(db_->app().get(), "main", raw, "main");
  if (rc == SQLITE_OK && backup != nullptr) {
    rc = sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
  }
  sqlite3_close(raw);
  if (rc != SQLITE_DONE) {
    throw std::runtime_error("backup: " + std::to_string(rc));
  }
}

void RandomHistory::ReturnEarly() {
  Trace("returning");
  sqlite3_stmt* statement = nullptr;
  const std::string sql = "insert into t1(a) values(1),(2),(3) returning id";
  if (sqlite3_prepare_v2(db_->app().get(), sql.c_str(), -1, &statement, nullptr) != SQLITE_OK ||
      sqlite3_step(statement) != SQLITE_ROW) {
    throw std::runtime_error("returning");
  }
  sqlite3_finalize(statement);
}

void RandomHistory::Pragma() {
  Connection& c = db_->app();
  switch (Below(4)) {
    case 0:
      Must(c, OneIn(2) ? "pragma secure_delete=on" : "pragma secure_delete=off");
      break;
    case 1:
      Must(c, Pick(random_, {"pragma synchronous=off", "pragma synchronous=normal",
                             "pragma synchronous=full"}));
      break;
    case 2:
      Must(c, "pragma user_version=" + std::to_string(Below(1000)));
      break;
    default:
      Must(c, OneIn(2) ? "pragma cache_size=3" : "pragma cache_size=-2000");
  }
}

}  // namespace sqlite_s3

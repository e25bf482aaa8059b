// What the application of a RandomHistory does.

#include <stdexcept>
#include <string>

#include "tests/agent/ship/random_history.h"

namespace sqlite_s3 {

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
      Must(c, Pick({"pragma synchronous=off", "pragma synchronous=normal",
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

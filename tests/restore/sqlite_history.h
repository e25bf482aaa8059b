#pragma once
// SqliteHistory: a history made by real SQLite. Random SQL runs on a WAL database that nobody
// checkpoints; after each statement the test reads the new frames of the -wal and makes a commit of
// them, and keeps what sqlite3_serialize says the database is: the reference.

#include <map>
#include <random>
#include <string>

#include "common/sqlite/connection.h"
#include "tests/support/history.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {

// Throws when anything fails: a test without its history proves nothing.
class SqliteHistory {
 public:
  // TXID 1 is an empty table of a database with these page size and auto_vacuum (0, 1, 2).
  SqliteHistory(ObjectStore& store, uint32_t page_size, uint64_t seed, int auto_vacuum = 0,
                const std::string& encoding = "UTF-8");

  // One random change that commits; cuts a segment and makes an image now and then.
  Txid Step(const History::Commit& how = {});
  // One given statement. TXID 0 when it committed nothing.
  Txid Run(const std::string& sql, const History::Commit& how = {});

  const Bytes& Reference(Txid txid) const { return references_.at(txid); }
  History& history() { return history_; }

 private:
  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  Bytes Serialize();
  std::string RandomSql();

  TempDir directory_;
  const std::string path_ = directory_.File("source.db");
  Connection db_;
  History history_;
  std::mt19937_64 random_;
  uint32_t frames_seen_ = 0;
  std::map<Txid, Bytes> references_;
};

}  // namespace sqlite_s3

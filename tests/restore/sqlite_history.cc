#include "tests/restore/sqlite_history.h"

#include "common/os/file.h"
#include "common/sqlite/wal_format.h"
#include "tests/support/must.h"

namespace sqlite_s3 {
namespace {

History::Options OptionsFor(uint32_t page_size, uint64_t seed) {
  History::Options options;
  options.page_size = page_size;
  options.seed = seed;
  options.image_part_pages = 4;
  options.image_frame_pages = 3;
  return options;
}

}  // namespace

SqliteHistory::SqliteHistory(ObjectStore& store, uint32_t page_size, uint64_t seed, int auto_vacuum,
                             const std::string& encoding)
    : history_(store, OptionsFor(page_size, seed)), random_(seed) {
  auto db = Connection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 0);
  Must(db.status());
  db_ = std::move(*db);
  Must(db_.Exec(("PRAGMA page_size=" + std::to_string(page_size) + ";PRAGMA encoding='" + encoding +
                 "';PRAGMA auto_vacuum=" + std::to_string(auto_vacuum) +
                 ";PRAGMA journal_mode=WAL;PRAGMA wal_autocheckpoint=0;PRAGMA synchronous=OFF;"
                 "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b BLOB);"
                 "CREATE INDEX t_a ON t(a);PRAGMA wal_checkpoint(TRUNCATE);")
                    .c_str()));
  const Bytes origin = Serialize();
  references_[history_.Origin(origin)] = origin;
}

Bytes SqliteHistory::Serialize() {
  sqlite3_int64 size = 0;
  unsigned char* bytes = sqlite3_serialize(db_.get(), "main", &size, 0);
  if (bytes == nullptr) {
    throw std::runtime_error("sqlite3_serialize");
  }
  Bytes copy(bytes, bytes + size);
  sqlite3_free(bytes);
  return copy;
}

std::string SqliteHistory::RandomSql() {
  const std::string n = std::to_string(1 + Random(40));
  const std::string size = std::to_string(1 + Random(3000));
  switch (Random(12)) {
    case 0:
      return "DELETE FROM t WHERE id % 3 = " + std::to_string(Random(3));
    case 1:
      return "DELETE FROM t WHERE id > (SELECT avg(id) FROM t)";
    case 2:
      return "VACUUM";
    case 3:
      return "CREATE TABLE IF NOT EXISTS u" + std::to_string(Random(3)) + " AS SELECT a, b FROM t";
    case 4:
      return "DROP TABLE IF EXISTS u" + std::to_string(Random(3));
    case 5:
      return "PRAGMA incremental_vacuum(5)";
    case 6:
    case 7:
      return "UPDATE t SET b = randomblob(" + size + ") WHERE id % " + n + " = 0";
    case 8:
      return "UPDATE t SET a = a || 'x' WHERE id = (SELECT max(id) FROM t)";
    default:
      return "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < " + n +
             ") INSERT INTO t(a, b) SELECT hex(randomblob(8)), zeroblob(" + size + ") FROM c";
  }
}

Txid SqliteHistory::Step(const History::Commit& how) {
  while (true) {
    // Statements that fail (no table u0 yet) or change nothing make no commit: another one, then.
    const Txid txid = Run(RandomSql(), how);
    if (!txid) {
      continue;
    }
    if (Random(3) == 0) {
      history_.Cut();
    }
    if (Random(12) == 0) {
      history_.Cut();
      history_.MakeImage(txid);
    }
    return txid;
  }
}

Txid SqliteHistory::Run(const std::string& sql, const History::Commit& how) {
  (void)db_.Exec(sql.c_str());  // may fail, see Step
  auto file = ReadFile(path_ + "-wal", uint64_t{1} << 32);
  if (!file.ok() || file->size() < kWalHeaderBytes) {
    return Txid{};
  }
  const Bytes& wal = *file;
  const uint32_t page_size = history_.document().page_size;
  auto header = ParseWalHeader(wal);
  Must(header.status());
  History::Pages pages;
  Txid txid;
  WalChecksum running = header->checksum;
  uint32_t frame = 1;
  for (uint64_t at = WalFrameOffset(frame, page_size);
       at + kWalFrameHeaderBytes + page_size <= wal.size();
       at = WalFrameOffset(++frame, page_size)) {
    const ByteSpan bytes = ByteSpan(wal).subspan(at, kWalFrameHeaderBytes + page_size);
    const WalFrameHeader h = ParseWalFrameHeader(bytes.data());
    running = ExtendWalChecksum(running, bytes.first(8), header->big_endian_words);
    running =
        ExtendWalChecksum(running, bytes.subspan(kWalFrameHeaderBytes), header->big_endian_words);
    if (h.salt1 != header->salt1 || h.salt2 != header->salt2 || h.checksum != running) {
      break;  // what a rolled back statement left
    }
    if (frame <= frames_seen_) {
      continue;
    }
    pages[h.page] = Bytes(bytes.begin() + kWalFrameHeaderBytes, bytes.end());
    if (h.commit_page_count != 0) {
      std::erase_if(pages, [&](const auto& p) { return p.first > h.commit_page_count; });
      txid = history_.AddCommit(pages, h.commit_page_count, how);
      frames_seen_ = frame;
      pages.clear();
    }
  }
  if (txid) {
    references_[txid] = Serialize();
    if (references_[txid] != history_.ImageAt(txid)) {
      throw std::runtime_error("the frames of '" + sql + "' are not what SQLite shows");
    }
  }
  return txid;
}

}  // namespace sqlite_s3

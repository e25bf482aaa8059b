// A process of the application: writes to a database in random ways, opening and closing it, with
// SQLite's own checkpoints, until it has made its share of commits.
//
//   writer DATABASE SEED COMMITS
//
// Exits 0, or 1 with a line on stderr when SQLite said anything but "busy".

#include <sqlite3.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace {

std::string RandomStatement(std::mt19937& random) {
  const auto n = [&](unsigned below) { return std::to_string(random() % below); };
  switch (random() % 12) {
    case 0:
      return "delete from t where id between " + n(2000) + " and " + n(2000);
    case 1:
      return "update t set b=randomblob(" + n(500) + ") where id=" + n(500);
    case 2:
      return "begin; savepoint s; insert into t(a,b) select a,b from t limit " + n(60) +
             "; rollback to s; release s; insert into t(a) values(3); commit";
    case 3:
      return "pragma incremental_vacuum(" + n(30) + ")";
    case 4:
      return "pragma wal_checkpoint(" + std::string(random() % 8 != 0 ? "passive" : "full") + ")";
    default:
      return "insert into t(a,b) values(" + n(100000) + ", randomblob(" +
             n(random() % 20 != 0 ? 300 : 9000) + "))";
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    return 2;
  }
  std::mt19937 random(static_cast<unsigned>(std::atoi(argv[2])));
  for (int left = std::atoi(argv[3]); left > 0;) {
    sqlite3* db = nullptr;
    if (sqlite3_open(argv[1], &db) != SQLITE_OK) {
      return 1;
    }
    sqlite3_busy_timeout(db, 20'000);
    const char* threshold[] = {"5", "50", "1000"};
    const std::string settings = std::string("pragma synchronous=off; pragma cache_size=8; ") +
                                 "pragma wal_autocheckpoint=" + threshold[random() % 3];
    sqlite3_exec(db, settings.c_str(), nullptr, nullptr, nullptr);
    for (unsigned n = 1 + static_cast<unsigned>(random() % 100); n > 0 && left > 0; --n, --left) {
      const std::string sql = RandomStatement(random);
      const int rc = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
      if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
        std::fprintf(stderr, "writer: %d %s: %s\n", rc, sqlite3_errmsg(db), sql.c_str());
        return 1;
      }
      if (rc != SQLITE_OK) {
        sqlite3_exec(db, "rollback", nullptr, nullptr, nullptr);
      }
    }
    if (random() % 8 == 0) {
      continue;  // as an application that exits without closing
    }
    sqlite3_close(db);
  }
  return 0;
}

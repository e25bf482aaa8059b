// Random scripts: executing the log again gives the bytes of the pages at every commit, and names
// exactly the commits that cannot be repeated. SQLITE_S3_SCRIPTS=2000 runs that many.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>

#include "agent/hook/sqlite_s3.hpp"
#include "tests/integration/statements_fixture.h"

namespace sqlite_s3 {
namespace {

class Script : public StatementsFixture {
 public:
  explicit Script(uint64_t seed) : random_(seed) {}
  void TestBody() override {}

  void Run(bool every_commit) {
    SetUp();
    app.Do(
        "PRAGMA synchronous=OFF;"
        "CREATE TABLE a(id INTEGER PRIMARY KEY, t TEXT, v, u UNIQUE);"
        "CREATE TABLE b(k TEXT PRIMARY KEY, n INT CHECK(n >= 0)) WITHOUT ROWID;"
        "CREATE TABLE c(at TEXT DEFAULT CURRENT_TIMESTAMP, a REFERENCES a(id) ON DELETE CASCADE);"
        "CREATE TABLE h(what, id);"
        "CREATE TRIGGER ai AFTER INSERT ON a BEGIN INSERT INTO h VALUES('new', new.id); END;"
        "CREATE TRIGGER ad AFTER DELETE ON a BEGIN DELETE FROM h WHERE id = old.id; END;"
        "CREATE VIRTUAL TABLE f USING fts5(x)");
    other_.Open(path);
    other_.Do("PRAGMA synchronous=OFF");
    sqlite3_busy_timeout(other_.db(), 0);
    sqlite3_busy_timeout(app.db(), 0);
    if (Chance(2)) app.Do("PRAGMA foreign_keys=ON");
    if (Chance(4)) app.Do("PRAGMA recursive_triggers=ON");
    Start("statements=values,interval=10ms");
    ASSERT_EQ(sqlite_s3_attach(handle, other_.db()), SQLITE_S3_OK) << sqlite_s3_errmsg();
    for (int i = 0; i < 25; ++i) {
      Step(Chance(3) ? other_ : app);
    }
    Sync();
    Stop();
    const auto log = Log();
    const size_t commits = log.size();
    std::set<uint64_t> by_pages;
    if (every_commit) {
      by_pages = ExpectSqlEqualsPages();
    } else {
      Bytes pages, sql;
      EXPECT_OK(Restore(Txid{commits}, RestoreVia::kPages, &pages));
      auto report = Restore(Txid{commits}, RestoreVia::kSql, &sql);
      ASSERT_OK(report);
      EXPECT_EQ(pages == sql, true);
      for (const ByPages& commit : report->by_pages) {
        by_pages.insert(commit.txid.value);
        reasons += FormatTxid(commit.txid) + " " + commit.reason + "\n";
      }
      by_sql = report->commits_by_sql;
    }
    total = commits;
    needed = by_pages.size();
    for (uint64_t txid : must_) {
      EXPECT_TRUE(by_pages.count(txid) != 0) << "TXID " << txid << " cannot be repeated\n"
                                             << story_;
    }
    for (uint64_t txid : by_pages) {
      EXPECT_TRUE(must_.count(txid) != 0 || may_.count(txid) != 0)
          << "TXID " << txid << " can be repeated\n"
          << reasons << Told(log[txid - 1]) << story_;
    }
    other_.Close();
    TearDown();
  }

  uint64_t by_sql = 0, total = 0, needed = 0;

 private:
  static std::string Told(const CommitStatements& commit) {
    std::string text = "settings " + std::to_string(commit.settings) + "\n";
    for (const LoggedStatement& s : commit.statements) {
      text += "  " + s.sql + "  (" + std::to_string(s.changed_rows) + " rows)\n";
    }
    return text;
  }

  uint32_t Pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  bool Chance(uint32_t in) { return Pick(in) == 0; }
  std::string Word() { return "w" + std::to_string(Pick(40)); }

  // Executes, and forgives constraints and locks.
  bool Do(App& on, const std::string& sql) {
    const int rc = sqlite3_exec(on.db(), sql.c_str(), nullptr, nullptr, nullptr);
    story_ += (&on == &app ? "A " : "B ") + sql + "  -> " + std::to_string(rc) + "\n";
    return rc == SQLITE_OK;
  }
  // The same by a statement with bound values, as they are or through the wrapper.
  void Bound(App& on, bool exact) {
    const double real = Chance(3) ? std::numeric_limits<double>::infinity()
                                  : 0.1 + 0.2 + static_cast<double>(Pick(1000));
    const std::string text = Chance(2) ? std::string("a\0b';--", 7) : Word();
    story_ += std::string(&on == &app ? "A " : "B ") + "bound " + (exact ? "exactly\n" : "\n");
    try {
      const std::string sql = "INSERT INTO a(t, v, u) VALUES(?2, ?1, ?3)";
      const std::string blob("\x00\x01\xff", 3);
      const int64_t number = static_cast<int64_t>(random_());
      if (exact) {
        BoundStatement insert(on.db(), sql);
        insert.Bind(1, real);
        insert.Bind(2, text);
        Chance(2) ? insert.BindBlob(3, blob + Word()) : insert.Bind(3, number);
        insert.Run();
        return;
      }
      may_now_ = true;  // SQLite shows 15 digits, and text up to NUL
      sqlite3_stmt* insert = on.Prepare(sql);
      sqlite3_bind_double(insert, 1, real);
      sqlite3_bind_text64(insert, 2, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
      sqlite3_bind_int64(insert, 3, number);
      sqlite3_step(insert);
      sqlite3_finalize(insert);
    } catch (const SqliteError&) {
    }
  }

  void Change(App& on, bool in_transaction) {
    const std::string id = std::to_string(1 + Pick(60));
    switch (Pick(in_transaction ? 20 : 22)) {
      case 0:
      case 1:
        Do(on, "INSERT INTO a(t, v, u) VALUES('" + Word() + "', " + id + ", '" + Word() + "')");
        break;
      case 2:
        Bound(on, true);
        break;
      case 3:
        Bound(on, false);
        break;
      case 4:
        Do(on, "UPDATE a SET v = v || t, t = upper(t) WHERE id % 5 = " + std::to_string(Pick(5)));
        break;
      case 5:
        Do(on, "DELETE FROM a WHERE id > " + id);
        break;
      case 6:
        Do(on, "INSERT INTO b VALUES('" + Word() +
                   "', 1) ON CONFLICT(k) DO UPDATE SET n = n + excluded.n");
        break;
      case 7:
        Do(on, "INSERT INTO b VALUES('" + Word() + "', " + (Chance(2) ? "-1" : "5") +
                   ") RETURNING k, n");
        break;
      case 8:
        for (const char* how : {"IGNORE", "REPLACE", "FAIL", "ABORT", "ROLLBACK"}) {
          if (Chance(3)) {
            Do(on, std::string("INSERT OR ") + how + " INTO a(id, u) VALUES(100, 'x" + id +
                       "'), (" + id + ", 'y" + id + "'), (101, 'z')");
            break;
          }
        }
        break;
      case 9:
        Do(on, Chance(2) ? "CREATE INDEX IF NOT EXISTS at ON a(t, v)" : "DROP INDEX IF EXISTS at");
        break;
      case 10:
        Do(on,
           Chance(2) ? "CREATE TABLE IF NOT EXISTS x(y DEFAULT 1.5)" : "DROP TABLE IF EXISTS x");
        break;
      case 11:
        Do(on, "INSERT INTO f VALUES('" + Word() + " " + Word() + "')");
        break;
      case 12:
        Do(on, "DELETE FROM f WHERE f MATCH '" + Word() + "'");
        break;
      case 13:
        may_now_ = true;  // between the statement's start and the reading of the clock
        Do(on, Chance(2) ? "INSERT INTO c(a) VALUES(NULL)"
                         : "INSERT INTO c VALUES(strftime('%Y-%m-%d %H:%M:%f','now'), NULL)");
        break;
      case 14:
        if (Do(on, "INSERT INTO h VALUES(random(), 'r" + id + "')")) {
          must_now_ = true;
        }
        break;
      case 15:
        Do(on, "INSERT INTO h SELECT t, id FROM a ORDER BY id LIMIT 7");
        break;
      case 16:
        Do(on, "INSERT INTO h VALUES('last', last_insert_rowid())");
        break;
      case 17:
        Do(on, "INSERT INTO nowhere VALUES(1)");
        break;
      case 18: {  // a statement within another one's rows
        sqlite3_stmt* rows = on.Prepare("SELECT id FROM a");
        for (int i = 0; i < 2 && sqlite3_step(rows) == SQLITE_ROW; ++i) {
          Do(on,
             "INSERT INTO h VALUES('seen', " + std::to_string(sqlite3_column_int64(rows, 0)) + ")");
        }
        sqlite3_finalize(rows);
        break;
      }
      case 19:
        Do(on, "PRAGMA user_version=" + id);
        break;
      case 20:
        Do(on, "VACUUM");
        break;
      case 21:
        Do(on,
           "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i < 300) "
           "INSERT INTO h SELECT hex(zeroblob(40)), i FROM s");
        break;
    }
  }

  void Transaction(App& on) {
    if (!Do(on, Chance(3) ? "BEGIN IMMEDIATE" : Chance(4) ? "SAVEPOINT s" : "BEGIN")) {
      return;
    }
    const bool must_before = must_now_;
    for (uint32_t i = Pick(6); i > 0; --i) {
      if (Chance(5)) {
        const bool must = must_now_;
        Do(on, "SAVEPOINT \"In ner\"");
        Change(on, true);
        Change(on, true);
        if (Chance(2) && Do(on, "ROLLBACK TO [in ner]")) {
          must_now_ = must;
          // It leaves traces of what is left out: bytes of free pages, last_insert_rowid().
          may_now_ = true;
        }
        Do(on, "RELEASE `In ner`");
      } else {
        Change(on, true);
      }
      if (sqlite3_get_autocommit(on.db()) != 0) {
        // OR ROLLBACK ended it. What follows commits by itself.
        must_now_ = must_before;
        break;
      }
    }
    if (sqlite3_get_autocommit(on.db()) == 0) {
      if (Chance(8)) {
        Do(on, "ROLLBACK");
        must_now_ = must_before;
      } else if (!Do(on, "COMMIT")) {
        Do(on, "ROLLBACK");
        must_now_ = must_before;
      }
    }
  }

  // The other connection is in the way, and the statement is tried again.
  void Retried(App& on) {
    App& holder = &on == &app ? other_ : app;
    const bool in_transaction = Chance(2);
    if (!Do(holder, "BEGIN IMMEDIATE")) return;
    if (in_transaction) Do(on, "BEGIN");
    const std::string insert = "INSERT INTO a(t, u) VALUES('retried', '" + Word() + Word() + "')";
    Do(on, insert);
    Do(holder, "ROLLBACK");
    Do(on, insert);
    if (in_transaction && !Do(on, "COMMIT")) Do(on, "ROLLBACK");
  }

  // Everything until the next look at the TXID is perhaps one commit, perhaps several.
  void Step(App& on) {
    must_now_ = may_now_ = false;
    const uint64_t before = Now();
    const uint32_t what = Pick(10);
    if (what < 4) {
      Transaction(on);
    } else if (what == 4) {
      Retried(on);
    } else if (what == 5) {
      on.Do("BEGIN; COMMIT");
    } else {
      Change(on, false);
    }
    const uint64_t after = Now();
    story_ += "= TXID " + std::to_string(after) + "\n";
    for (uint64_t txid = before + 1; txid <= after; ++txid) {
      if (must_now_ && after == before + 1) {
        must_.insert(txid);
      }
      if (may_now_ || must_now_) {
        may_.insert(txid);
      }
    }
  }

  uint64_t Now() {
    char* json = sqlite_s3_status(handle);
    const std::string text = json;
    sqlite_s3_free(json);
    const size_t at = text.find("\"txid\":\"") + 8;
    return std::stoull(text.substr(at, 16), nullptr, 16);
  }

  std::mt19937_64 random_;
  App other_;
  std::string story_;
  bool must_now_ = false, may_now_ = false;
  std::set<uint64_t> must_, may_;
};

TEST(StatementsPropertyTest, SqlGivesThePagesBytesAndNamesWhatItCannotRepeat) {
  const char* asked = std::getenv("SQLITE_S3_SCRIPTS");
  const char* first = std::getenv("SQLITE_S3_FIRST_SCRIPT");
  const uint64_t scripts = asked != nullptr ? std::stoull(asked) : 40;
  const uint64_t begin = first != nullptr ? std::stoull(first) : 1;
  uint64_t commits = 0, needed = 0;
  for (uint64_t seed = begin; seed < begin + scripts; ++seed) {
    SCOPED_TRACE("script " + std::to_string(seed));
    Script script(seed);
    script.Run(/*every_commit=*/seed % 20 == 1);
    commits += script.total;
    needed += script.needed;
    if (::testing::Test::HasFailure()) {
      break;
    }
  }
  RecordProperty("commits", std::to_string(commits));
  RecordProperty("by_pages", std::to_string(needed));
  EXPECT_GT(commits, 10 * scripts);
  EXPECT_LT(needed, commits / 2);
  std::printf("%llu scripts, %llu commits, %llu by their pages\n",
              static_cast<unsigned long long>(scripts), static_cast<unsigned long long>(commits),
              static_cast<unsigned long long>(needed));
}

}  // namespace
}  // namespace sqlite_s3

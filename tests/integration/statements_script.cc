#include "tests/integration/statements_script.h"

#include <limits>

#include "agent/hook/sqlite_s3.hpp"

namespace sqlite_s3 {

void StatementsScript::Create() {
  const bool exact = kind_ == Kind::kExact;
  if (Chance(4)) {
    // Another encoding and page size: before the first table.
    app.Close();
    EXPECT_OK(RemoveFile(path));
    app.Open(path);
    const std::string size = std::to_string(512u << Pick(8));
    app.Do("PRAGMA page_size=" + size + "; PRAGMA encoding='UTF-16le'; PRAGMA auto_vacuum=" +
           std::to_string(Pick(3)) + "; PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
    ++done["page size, encoding"];
  }
  app.Do(
      "PRAGMA synchronous=OFF;"
      "CREATE TABLE a(id INTEGER PRIMARY KEY, t TEXT, v, u UNIQUE);"
      "CREATE TABLE b(k TEXT PRIMARY KEY, n INT CHECK(n >= 0)) WITHOUT ROWID;"
      "CREATE TABLE c(at TEXT DEFAULT CURRENT_TIMESTAMP, a REFERENCES a(id) ON DELETE CASCADE);"
      "CREATE TABLE d(id INTEGER PRIMARY KEY AUTOINCREMENT, r DEFAULT (random()), g AS (r || 'g'));"
      "CREATE TABLE e(i INTEGER, r REAL, s TEXT NOT NULL) STRICT;"
      "CREATE TABLE h(what, id);"
      "CREATE INDEX part ON h(id) WHERE id > 20;"
      "CREATE INDEX expr ON b(n + length(k));"
      "CREATE VIEW w AS SELECT k, n FROM b;"
      "CREATE TRIGGER wi INSTEAD OF INSERT ON w BEGIN INSERT OR REPLACE INTO b VALUES(new.k, "
      "new.n);"
      " END;"
      "CREATE TRIGGER ai AFTER INSERT ON a BEGIN INSERT INTO h VALUES('new', new.id); END;"
      "CREATE TRIGGER ad AFTER DELETE ON a BEGIN DELETE FROM h WHERE id = old.id; END;"
      "CREATE TRIGGER au AFTER UPDATE OF v ON a WHEN new.id % 7 = 0 BEGIN"
      " UPDATE h SET what = 'set' WHERE id = new.id; END;"
      "CREATE VIRTUAL TABLE f USING fts5(x)");
  for (App& other : others_) {
    other.Open(path);
    other.Do("PRAGMA synchronous=OFF");
    sqlite3_busy_timeout(other.db(), 0);
  }
  sqlite3_busy_timeout(app.db(), 0);
  if (Chance(2)) app.Do("PRAGMA foreign_keys=ON");
  if (Chance(4)) app.Do("PRAGMA recursive_triggers=ON");
  if (Chance(4)) app.Do("PRAGMA secure_delete=" + std::string(Chance(2) ? "FAST" : "ON"));
  Start(std::string("statements=values,interval=") + (exact ? "0" : "10ms"));
  for (App& other : others_) {
    ASSERT_EQ(sqlite_s3_attach(handle, other.db()), SQLITE_S3_OK) << sqlite_s3_errmsg();
  }
}

void StatementsScript::Run(bool every_commit) {
  SetUp();
  Create();
  for (int i = 0; i < 25; ++i) {
    Step(!Chance(3) ? app : others_[Pick(2)]);
  }
  Sync();
  Stop();
  const auto log = Log();
  total = log.size();
  std::set<uint64_t> by_pages;
  if (every_commit) {
    by_pages = ExpectSqlEqualsPages();
  } else {
    Bytes pages, sql;
    EXPECT_OK(Restore(Txid{total}, RestoreVia::kPages, &pages));
    auto report = Restore(Txid{total}, RestoreVia::kSql, &sql);
    ASSERT_OK(report);
    EXPECT_EQ(pages == sql, true) << story_;
    for (const ByPages& commit : report->by_pages) {
      by_pages.insert(commit.txid.value);
      reasons += FormatTxid(commit.txid) + " " + commit.reason + "\n";
    }
    EXPECT_EQ(report->commits_by_sql + report->commits_by_pages + 1, total);
  }
  needed = by_pages.size();
  for (uint64_t txid : must_) {
    EXPECT_TRUE(by_pages.count(txid) != 0) << "TXID " << txid << " cannot be repeated\n" << story_;
  }
  for (uint64_t txid : by_pages) {
    EXPECT_TRUE(must_.count(txid) != 0 || may_.count(txid) != 0)
        << "TXID " << txid << " can be repeated\n"
        << reasons << Told(log[txid - 1]) << story_;
  }
  for (App& other : others_) {
    other.Close();
  }
  TearDown();
}

std::string StatementsScript::Told(const CommitStatements& commit) {
  std::string text = "settings " + std::to_string(commit.settings) + "\n";
  for (const LoggedStatement& s : commit.statements) {
    text += "  " + s.sql + "  (" + std::to_string(s.changed_rows) + " rows)\n";
  }
  return text;
}

// Executes, and forgives constraints and locks.
bool StatementsScript::Do(App& on, const std::string& sql) {
  const int rc = sqlite3_exec(on.db(), sql.c_str(), nullptr, nullptr, nullptr);
  story_ += (&on == &app          ? "A "
             : &on == &others_[0] ? "B "
                                  : "C ") +
            sql + "  -> " + std::to_string(rc) + "\n";
  ++done[rc == SQLITE_OK ? "succeeded" : rc == SQLITE_BUSY ? "busy" : "failed"];
  return rc == SQLITE_OK;
}

std::string StatementsScript::Literal() {
  switch (Pick(8)) {
    case 0:
      return "0.30000000000000004";
    case 1:
      return "9e999";
    case 2:
      return "x'00ff27'";
    case 3:
      return "'it''s'";
    case 4:
      return "NULL";
    case 5:
      return "-9223372036854775808";
    case 6:
      return "char(0, 97, 0)";
    default:
      return "'" + Word() + "'";
  }
}

// Values by a statement with bound parameters, as SQLite shows them or through the wrapper.
void StatementsScript::Bound(App& on, bool exact) {
  const double real = Chance(3) ? std::numeric_limits<double>::infinity()
                                : 0.1 + 0.2 + static_cast<double>(Pick(1000));
  const std::string text = Chance(2) ? std::string("a\0b';--", 7) : Word();
  const std::string blob = std::string("\x00\x01\xff", 3) + Word();
  const int64_t number = static_cast<int64_t>(random_());
  const bool with_blob = Chance(2);
  const char* sql = "INSERT INTO a(t, v, u) VALUES(?2, ?1, ?3)";
  ++done[exact ? "bound exactly" : "bound"];
  story_ += exact ? "bound exactly\n" : "bound\n";
  try {
    if (exact) {
      BoundStatement insert(on.db(), sql);
      insert.Bind(1, real);
      insert.Bind(2, text);
      with_blob ? insert.BindBlob(3, blob) : insert.Bind(3, number);
      insert.Run();
      return;
    }
    may_now_ = true;  // SQLite shows 15 digits, and text up to NUL
    sqlite3_stmt* insert = on.Prepare(sql);
    sqlite3_bind_double(insert, 1, real);
    sqlite3_bind_text64(insert, 2, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
    if (with_blob) {
      sqlite3_bind_blob64(insert, 3, blob.data(), blob.size(), SQLITE_STATIC);
    } else {
      sqlite3_bind_int64(insert, 3, number);
    }
    sqlite3_step(insert);
    sqlite3_finalize(insert);
  } catch (const SqliteError&) {
    ++done["wrapper failed"];
  }
}

// A change through the wrapper, of what gives the same again.
void StatementsScript::Wrapped(App& on) {
  static constexpr const char* kStatements[] = {
      "INSERT INTO b VALUES(?1, ?2) ON CONFLICT(k) DO UPDATE SET n = n + abs(excluded.n)",
      "INSERT INTO h VALUES(?1, ?2)",
      "INSERT INTO h SELECT ?1, id FROM a WHERE id > ?2 ORDER BY id",
      "UPDATE a SET v = ?1 WHERE id % 5 = ?2 % 5",
      "DELETE FROM a WHERE t = ?1 AND id > ?2",
      "INSERT INTO f VALUES(?1 || ' ' || ?2)",
      "DELETE FROM f WHERE rowid = ?2 AND x <> ?1",
      "INSERT INTO e VALUES(?2, ?2 / 3.0, ?1) RETURNING r",
      "INSERT INTO w VALUES(?1, ?2)",
      "INSERT INTO d(r) VALUES(?1 || ?2)",
  };
  const char* sql = kStatements[Pick(std::size(kStatements))];
  story_ += std::string("wrapped ") + sql + "\n";
  ++done["wrapped"];
  try {
    BoundStatement statement(on.db(), sql);
    statement.Bind(1, Chance(4) ? std::string("n\0l", 3) : Word());
    statement.Bind(2, static_cast<int64_t>(Pick(30)) - 10);
    statement.Run();
  } catch (const SqliteError&) {
    ++done["wrapper failed"];
  }
}

// Everything until the next look at the TXID is perhaps one commit, perhaps several.
void StatementsScript::Step(App& on) {
  must_now_ = may_now_ = false;
  const uint64_t before = Now();
  const uint32_t what = Pick(10);
  if (what < 4) {
    Transaction(on);
  } else if (what == 4) {
    Retried(on);
  } else if (what == 5) {
    on.Do("BEGIN; COMMIT");
    ++done["empty transaction"];
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

uint64_t StatementsScript::Now() {
  char* json = sqlite_s3_status(handle);
  const std::string text = json;
  sqlite_s3_free(json);
  const size_t at = text.find("\"txid\":\"") + 8;
  return std::stoull(text.substr(at, 16), nullptr, 16);
}

}  // namespace sqlite_s3

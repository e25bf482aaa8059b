// What a StatementsScript does to its database.

#include "tests/integration/statements_script.h"

namespace sqlite_s3 {

void StatementsScript::Change(App& on, bool in_transaction) {
  if (kind_ == Kind::kExact) {
    Chance(3) ? Bound(on, true) : Wrapped(on);
    return;
  }
  switch (Pick(10)) {
    case 0:
    case 1:
    case 2:
      Rows(on);
      break;
    case 3:
      Chance(3) ? Wrapped(on) : Bound(on, Chance(2));
      break;
    case 4:
      Schema(on, in_transaction);
      break;
    case 5:
      Text(on);
      break;
    case 6:
      Conflict(on);
      break;
    case 7:
      Unrepeatable(on);
      break;
    case 8:
      FirstRow(on);
      break;
    case 9:
      Setting(on);
      break;
  }
}

void StatementsScript::Rows(App& on) {
  const std::string id = Id();
  switch (Pick(15)) {
    case 0:
    case 1:
      ++done["insert"];
      Do(on, "INSERT INTO a(t, v, u) VALUES('" + Word() + "', " + Literal() + ", " + id + ")");
      break;
    case 2:
      ++done["update"];
      Do(on, "UPDATE a SET v = v || t, t = upper(t) WHERE id % 5 = " + std::to_string(Pick(5)));
      break;
    case 3:
      ++done["delete"];
      Do(on, "DELETE FROM a WHERE id > " + id);
      break;
    case 4:
      ++done["delete all"];
      may_now_ = may_now_ || must_now_;  // random values go, perhaps without a trace
      must_now_ = false;
      Do(on, Chance(2) ? "DELETE FROM h" : "DELETE FROM d");
      break;
    case 5:
      ++done["upsert"];
      Do(on, "INSERT INTO b VALUES('" + Word() +
                 "', 1) ON CONFLICT(k) DO UPDATE SET n = n + excluded.n");
      break;
    case 6:
      ++done["returning"];
      Do(on,
         "INSERT INTO b VALUES('" + Word() + "', " + (Chance(2) ? "-1" : "5") + ") RETURNING k, n");
      break;
    case 7:
      ++done["insert select"];
      Do(on, "INSERT INTO h SELECT t, id FROM a ORDER BY id LIMIT 7");
      break;
    case 8:
      ++done["last_insert_rowid"];
      Do(on, "INSERT INTO h VALUES('last', last_insert_rowid())");
      break;
    case 9:
      ++done["changes()"];
      // They count what the connection did before, which nobody records.
      may_now_ = true;
      Do(on, "INSERT INTO h VALUES(changes(), total_changes())");
      break;
    case 10:
      ++done["update from"];
      Do(on, "UPDATE a SET v = b.n FROM b WHERE b.k = a.t");
      break;
    case 11:
      ++done["instead of trigger"];
      Do(on, "INSERT INTO w VALUES('" + Word() + "', " + id + ")");
      break;
    case 12:
      ++done["strict, literals"];
      Do(on, "INSERT INTO e VALUES(" + id + ", " + Literal() + ", " + Literal() + ")");
      break;
    case 13: {
      ++done["within rows"];
      sqlite3_stmt* rows = on.Prepare("SELECT id FROM a");
      for (int i = 0; i < 2 && sqlite3_step(rows) == SQLITE_ROW; ++i) {
        Do(on,
           "INSERT INTO h VALUES('seen', " + std::to_string(sqlite3_column_int64(rows, 0)) + ")");
      }
      sqlite3_finalize(rows);
      break;
    }
    case 14:
      ++done["many rows"];
      Do(on,
         "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i < 300) "
         "INSERT INTO h SELECT hex(zeroblob(40)), i FROM s");
      break;
  }
}

void StatementsScript::Schema(App& on, bool in_transaction) {
  const bool one = Chance(2);
  switch (Pick(in_transaction ? 7 : 8)) {
    case 0:
      ++done["index"];
      Do(on, one ? "CREATE INDEX IF NOT EXISTS at ON a(t, v)" : "DROP INDEX IF EXISTS at");
      break;
    case 1:
      ++done["table"];
      Do(on, one ? "CREATE TABLE IF NOT EXISTS x(y DEFAULT 1.5)" : "DROP TABLE IF EXISTS x");
      break;
    case 2:
      ++done["table as select"];
      Do(on, one ? "CREATE TABLE y AS SELECT id, t FROM a" : "DROP TABLE y");
      break;
    case 3:
      ++done["alter"];
      Do(on, one ? "ALTER TABLE d ADD COLUMN n" + Id() + " DEFAULT 'x'"
                 : "ALTER TABLE x RENAME COLUMN y TO z");
      break;
    case 4:
      ++done["trigger"];
      Do(on, one ? "CREATE TRIGGER IF NOT EXISTS bi BEFORE INSERT ON b BEGIN "
                   "INSERT INTO h VALUES('b', new.n); END"
                 : "DROP TRIGGER IF EXISTS bi");
      break;
    case 5:
      // Of everything: in the order of the connection's own table of the schema.
      ++done["reindex, analyze"];
      if (Chance(2)) {
        Do(on, one ? "REINDEX a" : "ANALYZE a");
      } else {
        may_now_ = Do(on, one ? "REINDEX" : "ANALYZE") || may_now_;
      }
      break;
    case 6:
      ++done["user_version"];
      Do(on, one ? "PRAGMA user_version=" + Id() : "PRAGMA incremental_vacuum(3)");
      break;
    case 7:
      ++done["vacuum"];
      Do(on, "VACUUM");
      break;
  }
}

void StatementsScript::Text(App& on) {
  ++done["fts5"];
  switch (Pick(5)) {
    case 0:
    case 1:
      Do(on, "INSERT INTO f VALUES('" + Word() + " " + Word() + "')");
      break;
    case 2:
      Do(on, "DELETE FROM f WHERE f MATCH '" + Word() + "'");
      break;
    case 3:
      Do(on, "UPDATE f SET x = x || ' more' WHERE rowid = " + Id());
      break;
    case 4:
      Do(on,
         std::string("INSERT INTO f(f) VALUES('") + (Chance(2) ? "optimize" : "rebuild") + "')");
      break;
  }
}

void StatementsScript::Conflict(App& on) {
  static constexpr const char* kHow[] = {"IGNORE", "REPLACE", "FAIL", "ABORT", "ROLLBACK"};
  if (Chance(6)) {
    ++done["no such table"];
    Do(on, "INSERT INTO nowhere VALUES(1)");
    return;
  }
  const std::string how = kHow[Pick(std::size(kHow))];
  ++done["or " + how];
  const std::string id = Id();
  const bool alone = sqlite3_get_autocommit(on.db()) != 0;
  if (!Do(on, "INSERT OR " + how + " INTO a(id, u) VALUES(" + std::to_string(100 + Pick(5)) +
                  ", 'x" + id + "'), (" + id + ", 'y" + id + "'), (101, 'z')") &&
      alone && how == "FAIL") {
    // SQLite tells of its commit only when the connection executes something again, which may be
    // after it was shipped.
    may_now_ = true;
  }
}

void StatementsScript::Unrepeatable(App& on) {
  switch (Pick(4)) {
    case 0:
      ++done["now, default"];
      may_now_ = true;  // between the statement's start and the reading of the clock
      Do(on, "INSERT INTO c(a) VALUES(NULL)");
      break;
    case 1:
      ++done["now"];
      may_now_ = true;
      Do(on, "INSERT INTO c VALUES(strftime('%Y-%m-%d %H:%M:%f','now'), NULL)");
      break;
    case 2:
      ++done["random"];
      must_now_ = Do(on, "INSERT INTO h(what, id) VALUES(random(), 'r" + Id() + "')") || must_now_;
      break;
    case 3:
      ++done["random, default"];
      must_now_ = Do(on, "INSERT INTO d(id) VALUES(NULL)") || must_now_;
      break;
  }
}

// A statement that is left at its first row: the rest of it does not happen, but what it changed
// has. SQLite changes everything before the first row.
void StatementsScript::FirstRow(App& on) {
  ++done["first row of returning"];
  sqlite3_stmt* insert =
      on.Prepare("INSERT INTO b VALUES('" + Word() + "', 3), ('" + Word() + "', 4) RETURNING k");
  if (sqlite3_get_autocommit(on.db()) != 0) {
    may_now_ = true;  // as after OR FAIL
  }
  story_ += "first row of " + std::string(sqlite3_sql(insert)) + "  -> " +
            std::to_string(sqlite3_step(insert)) + "\n";
  sqlite3_finalize(insert);
}

void StatementsScript::Setting(App& on) {
  static constexpr const char* kSettings[] = {"foreign_keys=ON",
                                              "foreign_keys=OFF",
                                              "recursive_triggers=ON",
                                              "recursive_triggers=OFF",
                                              "secure_delete=ON",
                                              "secure_delete=OFF",
                                              "case_sensitive_like=ON",
                                              "case_sensitive_like=0",
                                              "ignore_check_constraints=ON",
                                              "ignore_check_constraints=OFF",
                                              "defer_foreign_keys=ON",
                                              "reverse_unordered_selects=1",
                                              "reverse_unordered_selects=0"};
  ++done["setting"];
  if (sqlite3_get_autocommit(on.db()) == 0) {
    may_now_ = true;  // which statements it was for is not recorded
  }
  Do(on, std::string("PRAGMA ") + kSettings[Pick(std::size(kSettings))]);
  Do(on, "INSERT INTO h SELECT k, n FROM b WHERE k LIKE 'W1%'");
}

void StatementsScript::Inner(App& on) {
  const bool must = must_now_;
  ++done["savepoint"];
  Do(on, "SAVEPOINT \"In ner\"");
  Change(on, true);
  Change(on, true);
  if (kind_ != Kind::kExact && Chance(2) && Do(on, "ROLLBACK TO [in ner]")) {
    ++done["rollback to"];
    must_now_ = must;
    // It leaves traces of what is left out: bytes of free pages, last_insert_rowid().
    may_now_ = true;
    if (Chance(3)) Change(on, true);
  }
  Do(on, "RELEASE `In ner`");
}

void StatementsScript::Transaction(App& on) {
  const bool savepoint = Chance(6);
  if (!Do(on, savepoint ? "SAVEPOINT s" : Chance(3) ? "BEGIN IMMEDIATE" : "BEGIN")) {
    return;
  }
  ++done[savepoint ? "transaction of a savepoint" : "transaction"];
  const bool must_before = must_now_;
  for (uint32_t i = Pick(6); i > 0; --i) {
    Chance(5) ? Inner(on) : Change(on, true);
    if (sqlite3_get_autocommit(on.db()) != 0) {
      // OR ROLLBACK ended it. What follows commits by itself.
      ++done["ended by or rollback"];
      may_now_ = may_now_ || must_now_;
      must_now_ = must_before;
      break;
    }
  }
  if (sqlite3_get_autocommit(on.db()) == 0) {
    if (Chance(8)) {
      ++done["rollback"];
      Do(on, "ROLLBACK");
      must_now_ = must_before;
    } else if (!Do(on, savepoint ? "RELEASE s" : Chance(4) ? "END TRANSACTION" : "COMMIT")) {
      ++done["commit failed"];
      Do(on, "ROLLBACK");
      must_now_ = must_before;
    }
  }
}

// Another connection is in the way, and the statement is tried again.
void StatementsScript::Retried(App& on) {
  App& holder = &on == &app ? others_[0] : app;
  const bool in_transaction = Chance(2);
  ++done["retried"];
  if (!Do(holder, "BEGIN IMMEDIATE")) return;
  if (in_transaction) Do(on, "BEGIN");
  const std::string insert =
      "INSERT INTO a(t, u) VALUES('retried', '" + Word() + Word() + Word() + "')";
  Do(on, insert);
  Do(holder, "ROLLBACK");
  Do(on, insert);
  if (in_transaction && !Do(on, "COMMIT")) Do(on, "ROLLBACK");
}

}  // namespace sqlite_s3

// Random histories over every kind of table: undo gives back exactly what was, or refuses with a
// reason that is one; a diff's script makes B of A. SQLITE_S3_UNDO_COMMITS=1000 makes them longer,
// SQLITE_S3_UNDO_SEED=N other ones.

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/restore/rows_fixture.h"

namespace sqlite_s3 {
namespace {

constexpr char kSchema[] =
    "BEGIN;"
    "CREATE TABLE plain(a, b, c);"
    "CREATE TABLE ipk(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, r REAL, b BLOB);"
    "CREATE TABLE wr(k TEXT COLLATE NOCASE, n INTEGER, v, PRIMARY KEY(k, n DESC)) WITHOUT ROWID;"
    "CREATE TABLE gen(id INTEGER PRIMARY KEY, w INT AS (x+1) VIRTUAL, x INT, s INT AS (x*2) STORED,"
    " y TEXT);"
    "CREATE TABLE uniq(id INTEGER PRIMARY KEY, email TEXT UNIQUE, name);"
    "CREATE TABLE \"odd \"\" name\"(\"rowid\" TEXT, \"a'b\" REAL, \"select\" NUMERIC);"
    "CREATE TABLE parent(id INTEGER PRIMARY KEY, v);"
    "CREATE TABLE child(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent ON DELETE CASCADE);"
    "CREATE TABLE strict_t(i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT;"
    "CREATE VIRTUAL TABLE f USING fts5(body);"
    "CREATE INDEX ipk_v ON ipk(v, r);"
    "CREATE VIEW seen AS SELECT id, v FROM ipk;"
    "CREATE TRIGGER ipk_log AFTER UPDATE ON ipk BEGIN INSERT INTO plain VALUES('log', old.v, "
    "new.v);"
    "END;"
    "CREATE TRIGGER ipk_gone AFTER DELETE ON ipk BEGIN DELETE FROM gen WHERE id=old.id % 7; END;"
    "COMMIT;";

class RandomSql {
 public:
  explicit RandomSql(uint64_t seed) : random_(seed) {}

  std::string Next() {
    if (Below(5) != 0) {
      return "PRAGMA foreign_keys=ON;" + Change();
    }
    std::string sql = "PRAGMA foreign_keys=ON;BEGIN;";
    for (uint32_t n = 1 + Below(6); n > 0; --n) {
      sql += Change() + ";";
    }
    return sql + (Below(8) == 0 ? "ROLLBACK;" : "COMMIT;");
  }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

 private:
  std::string Real() {
    switch (Below(6)) {
      case 0:
        return "9e999";
      case 1:
        return "-9e999";
      case 2:
        return std::to_string(Below(1000)) + ".0";
      case 3:
        return "4.9e-324";
      default:
        return "(" + std::to_string(static_cast<int64_t>(random_())) + "/" +
               std::to_string(1 + random_() % 1'000'000'007) + ".0)";
    }
  }
  std::string Value() {
    switch (Below(11)) {
      case 0:
        return "NULL";
      case 1:
        return std::to_string(static_cast<int64_t>(random_()));
      case 2:
        return "(-9223372036854775807-1)";
      case 3:
        return Real();
      case 4:
        return "CAST(x'61006200ff' AS TEXT)";
      case 5:
        return "'it''s \"quoted\" \xc3\xa9\xf0\x9f\x90\x98'";
      case 6:
        return "randomblob(" + std::to_string(Below(3000)) + ")";
      case 7:
        return "hex(randomblob(" + std::to_string(Below(1500)) + "))";
      case 8:
        return "''";
      case 9:
        return "'line' || char(10) || 'escape' || char(27)";
      default:
        return std::to_string(Below(20));
    }
  }
  std::string Text() { return "CAST(" + Value() + " AS TEXT)"; }
  std::string Number(uint32_t n) { return std::to_string(Below(n)); }
  std::string Change() {
    const std::string id = Number(40);
    switch (Below(37)) {
      case 0:
      case 1:
        return "INSERT INTO plain VALUES(" + Value() + "," + Value() + "," + Value() + ")";
      case 2:
        return "UPDATE plain SET b=" + Value() + " WHERE rowid%5=" + Number(5);
      case 3:
        return "DELETE FROM plain WHERE rowid%7=" + Number(7);
      case 4:
      case 5:
        return "INSERT INTO ipk(v,r,b) VALUES(" + Text() + "," + Real() + "," + Value() + ")";
      case 6:
        return "UPDATE ipk SET r=" + Real() + ",v=" + Text() + " WHERE id=" + id;
      case 7:
        return "DELETE FROM ipk WHERE id=" + id;
      case 8:
        return "INSERT OR REPLACE INTO wr VALUES('K" + Number(9) + "'," + Number(4) + "," +
               Value() + ")";
      case 9:
        return "UPDATE OR IGNORE wr SET k=lower(k) WHERE n=" + Number(4);
      case 10:
        return "DELETE FROM wr WHERE n=" + Number(4);
      case 11:
        return "INSERT OR REPLACE INTO gen(id,x,y) VALUES(" + id + "," + Number(99) + "," + Text() +
               ")";
      case 12:
        return "UPDATE gen SET x=x+1 WHERE id%3=" + Number(3);
      case 13:
        return "INSERT OR IGNORE INTO uniq(email,name) VALUES('m" + Number(30) + "'," + Value() +
               ")";
      case 14:  // two rows change places
        return "SAVEPOINT s;UPDATE uniq SET email='tmp' WHERE id=1;"
               "UPDATE uniq SET email=(SELECT 'x'||hex(randomblob(4))) WHERE id=2;"
               "UPDATE uniq SET email='m" +
               Number(30) + "' WHERE id=1;RELEASE s";
      case 15:
        return "DELETE FROM uniq WHERE id%4=" + Number(4);
      case 16:
        return "INSERT INTO \"odd \"\" name\" VALUES(" + Text() + "," + Real() + "," + Value() +
               ")";
      case 17:
        return "UPDATE \"odd \"\" name\" SET \"select\"=" + Value() + " WHERE _rowid_%3=0";
      case 18:
        return "INSERT OR IGNORE INTO parent VALUES(" + id + "," + Value() + ")";
      case 19:
        return "INSERT OR IGNORE INTO child SELECT NULL, id FROM parent WHERE id%3=" + Number(3);
      case 20:
        return "DELETE FROM parent WHERE id=" + id;
      case 21:
        return "INSERT INTO strict_t VALUES(" + Number(9) + "," + Real() + "," + Text() +
               ",randomblob(9)," + Value() + ")";
      case 22:
        if (Below(3) == 0) {
          return "INSERT INTO f2 VALUES('word" + Number(9) + "')";
        }
        return "INSERT INTO f VALUES('word" + Number(50) + " word" + Number(50) + "')";
      case 23:
        return "DELETE FROM f WHERE rowid%5=" + Number(5);
      case 24:
        return "PRAGMA user_version=" + Number(1000);
      case 25:
        return Below(2) == 0 ? "CREATE INDEX IF NOT EXISTS plain_a ON plain(a)"
                             : "DROP INDEX IF EXISTS plain_a";
      case 26:
        return Below(2) == 0 ? "CREATE TABLE IF NOT EXISTS made(id INTEGER PRIMARY KEY, v UNIQUE)"
                             : "DROP TABLE IF EXISTS made";
      case 27:
        return "INSERT OR IGNORE INTO made(v) SELECT b FROM plain LIMIT " + Number(9);
      case 28:
        return Below(2) == 0 ? "DROP VIEW IF EXISTS seen"
                             : "CREATE VIEW IF NOT EXISTS seen AS SELECT id FROM ipk";
      case 29:  // in place: only overflow pages change
        return "UPDATE ipk SET b=CAST(substr(b,1,length(b)-8)||x'" + Number(9) +
               "122334455667788' "
               "AS BLOB) WHERE length(b)>1000 AND typeof(b)='blob' AND id%2=" +
               Number(2);
      case 30:
        return "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<" +
               Number(60) + ") INSERT INTO ipk(v,r) SELECT hex(randomblob(30)), i/3.0 FROM c";
      case 31:
        return "DELETE FROM ipk WHERE id>(SELECT max(id)-" + Number(80) + " FROM ipk)";
      case 32:
        return "ANALYZE";
      case 33:
        return "ALTER TABLE plain DROP COLUMN d" + Number(3);
      case 34:
        return "ALTER TABLE plain RENAME COLUMN d" + Number(3) + " TO d" + Number(3);
      case 35:
        return Below(2) == 0 ? "CREATE VIRTUAL TABLE IF NOT EXISTS f2 USING fts5(x)"
                             : "DROP TABLE IF EXISTS f2";
      default:
        return Below(3) != 0 ? "ALTER TABLE plain ADD COLUMN d" + Number(3) + " DEFAULT 'd'"
                             : "VACUUM";
    }
  }
  std::mt19937_64 random_;
};

struct Kind {
  uint32_t page_size;
  int auto_vacuum;
  const char* encoding;
};

class UndoPropertyTest : public RowsFixture, public ::testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    const char* commits = std::getenv("SQLITE_S3_UNDO_COMMITS");
    commits_ = commits != nullptr ? std::atoi(commits) : 20;
    const char* seed = std::getenv("SQLITE_S3_UNDO_SEED");
    seed_ = seed != nullptr ? std::strtoull(seed, nullptr, 10) * 1'000'003 : 0;
  }

  void Grow(SqliteHistory& history, RandomSql& sql) {
    while (static_cast<int>(txids_.size()) < commits_) {
      const Txid txid = history.Run(sql.Next());
      if (!txid) {
        (void)history.Run("ROLLBACK");  // one that failed in the middle
        continue;
      }
      txids_.push_back(txid);
      if (sql.Below(3) == 0) {
        history.history().Cut();
      }
      if (sql.Below(10) == 0) {
        history.history().Cut();
        history.history().MakeImage(txid);
      }
    }
    history.history().Cut();
  }

  // Whatever their rowids are: of tables that a VACUUM numbered anew.
  static void DropRowids(const ChangeSet& changes, DatabaseContent* content) {
    for (const TableChanges& table : changes.tables) {
      auto rows = content->rows.find(table.name);
      if (table.renumbered == 0 || rows == content->rows.end()) {
        continue;
      }
      std::multiset<std::string> values;
      for (const auto& [key, text] : rows->second) {
        values.insert(text);
      }
      rows->second.clear();
      for (const std::string& text : values) {
        rows->second["#" + std::to_string(rows->second.size())] = text;
      }
    }
  }

  // B with the rows of commit N as they were before it; and whether B has them as N left them.
  static DatabaseContent Merge(const DatabaseContent& before, const DatabaseContent& after,
                               DatabaseContent later, bool* touched) {
    std::set<std::pair<std::string, std::string>> keys;
    for (const auto* content : {&before, &after}) {
      for (const auto& [table, rows] : content->rows) {
        for (const auto& [key, values] : rows) {
          keys.insert({table, key});
        }
      }
    }
    const auto get = [](const DatabaseContent& c, const auto& name) -> std::optional<std::string> {
      auto table = c.rows.find(name.first);
      if (table == c.rows.end() || !table->second.contains(name.second)) {
        return std::nullopt;
      }
      return table->second.at(name.second);
    };
    for (const auto& name : keys) {
      const auto old = get(before, name);
      const auto now = get(after, name);
      if (old == now) {
        continue;
      }
      if (name.first == "sqlite_sequence" && get(later, name) != now) {
        continue;  // stays as it is
      }
      *touched |= get(later, name) != now;
      if (old) {
        later.rows[name.first][name.second] = *old;
      } else {
        later.rows[name.first].erase(name.second);
      }
    }
    std::erase_if(later.rows, [](const auto& table) { return table.second.empty(); });
    for (const auto* content : {&before, &after}) {
      for (const auto& [name, sql] : content->schema) {
        auto old = before.schema.find(name);
        auto now = after.schema.find(name);
        const bool same =
            old != before.schema.end() && now != after.schema.end() && old->second == now->second;
        if (!same) {
          later.schema.erase(name);
          if (old != before.schema.end()) {
            later.schema[name] = old->second;
          }
        }
      }
    }
    if (before.user_version != after.user_version) {
      later.user_version = before.user_version;
    }
    return later;
  }

  // Whether two rows of the table WITHOUT ROWID have one key under its collation: k1 and K1.
  static bool OneKey(const DatabaseContent& content) {
    std::set<std::string> seen;
    auto found = content.rows.find("wr");
    if (found != content.rows.end()) {
      for (const auto& [key, values] : found->second) {
        if (!seen.insert(key.starts_with("t4b") ? "t6b" + key.substr(3) : key).second) {
          return true;
        }
      }
    }
    return false;
  }

  // Whether two rows have the same value in the second column.
  static bool Twice(const DatabaseContent& content, const std::string& table) {
    std::set<std::string> seen;
    auto found = content.rows.find(table);
    if (found != content.rows.end()) {
      for (const auto& [key, values] : found->second) {
        const size_t begin = values.find(' ') + 1;
        const std::string value = values.substr(begin, values.find(' ', begin) - begin);
        if (value != "n" && !seen.insert(value).second) {
          return true;
        }
      }
    }
    return false;
  }

  // Whether a child has no parent.
  static bool Orphans(DatabaseContent content) {
    std::set<std::string> parents;
    for (const auto& [key, values] : content.rows["parent"]) {
      parents.insert(key);
    }
    for (const auto& [key, values] : content.rows["child"]) {
      const std::string parent = values.substr(values.find(' ') + 1);
      if (parent != "n " && !parents.contains(parent)) {
        return true;
      }
    }
    return false;
  }

  int commits_ = 0;
  uint64_t seed_ = 0;
  std::vector<Txid> txids_;
};

TEST_P(UndoPropertyTest, GivesBackExactlyWhatWasOrRefusesForAReason) {
  SqliteHistory history(*store_, GetParam().page_size, 42 + GetParam().page_size,
                        GetParam().auto_vacuum, GetParam().encoding);
  ASSERT_TRUE(history.Run(kSchema));
  RandomSql sql(seed_ + 7 + GetParam().page_size);
  Grow(history, sql);
  int undone = 0, merged = 0, conflicts = 0, obstacles = 0;
  for (size_t i = 0; i < txids_.size(); ++i) {
    const Txid txid = txids_[i];
    SCOPED_TRACE(FormatTxid(txid));
    const DatabaseContent before = ReadContent(history.Reference(txid.Prev()));
    const DatabaseContent after = ReadContent(history.Reference(txid));
    const bool off = i % 2 == 0;
    auto plan = Plan(txid, txid, off);
    ASSERT_OK(plan);
    EXPECT_TRUE(plan->conflicts.empty());
    if (plan->script.empty()) {
      ASSERT_FALSE(plan->obstacles.empty());
      EXPECT_NE(before.schema, after.schema) << plan->obstacles[0];
      ++obstacles;
    } else {
      DatabaseContent content = Apply(history.Reference(txid), plan->script, off);
      DatabaseContent expected = before;
      DropRowids(plan->changes, &content);
      DropRowids(plan->changes, &expected);
      ASSERT_EQ(content.Difference(expected), "") << plan->script.substr(0, 5000);
      ++undone;
    }
    // The same commit, with others after it.
    const Txid until = txids_[std::min(txids_.size() - 1, i + 1 + sql.Below(6))];
    auto later = Plan(txid, until, off);
    ASSERT_OK(later);
    bool touched = false;
    const DatabaseContent now = ReadContent(history.Reference(until));
    // Compared by other tests: an index that was made anew, and tables whose columns changed.
    std::set<std::string> others{"sqlite_stat1"};
    if (!later->left_out.empty()) {
      others.insert("sqlite_sequence");
    }
    for (const std::string& table : later->rebuilt) {
      others.insert({table + "_data", table + "_idx", table + "_docsize"});
    }
    bool altered = false;
    for (const SchemaChange& change : later->changes.schema) {
      if (change.altered()) {
        altered = true;
        others.insert(change.after->name);
      }
    }
    const auto but_others = [&](DatabaseContent content) {
      std::erase_if(content.rows, [&](const auto& table) { return others.contains(table.first); });
      return content;
    };
    DatabaseContent was = but_others(before);
    for (const TableChanges& table : later->changes.tables) {
      if (table.renumbered > 0 && !others.contains(table.name)) {
        was.rows[table.name] = after.rows.at(table.name);  // stays as it is
      }
    }
    DatabaseContent expected = Merge(was, but_others(after), but_others(now), &touched);
    if (!later->script.empty() &&
        (Twice(expected, "uniq") || OneKey(expected) || Orphans(expected))) {
      // Somebody else has the unique value by now, or refers to the row: the script finds out, and
      // changes nothing.
      const DatabaseContent content = Apply(history.Reference(until), later->script, off, true);
      EXPECT_EQ(content.Difference(now), "");
      ++conflicts;
    } else if (!later->script.empty()) {
      EXPECT_FALSE(touched);
      DatabaseContent content = but_others(Apply(history.Reference(until), later->script, off));
      std::erase_if(content.rows, [](const auto& table) { return table.second.empty(); });
      if (before.schema != after.schema) {  // what ANALYZE said of an index goes with the index
        expected.rows.erase("sqlite_stat1");
        content.rows.erase("sqlite_stat1");
      }
      ASSERT_EQ(content.Difference(expected), "") << later->script.substr(0, 5000);
      ++merged;
    } else if (!later->conflicts.empty()) {
      EXPECT_TRUE(touched || altered);
      for (const UndoConflict& conflict : later->conflicts) {
        EXPECT_FALSE(conflict.txids.empty()) << conflict.table << " " << conflict.key;
      }
      ++conflicts;
    } else {
      EXPECT_FALSE(later->obstacles.empty());
      ++obstacles;
    }
  }
  std::printf(
      "%d undone at once, %d with later commits kept, %d refused for rows changed later, "
      "%d for the schema\n",
      undone, merged, conflicts, obstacles);
  EXPECT_GT(undone, static_cast<int>(txids_.size()) / 2);
}

// The script of a diff between any two points, run as a shell runs it, makes B of A.
TEST_P(UndoPropertyTest, ADiffAppliedToAIsB) {
  SqliteHistory history(*store_, GetParam().page_size, 99, GetParam().auto_vacuum,
                        GetParam().encoding);
  ASSERT_TRUE(history.Run(kSchema));
  RandomSql sql(seed_ + 1000 + GetParam().page_size);
  Grow(history, sql);
  int applied = 0, refused = 0;
  for (int i = 0; i < commits_; ++i) {
    const Txid a = txids_[sql.Below(static_cast<uint32_t>(txids_.size()))];
    const Txid b = txids_[sql.Below(static_cast<uint32_t>(txids_.size()))];
    SCOPED_TRACE(FormatTxid(a) + " .. " + FormatTxid(b));
    auto difference = Diff(a, b, /*script=*/true);
    const DatabaseContent from = ReadContent(history.Reference(a));
    DatabaseContent to = ReadContent(history.Reference(b));
    if (difference.code() == StatusCode::kFailedPrecondition) {
      EXPECT_NE(from.schema, to.schema);
      ++refused;
      continue;
    }
    ASSERT_OK(difference);
    DatabaseContent content =
        Apply(history.Reference(a), difference->script, /*triggers_are_off=*/false);
    for (DatabaseContent* c : {&content, &to}) {
      DropRowids(difference->changes, c);
      std::erase_if(c->rows, [](const auto& table) { return table.second.empty(); });
      if (from.schema != to.schema) {
        c->rows.erase("sqlite_stat1");
      }
    }
    ASSERT_EQ(content.Difference(to), "") << difference->script.substr(0, 5000);
    ++applied;
  }
  std::printf("%d applied, %d refused for an altered table\n", applied, refused);
  EXPECT_GT(applied, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, UndoPropertyTest,
                         ::testing::Values(Kind{512, 0, "UTF-8"}, Kind{1024, 1, "UTF-16le"},
                                           Kind{4096, 2, "UTF-8"}),
                         [](const auto& p) { return std::to_string(p.param.page_size); });

}  // namespace
}  // namespace sqlite_s3

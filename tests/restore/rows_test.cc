// Rows of every kind: what diff shows of them, and that what undo writes gives them back exactly.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/restore/rows_fixture.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

struct Table {
  const char* name;
  const char* sql;      // CREATE TABLE t, and what belongs to it
  const char* columns;  // that take any value
};
void PrintTo(const Table& table, std::ostream* out) { *out << table.name; }

constexpr Table kTables[] = {
    {"Rowid", "CREATE TABLE t(a, b, c)", "a,b,c"},
    {"IntegerPrimaryKey", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b TEXT, c BLOB)", "a,b,c"},
    {"PrimaryKeyDesc", "CREATE TABLE t(id INTEGER PRIMARY KEY DESC, a, b, c)", "a,b,c"},
    {"IntPrimaryKey", "CREATE TABLE t(id INT PRIMARY KEY, a, b, c)", "a,b,c"},
    {"Affinities", "CREATE TABLE t(a INTEGER, b REAL, c NUMERIC, d TEXT, e BLOB)", "a,b,c,d,e"},
    {"Strict", "CREATE TABLE t(id INTEGER PRIMARY KEY, a ANY, b ANY) STRICT", "a,b"},
    {"Unique", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, u TEXT UNIQUE)", "a,b"},
    {"UniqueReplace", "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, u UNIQUE ON CONFLICT REPLACE)",
     "a,b"},
    {"Collations",
     "CREATE TABLE t(a COLLATE NOCASE, b COLLATE RTRIM, c TEXT COLLATE NOCASE);"
     "CREATE INDEX t_a ON t(a COLLATE RTRIM)",
     "a,b,c"},
    {"Generated",
     "CREATE TABLE t(v AS (typeof(a)) VIRTUAL, a, b, s AS (a||'s') STORED, c, UNIQUE(s, c))",
     "a,b,c"},
    {"Expressions",
     "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, CHECK(typeof(a)<>'x'));"
     "CREATE UNIQUE INDEX t_e ON t(hex(a), id) WHERE b IS NOT NULL",
     "a,b"},
    {"WithoutRowid", "CREATE TABLE t(k INT, a, b, c, PRIMARY KEY(k)) WITHOUT ROWID", "a,b,c"},
    {"WithoutRowidRealKey",
     "CREATE TABLE t(a, k REAL, b, n INT, PRIMARY KEY(k DESC, n)) WITHOUT ROWID", "a,b"},
    {"WithoutRowidColumnTwiceInItsKey",
     "CREATE TABLE t(k TEXT, a, PRIMARY KEY(k COLLATE NOCASE, k COLLATE BINARY)) WITHOUT ROWID",
     "a"},
    {"WithoutRowidUnique",
     "CREATE TABLE t(k INT, u TEXT UNIQUE, a, b, s AS (k*2) STORED, PRIMARY KEY(k)) WITHOUT ROWID",
     "a,b"},
    {"RowidHidden", "CREATE TABLE t(rowid TEXT, oid, a, b)", "a,b"},
};

// With what is lost on the way if anything is: text of any bytes, all of a double's bits.
constexpr const char* kValues[] = {"NULL",
                                   "0",
                                   "1",
                                   "-1",
                                   "9223372036854775807",
                                   "(-9223372036854775807-1)",
                                   "0.0",
                                   "(-1.0*0.0)",
                                   "1.0",
                                   "3.0e15",
                                   "0.1",
                                   "0.30000000000000004",
                                   "2.2250738585072011e-308",
                                   "4.9e-324",
                                   "1.7976931348623157e308",
                                   "9e999",
                                   "-9e999",
                                   "123456789012345678.0",
                                   "9223372036854775808.0",
                                   "''",
                                   "'text'",
                                   "'it''s'",
                                   "'1'",
                                   "' 1'",
                                   "'1.0'",
                                   "'1e3'",
                                   "'0x10'",
                                   "'\xc3\xa9\xe2\x82\xac'",
                                   "'\xf0\x9f\x90\x98'",
                                   "CAST(x'610062' AS TEXT)",
                                   "CAST(x'ff' AS TEXT)",
                                   "CAST(x'efbbbf61' AS TEXT)",
                                   "CAST(x'fffe6100' AS TEXT)",
                                   "'a'||char(0)||'b'",
                                   "char(27)||'[2J'",
                                   "char(8238)",
                                   "'a  '",
                                   "'A'",
                                   "x''",
                                   "x'00'",
                                   "x'ff00ff'",
                                   "zeroblob(700)",
                                   "randomblob(1300)",
                                   "printf('%.*c',900,'x')"};

class RowsTest : public RowsFixture,
                 public ::testing::WithParamInterface<std::tuple<Table, const char*>> {};

TEST_P(RowsTest, EveryValueComesBackExactly) {
  const auto& [table, encoding] = GetParam();
  SqliteHistory history(*store_, 512, 1, 0, encoding);
  ASSERT_TRUE(history.Run(std::string("DROP TABLE t;") + table.sql));
  const std::string columns = table.columns;
  const auto width = static_cast<size_t>(std::count(columns.begin(), columns.end(), ',')) + 1;
  const std::string sql = table.sql;
  std::string insert = "BEGIN;";
  for (size_t i = 0; i < std::size(kValues); ++i) {
    std::string names = columns, values;
    for (size_t k = 0; k < width; ++k) {
      values += (k > 0 ? "," : "") + std::string(kValues[(i + k * 7) % std::size(kValues)]);
    }
    if (sql.find("t(k") != std::string::npos || sql.find(" k ") != std::string::npos) {
      names += ",k";
      values += "," + std::to_string(i % 3 == 0 ? static_cast<int>(i) : -static_cast<int>(i));
    }
    if (sql.find(" n INT") != std::string::npos) {
      names += ",n";
      values += ",5";
    }
    if (sql.find("UNIQUE") != std::string::npos && sql.find(" u ") != std::string::npos) {
      names += ",u";  // NULL is unique as often as one likes
      values += i % 4 == 0 ? ",NULL" : ",'u" + std::to_string(i) + "'";
    }
    insert += "INSERT INTO t(" + names + ") VALUES(" + values + ");";
  }
  const Txid inserted = history.Run(insert + "COMMIT");
  ASSERT_TRUE(inserted);
  ASSERT_EQ(ReadContent(history.Reference(inserted)).rows["t"].size(), std::size(kValues));
  const Txid updated = history.Run("UPDATE t SET a=CASE WHEN a IS NULL THEN 'was null' END");
  const Txid deleted = history.Run("DELETE FROM t");
  ASSERT_TRUE(updated && deleted);
  history.history().Cut();
  for (const Txid txid : {inserted, updated, deleted}) {
    ExpectUndone(history, txid);
  }
  ExpectDiffMakes(history, inserted.Prev(), inserted);
  ExpectDiffMakes(history, inserted, updated);
}

std::string Name(const ::testing::TestParamInfo<std::tuple<Table, const char*>>& p) {
  const std::string encoding = std::get<1>(p.param);
  return std::string(std::get<0>(p.param).name) + (encoding == "UTF-8"          ? "Utf8"
                                                   : encoding.ends_with("16le") ? "Utf16le"
                                                                                : "Utf16be");
}
INSTANTIATE_TEST_SUITE_P(Tables, RowsTest,
                         ::testing::Combine(::testing::ValuesIn(kTables),
                                            ::testing::Values("UTF-8")),
                         Name);
INSTANTIATE_TEST_SUITE_P(Encodings, RowsTest,
                         ::testing::Combine(::testing::Values(kTables[0], kTables[8], kTables[11]),
                                            ::testing::Values("UTF-16le", "UTF-16be")),
                         Name);

class DiffTest : public OneHistoryFixture {
 protected:
  using OneHistoryFixture::OneHistoryFixture;
};

TEST_F(DiffTest, AVacuumBetweenShowsNoRow) {
  Fill("k(id INTEGER PRIMARY KEY, v)", 300);
  Fill("w(v TEXT PRIMARY KEY) WITHOUT ROWID", 200);
  const Txid before = Run("DELETE FROM k WHERE id%3=0; DELETE FROM w WHERE length(v)%2=0");
  Run("DELETE FROM t; DROP TABLE w; CREATE TABLE z(v)");
  Run("DROP TABLE z");
  const Txid a = history_.history().txid();
  const Txid vacuum = Run("VACUUM");
  EXPECT_LT(history_.history().PageCountAt(vacuum), history_.history().PageCountAt(a));
  EXPECT_TRUE(Changes(a, vacuum).empty());
  const Txid later = Run("UPDATE k SET v='new' WHERE id=100");
  EXPECT_EQ(RowsIn(Changes(a, later)), 1u);
  EXPECT_EQ(Changes(before, later).tables.size(), 2u) << "k, and w that was dropped";
  auto plan = Plan(vacuum, later);
  ASSERT_OK(plan);
  EXPECT_EQ(Apply(history_.Reference(later), plan->script, true)
                .Difference(ReadContent(history_.Reference(later))),
            "");
}

TEST_F(DiffTest, RowsThatAVacuumNumberedAnewAreSaidToBeSoAndNotShown) {
  Fill("p(v)", 300);
  const Txid touched = Run("UPDATE p SET v='x' WHERE rowid=100");
  const Txid a = Run("DELETE FROM p WHERE rowid<50");
  const Txid vacuum = Run("VACUUM");
  const ChangeSet changes = Changes(a, vacuum);
  ASSERT_EQ(changes.tables.size(), 1u);
  EXPECT_EQ(changes.tables[0].renumbered, 251u);
  EXPECT_EQ(RowsIn(changes), 0u);
  EXPECT_EQ(DescribeCounts(changes.tables[0]), "251 have another rowid (VACUUM)");
  auto plan = Plan(vacuum, vacuum);
  ASSERT_OK(plan);
  ASSERT_EQ(plan->left_out.size(), 1u);
  EXPECT_EQ(Apply(history_.Reference(vacuum), plan->script, true)
                .Difference(ReadContent(history_.Reference(vacuum))),
            "");
  // Rows of an earlier commit cannot be told by rowids that there are no more.
  auto refused = Plan(touched, vacuum);
  ASSERT_OK(refused);
  EXPECT_TRUE(refused->script.empty());
}

TEST_F(DiffTest, AVacuumIsNamedAmongTheCommitsThatTookARow) {
  Fill("p(v)", 60);
  const Txid touched = Run("UPDATE p SET v='x' WHERE rowid=30");
  Run("DELETE FROM p WHERE rowid<20");
  const Txid vacuum = Run("VACUUM");
  const Txid now = Run("INSERT INTO p VALUES('later')");
  auto plan = Plan(touched, now);
  ASSERT_OK(plan);
  ASSERT_EQ(plan->conflicts.size(), 1u);
  EXPECT_EQ(plan->conflicts[0].txids, std::vector<Txid>{vacuum});
}

TEST_F(DiffTest, EqualRowsThatComeAndGoAreNoVacuum) {
  Run("CREATE TABLE p(v); INSERT INTO p VALUES('x'),('x'),('x')");
  const Txid turned = Run("DELETE FROM p WHERE rowid=1; INSERT INTO p VALUES('x')");
  EXPECT_EQ(RowsIn(Changes(turned.Prev(), turned)), 2u);
  ExpectUndone(history_, turned);
}

class AutoVacuumTest : public DiffTest, public ::testing::WithParamInterface<int> {
 protected:
  AutoVacuumTest() : DiffTest(GetParam()) {}
};

TEST_P(AutoVacuumTest, PagesThatMovedShowNoRow) {
  Fill("k(id INTEGER PRIMARY KEY, v)", 200);
  Fill("l(id INTEGER PRIMARY KEY, v)", 200);
  const Txid a = history_.history().txid();
  const Txid gone = Run("DELETE FROM k WHERE id BETWEEN 20 AND 150");
  EXPECT_EQ(RowsIn(Changes(a, gone)), 131u);
  if (GetParam() == 2) {
    const Txid moved = Run("PRAGMA incremental_vacuum(40)");
    EXPECT_LT(history_.history().PageCountAt(moved), history_.history().PageCountAt(gone));
    EXPECT_TRUE(Changes(gone, moved).empty());
    EXPECT_EQ(RowsIn(Changes(a, moved)), 131u);
    ExpectUndone(history_, moved);
  } else {
    EXPECT_LT(history_.history().PageCountAt(gone), history_.history().PageCountAt(a));
  }
  ExpectUndone(history_, gone);
}

INSTANTIATE_TEST_SUITE_P(Modes, AutoVacuumTest, ::testing::Values(1, 2),
                         [](const auto& p) { return p.param == 1 ? "Full" : "Incremental"; });

TEST_F(DiffTest, AColumnAddedShowsTheRowsThatWereGivenAValue) {
  Fill("k(id INTEGER PRIMARY KEY, v)", 60);
  const Txid a = history_.history().txid();
  const Txid added = Run("ALTER TABLE k ADD COLUMN state TEXT DEFAULT pending");
  EXPECT_EQ(RowsIn(Changes(a, added)), 0u);
  const Txid set = Run("UPDATE k SET state='done' WHERE id=7; UPDATE k SET v='w' WHERE id=9");
  const ChangeSet changes = Changes(a, set);
  ASSERT_EQ(RowsIn(changes), 2u);
  EXPECT_EQ(DescribeRow(changes.tables[0], changes.tables[0].rows[0]), "~ id=7: state 'done'");
  EXPECT_THAT(DescribeRow(changes.tables[0], changes.tables[0].rows[1]),
              HasSubstr(", state 'pending'"));
}

TEST_F(DiffTest, AColumnDroppedShowsTheValuesThatWentWithIt) {
  Run("CREATE TABLE k(id INTEGER PRIMARY KEY, a, b, c); INSERT INTO k "
      "VALUES(1,2,3,4),(2,2,NULL,4)");
  const Txid a = history_.history().txid();
  const Txid dropped = Run("ALTER TABLE k DROP COLUMN b");
  const ChangeSet changes = Changes(a, dropped);
  ASSERT_EQ(RowsIn(changes), 1u);
  EXPECT_EQ(DescribeRow(changes.tables[0], changes.tables[0].rows[0]), "~ id=1: b 3 -> no column");
}

TEST_F(DiffTest, AColumnRenamedShowsNoRow) {
  Fill("k(id INTEGER PRIMARY KEY, v)", 60);
  const Txid a = history_.history().txid();
  const Txid renamed = Run("ALTER TABLE k RENAME COLUMN v TO value");
  EXPECT_EQ(RowsIn(Changes(a, renamed)), 0u);
  EXPECT_EQ(Changes(a, renamed).schema.size(), 1u);
}

TEST_F(DiffTest, DefaultsOfOlderRowsAreAsSqliteReadsThem) {
  Run("CREATE TABLE d(id INTEGER PRIMARY KEY); INSERT INTO d VALUES(1);"
      "ALTER TABLE d ADD COLUMN a DEFAULT word; ALTER TABLE d ADD COLUMN b DEFAULT \"quoted\";"
      "ALTER TABLE d ADD COLUMN c TEXT DEFAULT 7; ALTER TABLE d ADD COLUMN e DEFAULT +7;"
      "ALTER TABLE d ADD COLUMN f DEFAULT -3.5; ALTER TABLE d ADD COLUMN g DEFAULT x'00ff';"
      "ALTER TABLE d ADD COLUMN h DEFAULT true; ALTER TABLE d ADD COLUMN i INT DEFAULT '12';"
      "ALTER TABLE d ADD COLUMN j DEFAULT 'it''s'; ALTER TABLE d ADD COLUMN k DEFAULT NULL;"
      "ALTER TABLE d ADD COLUMN l REAL DEFAULT 5; ALTER TABLE d ADD COLUMN m DEFAULT [br ack];"
      "CREATE TABLE s(id INTEGER PRIMARY KEY) STRICT; INSERT INTO s VALUES(1);"
      "ALTER TABLE s ADD COLUMN a ANY DEFAULT '5'");
  ExpectUndone(history_, Run("DELETE FROM d"));
  ExpectUndone(history_, Run("DELETE FROM s"));
}

TEST_F(DiffTest, AScriptWhoseRowsChangedSinceItWasMadeChangesNothing) {
  Run("CREATE TABLE x(id INTEGER PRIMARY KEY, v); INSERT INTO x VALUES(1,'a'),(2,'b')");
  const Txid undone = Run("DELETE FROM x WHERE id=1; UPDATE x SET v='c' WHERE id=2");
  ASSERT_OK_AND_ASSIGN(const UndoPlan plan, Plan(undone, undone));
  const Txid later = Run("UPDATE x SET v='d' WHERE id=2");
  for (const bool triggers_are_off : {false, true}) {
    const DatabaseContent content =
        Apply(history_.Reference(later), plan.script, triggers_are_off, /*refused=*/true);
    EXPECT_EQ(content.Difference(ReadContent(history_.Reference(later))), "");
  }
}

TEST_F(DiffTest, ARowThatTookTheUniqueValueSinceIsNotReplaced) {
  Run("CREATE TABLE u(id INTEGER PRIMARY KEY, e UNIQUE ON CONFLICT REPLACE, n UNIQUE ON CONFLICT "
      "IGNORE); INSERT INTO u VALUES(1,'a',1),(2,'b',2),(3,'c',3)");
  const Txid gone = Run("DELETE FROM u WHERE id=1");
  const Txid changed = Run("UPDATE u SET e='z' WHERE id=2");
  const Txid now = Run("INSERT INTO u VALUES(9,'a',9),(8,'b',8)");
  for (const Txid txid : {gone, changed}) {
    for (const bool off : {true, false}) {
      auto plan = Plan(txid, now, off);
      ASSERT_OK(plan);
      EXPECT_EQ(Apply(history_.Reference(now), plan->script, off, /*refused=*/true)
                    .Difference(ReadContent(history_.Reference(now))),
                "");
    }
  }
}

TEST_F(DiffTest, SequencesAndStatisticsComeBack) {
  Run("CREATE TABLE q(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE INDEX q_v ON q(v)");
  const Txid inserted = Run("INSERT INTO q(v) VALUES(1),(2),(3)");
  const Txid analyzed = Run("ANALYZE");
  const Txid again = Run("INSERT INTO q(v) VALUES(4); DELETE FROM q WHERE v<4; ANALYZE");
  ExpectUndone(history_, inserted);
  ExpectUndone(history_, again);
  EXPECT_EQ(RowsIn(Changes(analyzed, again)), 6u) << "three gone, one new, and two of SQLite's own";
}

TEST_F(DiffTest, SequencesAndStatisticsThatWentOnStayAsTheyAre) {
  Run("CREATE TABLE q(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE INDEX q_v ON q(v);"
      "CREATE TABLE gone(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO gone DEFAULT VALUES;"
      "ANALYZE");
  const Txid inserted = Run("INSERT INTO q(v) VALUES(1),(2),(3); ANALYZE");
  Run("INSERT INTO q(v) VALUES(4); ANALYZE; DROP TABLE gone");
  const Txid vacuum = Run("VACUUM");  // numbers both anew
  for (const Txid until : {vacuum.Prev(), vacuum}) {
    auto plan = Plan(inserted, until);
    ASSERT_OK(plan);
    ASSERT_FALSE(plan->script.empty());
    EXPECT_FALSE(plan->left_out.empty());
    const DatabaseContent content = Apply(history_.Reference(until), plan->script, true);
    EXPECT_EQ(content.rows.at("q").size(), 1u);
    const DatabaseContent now = ReadContent(history_.Reference(until));
    EXPECT_EQ(content.rows.at("sqlite_sequence"), now.rows.at("sqlite_sequence"));
    EXPECT_EQ(content.rows.at("sqlite_stat1"), now.rows.at("sqlite_stat1"));
  }
}

TEST_F(DiffTest, VirtualTablesComeBackThroughTheirStorage) {
  Run("CREATE VIRTUAL TABLE f USING fts5(body); CREATE VIRTUAL TABLE g USING fts4(body);"
      "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, +note)");
  const Txid inserted =
      Run("INSERT INTO f VALUES('one two'),('three'); INSERT INTO g VALUES('four'),('five');"
          "INSERT INTO r VALUES(1,0,1,'a'),(2,5,6,'b')");
  const Txid changed =
      Run("UPDATE f SET body='six' WHERE rowid=1; DELETE FROM g WHERE docid=2;"
          "UPDATE r SET x1=9, note='c' WHERE id=2");
  ExpectUndone(history_, inserted);
  ExpectUndone(history_, changed);
  for (const TableChanges& table : Changes(inserted, changed).tables) {
    EXPECT_TRUE(table.shadow) << table.name;
  }
}

TEST_F(DiffTest, ALargeRowWrittenInPlaceIsFoundAtTheCostOfItself) {
  Run("CREATE TABLE b(id INTEGER PRIMARY KEY, v); INSERT INTO b VALUES(1, zeroblob(2000000)),"
      "(2, zeroblob(5000))");
  const Txid a = history_.history().txid();
  const Txid written = Run("UPDATE b SET v=CAST(replace(hex(zeroblob(1000000)),'0','x') AS BLOB)");
  const ChangeSet changes = Changes(a, written);
  EXPECT_EQ(RowsIn(changes), 2u);
}

}  // namespace
}  // namespace sqlite_s3

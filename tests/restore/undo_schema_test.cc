// undo of what changed tables themselves: ALTER TABLE; and that no part of a script is made where
// its transaction is gone.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/restore/rows_fixture.h"

namespace sqlite_s3 {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class UndoAlterTest : public OneHistoryFixture {
 protected:
  void SetUp() override {
    Run("CREATE TABLE k(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT DEFAULT 'd', b, c REAL, "
        "UNIQUE(a, id));"
        "CREATE TABLE log(what); CREATE INDEX k_b ON k(b); CREATE VIEW seen AS SELECT a, b FROM k;"
        "CREATE TRIGGER k_new AFTER INSERT ON k BEGIN INSERT INTO log VALUES(new.b); END;"
        "CREATE TRIGGER k_gone AFTER DELETE ON k BEGIN INSERT INTO log VALUES('gone'); END;"
        "CREATE TRIGGER k_changed AFTER UPDATE ON k BEGIN INSERT INTO log VALUES('changed'); END;"
        "INSERT INTO k(a,b,c) "
        "VALUES('one',1,1.5),('two',x'00',9e999),(NULL,NULL,NULL),('d','x',3)");
    Run("ANALYZE");
  }
  // Of a state that came after `txid`: as `expected` says, by SQL run on the state `until`.
  void ExpectMerged(Txid txid, Txid until, const std::string& sql, const std::string& expected) {
    for (const bool off : {true, false}) {
      auto plan = Plan(txid, until, off);
      ASSERT_OK(plan);
      ASSERT_FALSE(plan->script.empty());
      (void)Apply(history_.Reference(until), plan->script, off);
      auto db = Connection::Open(directory_.File("live.db"), SQLITE_OPEN_READWRITE, "", 0);
      ASSERT_OK(db);
      EXPECT_EQ(*db->QueryText(sql.c_str()), expected) << plan->script;
    }
  }
  std::vector<std::string> Obstacles(Txid txid, Txid until) {
    auto plan = Plan(txid, until);
    EXPECT_OK(plan);
    EXPECT_TRUE(plan.ok() && plan->script.empty());
    return plan.ok() ? plan->obstacles : std::vector<std::string>();
  }
};

TEST_F(UndoAlterTest, AColumnThatWasAddedGoesWithItsValues) {
  ExpectUndone(history_, Run("ALTER TABLE k ADD COLUMN n TEXT NOT NULL DEFAULT 'none'"));
  const Txid both =
      Run("ALTER TABLE k ADD COLUMN m; UPDATE k SET m=a, b=7 WHERE id<3;"
          "INSERT INTO k(a, m) VALUES('new','new'); DELETE FROM k WHERE id=4");
  ExpectUndone(history_, both);
  ExpectDiffMakes(history_, both.Prev(), both);
}

TEST_F(UndoAlterTest, AColumnThatWasAddedGoesFromUnderLaterRowsThatDoNotUseIt) {
  const Txid added = Run("ALTER TABLE k ADD COLUMN n DEFAULT 5");
  const Txid until = Run("INSERT INTO k(a,b) VALUES('later', 8); UPDATE k SET c=2 WHERE id=1");
  ExpectMerged(
      added, until,
      "SELECT group_concat(v) FROM (SELECT a||':'||coalesce(c,'-') AS v FROM k WHERE a<>'two' "
      "ORDER BY id)",
      "one:2.0,d:3.0,later:-");
}

TEST_F(UndoAlterTest, AColumnThatWasUsedSinceStays) {
  const Txid added = Run("ALTER TABLE k ADD COLUMN n DEFAULT 5");
  EXPECT_THAT(Obstacles(added, Run("UPDATE k SET n=6 WHERE id=1")),
              Contains(HasSubstr("put values into column 'n'")));
  EXPECT_THAT(Obstacles(added, Run("CREATE VIEW later AS SELECT N FROM k")),
              Contains(HasSubstr("view 'later' was made later")));
}

TEST_F(UndoAlterTest, AColumnThatWasDroppedComesBackInItsPlaceWithItsValues) {
  Run("DROP VIEW seen; DROP INDEX k_b; DROP TRIGGER k_new");
  const Txid dropped = Run("ALTER TABLE k DROP COLUMN b");
  ExpectUndone(history_, dropped);
  ExpectDiffMakes(history_, dropped.Prev(), dropped);
  const Txid until = Run("INSERT INTO k(a,c) VALUES('later', 8)");
  ExpectMerged(dropped, until,
               "SELECT group_concat(v) FROM (SELECT id||':'||quote(b) AS v FROM k ORDER BY id)",
               "1:1,2:X'00',3:NULL,4:'x',5:NULL");
}

TEST_F(UndoAlterTest, ADroppedColumnWithADefaultComesBackAlsoWhereItWasNull) {
  Run("CREATE TABLE e(id INTEGER PRIMARY KEY, v, w DEFAULT 'std', x);"
      "INSERT INTO e(id,v) VALUES(1,1); INSERT INTO e VALUES(2,2,NULL,2),(3,3,'own',3)");
  ExpectUndone(history_, Run("ALTER TABLE e DROP COLUMN w"));
}

TEST_F(UndoAlterTest, ANameIsPutBackToTheLetterEverywhere) {
  const Txid renamed = Run("ALTER TABLE k RENAME COLUMN b TO \"new name\"");
  ExpectUndone(history_, renamed);
  const Txid until = Run("INSERT INTO k(a,\"new name\") VALUES('later', 8)");
  ExpectMerged(renamed, until, "SELECT b FROM seen WHERE a='later'", "8");
}

TEST_F(UndoAlterTest, ATableThatWasRenamedIsRenamedBack) {
  Run("DELETE FROM sqlite_stat1");  // what there is of an index goes when it is dropped
  ExpectUndone(history_, Run("ALTER TABLE k RENAME TO kk"));
}

TEST_F(UndoAlterTest, TablesOfEveryKindAreMadeAnew) {
  Run("CREATE TABLE w(k TEXT COLLATE NOCASE, n INT, v, PRIMARY KEY(k, n DESC)) WITHOUT ROWID;"
      "CREATE TABLE g(a, v AS (a||1) VIRTUAL, s AS (a||2) STORED, b);"
      "CREATE TABLE tt(i INT, a ANY, r REAL) STRICT; CREATE TABLE \"o'd\"\"d\"(rowid TEXT, x);"
      "INSERT INTO w VALUES('a',1,'1'),('B',2,zeroblob(900)); INSERT INTO g(a,b) VALUES(1,2),(3,4);"
      "INSERT INTO tt VALUES(1,'1',1),(2,2,2.5); INSERT INTO \"o'd\"\"d\" VALUES('x',1),('y',2);"
      "DELETE FROM g WHERE a=1");
  const Txid altered =
      Run("ALTER TABLE w ADD COLUMN z DEFAULT 1; UPDATE w SET z=2 WHERE n=1;"
          "ALTER TABLE g DROP COLUMN b; ALTER TABLE tt ADD COLUMN z ANY; UPDATE tt SET z=a;"
          "ALTER TABLE \"o'd\"\"d\" RENAME COLUMN x TO y");
  ExpectUndone(history_, altered);
  ExpectDiffMakes(history_, altered.Prev(), altered);
}

TEST_F(UndoAlterTest, APrimaryKeyThatWasAlteredIsRefused) {
  const Txid altered = Run(
      "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql,'what','what INTEGER "
      "PRIMARY KEY') WHERE name='log'; PRAGMA writable_schema=RESET");
  EXPECT_THAT(Obstacles(altered, altered), Contains(HasSubstr("primary key of table 'log'")));
}

TEST_F(UndoAlterTest, AnotherTypeOfAColumnIsRefusedForItsValuesWouldBeConverted) {
  const Txid altered =
      Run("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql,'b, c','b TEXT, c') "
          "WHERE name='k'; PRAGMA writable_schema=RESET");
  EXPECT_THAT(Obstacles(altered, altered), Contains(HasSubstr("type of column 'b'")));
}

TEST_F(UndoAlterTest, WhereverTheTransactionEndsNothingIsChanged) {
  const Txid altered =
      Run("ALTER TABLE k ADD COLUMN n; UPDATE k SET n=1 WHERE id=1;"
          "CREATE TABLE more(x); DROP VIEW seen; CREATE INDEX k_c ON k(c);"
          "PRAGMA user_version=3; DROP TABLE log");
  const DatabaseContent now = ReadContent(history_.Reference(altered));
  auto plan = Plan(altered, altered, /*triggers_are_off=*/false);
  ASSERT_OK(plan);
  std::vector<std::string> statements{""};
  for (size_t at = 0; at < plan->script.size();) {
    const size_t end = plan->script.find('\n', at) + 1;
    statements.back() += plan->script.substr(at, end - at);
    if (sqlite3_complete(statements.back().c_str()) != 0) {
      statements.emplace_back();
    }
    at = end;
  }
  statements.pop_back();
  ASSERT_GT(statements.size(), 30u);
  const std::string path = directory_.File("live.db");
  // As an error such as a full disk ends it; the shell goes on with what follows.
  for (size_t end = 2; end + 2 < statements.size(); ++end) {
    if (statements[end].starts_with("SAVEPOINT")) {
      continue;  // it writes nothing, so nothing of it fails
    }
    for (const char* tail : {"", "-wal", "-shm"}) {
      ASSERT_OK(RemoveFile(path + tail));
    }
    ASSERT_OK(WriteFileAtomically(path, history_.Reference(altered), 0600, Durability::kVisible));
    {
      auto db = Connection::Open(path, SQLITE_OPEN_READWRITE, "", 0);
      ASSERT_OK(db);
      for (size_t i = 0; i < statements.size(); ++i) {
        (void)db->Exec(statements[i].c_str());
        if (i == end) {
          ASSERT_OK(db->Exec("ROLLBACK"));
        }
      }
    }
    ASSERT_EQ(ReadContent(path).Difference(now), "") << statements[end];
  }
}

}  // namespace
}  // namespace sqlite_s3

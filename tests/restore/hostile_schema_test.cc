// Schemas that no application made: refused, or read without being run.

#include <gtest/gtest.h>

#include "common/os/file.h"
#include "restore/rows/change_set.h"
#include "restore/rows/query.h"
#include "tests/restore/pages.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

class HostileSchemaTest : public ::testing::Test {
 protected:
  // The rows that `change` makes differ, in a database whose schema was written over before.
  Result<ChangeSet> Diff(const std::string& schema, const std::string& change) {
    const std::string path = directory_.File("hostile.db");
    RETURN_IF_ERROR(RemoveFile(path));
    std::vector<Bytes> states;
    for (const char* sql : {"PRAGMA synchronous=OFF;PRAGMA page_size=512;CREATE TABLE a(x, "
                            "y);CREATE TABLE b(x, y);CREATE INDEX i ON a(x);"
                            "INSERT INTO a VALUES(1,2);INSERT INTO b VALUES(3,4);",
                            change.c_str()}) {
      ASSIGN_OR_RETURN(Connection db,
                       Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 0));
      RETURN_IF_ERROR(db.Exec(sql));
      db = Connection();
      ASSIGN_OR_RETURN(Bytes bytes, ReadFile(path, 1 << 20));
      states.push_back(std::move(bytes));
    }
    // The same schema in both states: it is written over in copies.
    for (Bytes& state : states) {
      RETURN_IF_ERROR(WriteFileAtomically(path, state, 0600, Durability::kVisible));
      ASSIGN_OR_RETURN(Connection db, Connection::Open(path, SQLITE_OPEN_READWRITE, "", 0));
      RETURN_IF_ERROR(
          db.Exec(("PRAGMA synchronous=OFF;PRAGMA writable_schema=ON;" + schema).c_str()));
      db = Connection();
      ASSIGN_OR_RETURN(state, ReadFile(path, 1 << 20));
    }
    MemoryPages pages(512, states[0]);
    const uint64_t after = pages.AddState(states[1]);
    std::vector<PageNumber> changed;
    for (PageNumber n = 1; n <= states[1].size() / 512; ++n) {
      changed.push_back(n);
    }
    Differ differ;
    ASSIGN_OR_RETURN(DatabaseState first, differ.Look(pages.View()));
    ASSIGN_OR_RETURN(DatabaseState second, differ.Look(pages.View(after)));
    ChangeCollector collector;
    RETURN_IF_ERROR(differ.Diff(first, second, changed, collector));
    return std::move(collector.changes());
  }
  static constexpr char kChange[] = "UPDATE b SET y=5;UPDATE a SET y=6";
  TempDir directory_;
};

TEST_F(HostileSchemaTest, WhatIsSoundIsRead) {
  ASSERT_OK_AND_ASSIGN(const ChangeSet changes, Diff("", kChange));
  EXPECT_EQ(changes.tables.size(), 2u);
}

TEST_F(HostileSchemaTest, TwoTablesOnOneTreeAreRefused) {
  // With as many tables on one large tree as a schema holds, each would cost that tree.
  EXPECT_STATUS(Diff("UPDATE sqlite_schema SET rootpage=2 WHERE name='b';"
                     "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<50)"
                     "INSERT INTO sqlite_schema SELECT 'table','c'||i,'c'||i,2,"
                     "'CREATE TABLE c'||i||'(x, y)' FROM c",
                     kChange),
                StatusCode::kCorruption);
}

TEST_F(HostileSchemaTest, RootsThatThereAreNotOrAreNoTreesAreRefused) {
  for (const char* root : {"1000000", "4294967297", "-1"}) {
    EXPECT_STATUS(
        Diff(std::string("UPDATE sqlite_schema SET rootpage=") + root + " WHERE name='b'", kChange),
        StatusCode::kCorruption)
        << root;
  }
}

TEST_F(HostileSchemaTest, AnIndexUnderATablesNameIsNoTable) {
  EXPECT_STATUS(Diff("UPDATE sqlite_schema SET rootpage=(SELECT rootpage FROM sqlite_schema WHERE "
                     "name='i') WHERE name='b'",
                     "UPDATE a SET x=7"),
                StatusCode::kCorruption);
}

TEST_F(HostileSchemaTest, AViewOrVirtualTableWithPagesIsNotOpened) {
  for (const char* sql :
       {"CREATE VIEW b AS SELECT x, y FROM a", "CREATE VIRTUAL TABLE b USING fts5(x)",
        "CREATE TRIGGER b AFTER INSERT ON a BEGIN SELECT 1; END", "create", "", "DROP TABLE a",
        "ATTACH 'x' AS y"}) {
    EXPECT_STATUS(Diff("UPDATE sqlite_schema SET sql=" + SqlText(sql) + " WHERE name='b'", kChange),
                  StatusCode::kCorruption)
        << sql;
  }
}

TEST_F(HostileSchemaTest, ATableUnderAnothersNameIsRefused) {
  EXPECT_STATUS(
      Diff("UPDATE sqlite_schema SET sql='CREATE TABLE zz(x, y)' WHERE name='b'", kChange),
      StatusCode::kCorruption);
}

TEST_F(HostileSchemaTest, RowsOfMoreFieldsThanColumnsAreRefused) {
  EXPECT_STATUS(Diff("UPDATE sqlite_schema SET sql='CREATE TABLE b(x)' WHERE name='b'", kChange),
                StatusCode::kCorruption);
}

TEST_F(HostileSchemaTest, ADefaultIsNoProgram) {
  // Rows that lack the column show what its default gives: nothing, where that is no constant.
  for (const char* expression :
       {"(WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT max(i) FROM c)",
        "(load_extension('x'))", "(hex(zeroblob(999999999)))", "(SELECT y FROM b)",
        "(randomblob(9))"}) {
    auto changes = Diff("UPDATE sqlite_schema SET sql='CREATE TABLE b(x, y, z DEFAULT " +
                            SqlText(expression).substr(1, SqlText(expression).size() - 2) +
                            ")' WHERE name='b'",
                        kChange);
    if (!changes.ok()) {
      EXPECT_EQ(changes.code(), StatusCode::kCorruption) << changes.status().ToString();
      continue;
    }
    for (const TableChanges& table : changes->tables) {
      if (table.name == "b") {
        EXPECT_EQ(table.rows.at(0).before.at(2).type, Value::Type::kNull) << expression;
      }
    }
  }
}

TEST_F(HostileSchemaTest, NamesCannotSpeakToTheTerminal) {
  ASSERT_OK_AND_ASSIGN(
      const ChangeSet changes,
      Diff("UPDATE sqlite_schema SET name='b'||char(27)||'[2J', tbl_name='b'||char(27)||'[2J',"
           "sql='CREATE TABLE \"b'||char(27)||'[2J\"(x, \"y'||char(27)||'\")' WHERE name='b'",
           kChange));
  ASSERT_EQ(changes.tables.size(), 2u);
  const TableChanges& table = changes.tables[1];
  EXPECT_EQ(DescribeRow(table, table.rows.at(0)), "~ rowid=1: y? 4 -> 5");
  // Nor in what SQLite says of a schema.
  auto refused = Diff("UPDATE sqlite_schema SET name='b'||char(27)||'[2J' WHERE name='b'", kChange);
  ASSERT_STATUS(refused, StatusCode::kCorruption);
  EXPECT_EQ(refused.status().message().find(char{27}), std::string::npos);
}

TEST_F(HostileSchemaTest, RowsOfTheSchemaThatAreNoneAreRefused) {
  for (const char* sql : {"UPDATE sqlite_schema SET sql=x'00ff' WHERE name='b'",
                          "UPDATE sqlite_schema SET name=7 WHERE name='b'",
                          "UPDATE sqlite_schema SET sql='CREATE TABLE b(x'||char(0)||')' "
                          "WHERE name='b'"}) {
    EXPECT_STATUS(Diff(sql, kChange), StatusCode::kCorruption) << sql;
  }
}

}  // namespace
}  // namespace sqlite_s3

// undo of commits to virtual tables.

#include "restore/rows/virtual_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/restore/rows_fixture.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class VirtualTableTest : public OneHistoryFixture {
 protected:
  // What `sql` says of the state `until` without the commit.
  std::string Without(Txid txid, Txid until, const std::string& sql) {
    auto plan = Plan(txid, until);
    EXPECT_OK(plan);
    if (!plan.ok() || plan->script.empty()) {
      return "refused";
    }
    rebuilt_ = plan->rebuilt;
    (void)Apply(history_.Reference(until), plan->script, true);
    auto db = Connection::Open(directory_.File("live.db"), SQLITE_OPEN_READWRITE, "", 0);
    EXPECT_OK(db);
    auto text = db->QueryText(sql.c_str());
    EXPECT_OK(text);
    return text.ok() ? *text : "";
  }
  std::vector<std::string> rebuilt_;
};

TEST_F(VirtualTableTest, ThoseThatWereMadeAreDroppedAndThoseThatWereDroppedComeBack) {
  const Txid made =
      Run("CREATE VIRTUAL TABLE f USING fts5(body, tag UNINDEXED, prefix='2 3');"
          "CREATE VIRTUAL TABLE g USING fts4(body); CREATE VIRTUAL TABLE r USING rtree(id, x0, x1);"
          "CREATE VIRTUAL TABLE v USING fts5vocab(f, row);"
          "INSERT INTO f VALUES('one two','x'); INSERT INTO r VALUES(7,0,1)");
  ExpectUndone(history_, made);
  Run("INSERT INTO f VALUES('three','y'); INSERT INTO g VALUES('four'); DELETE FROM f WHERE "
      "rowid=1;"
      "INSERT INTO r VALUES(8,1,2)");
  const Txid dropped = Run("DROP TABLE v; DROP TABLE f; DROP TABLE g; DROP TABLE r");
  ExpectUndone(history_, dropped);
  ExpectDiffMakes(history_, made, dropped);
}

TEST_F(VirtualTableTest, ADocumentComesBackAlsoWhenOthersWereWrittenSince) {
  Run("CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES('one two'),('three')");
  const Txid gone = Run("DELETE FROM f WHERE rowid=1");
  const Txid changed = Run("UPDATE f SET body='changed three' WHERE rowid=2");
  const Txid until = Run("INSERT INTO f VALUES('one later')");
  EXPECT_EQ(Without(gone, until, "SELECT group_concat(body) FROM f('one')"), "one two,one later");
  EXPECT_THAT(rebuilt_, ElementsAre("f"));
  EXPECT_EQ(Without(changed, until, "SELECT count(*) FROM f('changed')"), "0");
  EXPECT_EQ(Without(gone, gone, "SELECT count(*) FROM f('one')"), "1");
  EXPECT_THAT(rebuilt_, ElementsAre()) << "bit by bit, where nothing came after";
  // The same document again.
  Run("UPDATE f SET body='other' WHERE rowid=2");
  auto plan = Plan(changed, history_.history().txid());
  ASSERT_OK(plan);
  EXPECT_TRUE(plan->script.empty());
  ASSERT_FALSE(plan->conflicts.empty());
  EXPECT_EQ(plan->conflicts[0].table, "f_content");
}

TEST_F(VirtualTableTest, AnIndexOfAnotherTablesContentFollowsIt) {
  Run("CREATE TABLE doc(id INTEGER PRIMARY KEY, body);"
      "CREATE VIRTUAL TABLE s USING fts5(body, content='doc', content_rowid=id);"
      "CREATE TRIGGER doc_i AFTER INSERT ON doc BEGIN INSERT INTO s(rowid,body) VALUES(new.id,"
      "new.body); END;"
      "CREATE TRIGGER doc_d AFTER DELETE ON doc BEGIN INSERT INTO s(s,rowid,body) VALUES('delete',"
      "old.id,old.body); END;"
      "INSERT INTO doc(body) VALUES('one two'),('three'),('one four')");
  const Txid gone = Run("DELETE FROM doc WHERE id=1");
  const Txid until = Run("INSERT INTO doc(body) VALUES('one five'); DELETE FROM doc WHERE id=3");
  EXPECT_EQ(Without(gone, until, "SELECT group_concat(body) FROM s('one')"), "one two,one five");
  EXPECT_THAT(rebuilt_, ElementsAre("s"));
}

TEST_F(VirtualTableTest, AnIndexWithoutContentIsRefusedByName) {
  Run("CREATE VIRTUAL TABLE c USING fts5(body, content=''); INSERT INTO c(rowid,body) "
      "VALUES(1,'one')");
  const Txid first = Run("INSERT INTO c(rowid,body) VALUES(2,'two')");
  ExpectUndone(history_, first);
  const Txid until = Run("INSERT INTO c(rowid,body) VALUES(3,'three')");
  auto plan = Plan(first, until);
  ASSERT_OK(plan);
  EXPECT_TRUE(plan->script.empty());
  ASSERT_FALSE(plan->conflicts.empty());
  EXPECT_THAT(plan->conflicts[0].table, HasSubstr("c_d"));
}

TEST_F(VirtualTableTest, Fts4IsRebuiltAsWell) {
  Run("CREATE VIRTUAL TABLE g USING fts4(body); INSERT INTO g VALUES('one two'),('three')");
  const Txid gone = Run("DELETE FROM g WHERE docid=1");
  const Txid until = Run("INSERT INTO g VALUES('one later')");
  EXPECT_EQ(Without(gone, until, "SELECT group_concat(body) FROM g WHERE g MATCH 'one'"),
            "one two,one later");
  EXPECT_THAT(rebuilt_, ElementsAre("g"));
}

TEST(ModuleOfTest, ReadsTheModuleWhateverTheNameIs) {
  EXPECT_EQ(ModuleOf("CREATE VIRTUAL TABLE f USING fts5(a)"), "fts5");
  EXPECT_EQ(ModuleOf("CREATE VIRTUAL TABLE \"a using b\" USING FTS5(a)"), "fts5");
  EXPECT_EQ(ModuleOf("CREATE VIRTUAL TABLE 'it''s using x' /* using y */ using rtree"), "rtree");
  EXPECT_EQ(ModuleOf("CREATE VIRTUAL TABLE [using] -- using z\n USING geopoly(a)"), "geopoly");
  EXPECT_EQ(ModuleOf("CREATE VIRTUAL TABLE f USING"), "");
  EXPECT_EQ(ModuleOf("CREATE VIRTUAL TABLE \"f"), "");
}

TEST_F(VirtualTableTest, AQuotedModuleIsTheSameModule) {
  for (const char* module : {"\"fts5\"", "[FTS5]", "`fts5`", "'fts5'"}) {
    const std::string create = std::string("CREATE VIRTUAL TABLE f USING ") + module + "(body)";
    Run(create + "; DROP TABLE f");  // SQLite takes it
    EXPECT_EQ(ModuleOf(create), "fts5") << module;
  }
}

TEST(IsRebuildableTest, ContentMayBeNamedInAnyQuotes) {
  Schema schema;
  schema[{"table", "f_content"}] = SchemaObject{"table", "f_content", "f_content", 3, "x"};
  const auto rebuildable = [&](const std::string& option) {
    return IsRebuildable(
        schema,
        SchemaObject{"table", "f", "f", 0, "CREATE VIRTUAL TABLE f USING fts5(a" + option + ")"},
        "f_data");
  };
  EXPECT_TRUE(rebuildable(""));
  for (const char* named : {"t", "'t'", "\"t\"", "[t]", "`t`", "'t''s'", " /* of */ t"}) {
    EXPECT_TRUE(rebuildable(std::string(", content=") + named)) << named;
  }
  for (const char* none : {"''", "\"\"", "[]", "``", " /* none */ ''", ""}) {
    EXPECT_FALSE(rebuildable(std::string(", CONTENT = ") + none)) << none;
  }
}

TEST(OwnerOfTest, OnlyTheModulesOwnTablesAreItsStorage) {
  Schema schema;
  const auto add = [&](const std::string& name, PageNumber root, const std::string& sql) {
    schema[{"table", name}] = SchemaObject{"table", name, name, root, sql};
  };
  add("notes", 0, "CREATE VIRTUAL TABLE notes USING fts5(body)");
  add("notes_data", 3, "CREATE TABLE 'notes_data'(id INTEGER PRIMARY KEY, block BLOB)");
  add("notes_content", 4, "CREATE TABLE 'notes_content'(id INTEGER PRIMARY KEY, c0)");
  add("notes_archive", 5, "CREATE TABLE notes_archive(x)");
  add("own_thing", 6, "CREATE TABLE own_thing(x)");
  add("own", 0, "CREATE VIRTUAL TABLE own USING mymodule");
  ASSERT_NE(OwnerOf(schema, "notes_data"), nullptr);
  EXPECT_EQ(OwnerOf(schema, "notes_data")->name, "notes");
  EXPECT_EQ(OwnerOf(schema, "notes_archive"), nullptr) << "the application's";
  EXPECT_NE(OwnerOf(schema, "own_thing"), nullptr) << "may be the module's";
  EXPECT_TRUE(IsRebuildable(schema, *OwnerOf(schema, "notes_data"), "notes_data"));
  EXPECT_FALSE(IsRebuildable(schema, *OwnerOf(schema, "notes_content"), "notes_content"));
}

}  // namespace
}  // namespace sqlite_s3

// SQL as text: SQLite's tokens, what is redacted, and values found again in expanded statements.
#include "common/sqlite/sql_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "common/sqlite/connection.h"
#include "common/sqlite/expanded_sql.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(SqlTextTest, TokensTogetherAreTheText) {
  std::mt19937 random(1);
  const std::string_view letters = "aX0'\"`[]x(-/*.?:@$1e+;\n ,\xc3\xa4";
  for (int i = 0; i < 20'000; ++i) {
    std::string sql;
    for (size_t n = random() % 24; n > 0; --n) {
      sql += letters[random() % letters.size()];
    }
    std::string together;
    SqlTokenizer tokens(sql);
    for (SqlToken t = tokens.Next(); t.kind != SqlTokenKind::kEnd; t = tokens.Next()) {
      ASSERT_FALSE(t.text.empty()) << sql;
      together += t.text;
    }
    ASSERT_EQ(together, sql);
    (void)RedactSql(sql);
    (void)ParseControl(sql);
    (void)ValuesOf(sql, sql);
  }
}

TEST(SqlTextTest, RedactionLeavesNoLiteral) {
  const struct {
    const char* sql;
    const char* redacted;
  } kCases[] = {
      {"INSERT INTO t VALUES('it''s', 12, -1.5e3, x'00ff', 0x1F, NULL)",
       "INSERT INTO t VALUES(?, ?, -?, ?, ?, NULL)"},
      {"SELECT /* secret */ a -- secret\nFROM t", "SELECT   a  \nFROM t"},
      {"UPDATE t SET a = ?, b = :b WHERE c = @c AND d = $d AND e = ?3",
       "UPDATE t SET a = ?, b = :b WHERE c = @c AND d = $d AND e = ?3"},
      {"INSERT INTO \"notes\" (\"a\", \"b\") VALUES (\"secret\", ?)",
       "INSERT INTO \"notes\" (\"a\", \"b\") VALUES (?, ?)"},
      {"UPDATE \"t\" SET \"a\" = \"secret\", \"b\" = 1 WHERE \"t\".\"id\" = 5",
       "UPDATE \"t\" SET \"a\" = ?, \"b\" = ? WHERE \"t\".\"id\" = ?"},
      {"CREATE TABLE \"t\" (\"id\" INTEGER, \"n\" TEXT DEFAULT \"secret\")",
       "CREATE TABLE \"t\" (\"id\" INTEGER, \"n\" TEXT DEFAULT ?)"},
      {"INSERT INTO t SELECT 'unterminated", "INSERT INTO t SELECT ?"},
      {"DELETE FROM [a b] WHERE `c` = 'x'", "DELETE FROM [a b] WHERE `c` = ?"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(RedactSql(c.sql).sql, c.redacted);
  }
  EXPECT_FALSE(RedactSql("DELETE FROM t WHERE a = ?").redacted);
  EXPECT_TRUE(RedactSql("DELETE FROM t WHERE a = 1").redacted);
}

TEST(SqlTextTest, TransactionControlIsFoundBehindCommentsAndQuotes) {
  EXPECT_EQ(ParseControl("/* c */ begin immediate").kind, SqlControl::kBegin);
  EXPECT_EQ(ParseControl("END TRANSACTION").kind, SqlControl::kCommit);
  EXPECT_EQ(ParseControl("ROLLBACK").kind, SqlControl::kRollback);
  EXPECT_EQ(ParseControl("ROLLBACK TRANSACTION TO SAVEPOINT \"a b\"").savepoint, "a b");
  EXPECT_EQ(ParseControl("rollback to x;").kind, SqlControl::kRollbackTo);
  EXPECT_EQ(ParseControl("release savepoint").savepoint, "savepoint");
  EXPECT_EQ(ParseControl("RELEASE SAVEPOINT s").savepoint, "s");
  EXPECT_EQ(ParseControl("SELECT 1").kind, SqlControl::kNone);
  EXPECT_EQ(ParseControl("").kind, SqlControl::kNone);
}

TEST(SqlTextTest, PragmasAreNamedWithoutTheirSchema) {
  EXPECT_EQ(PragmaName("PRAGMA main.User_Version = 5"), "user_version");
  EXPECT_EQ(PragmaName("PRAGMA key='secret'"), "key");
  EXPECT_EQ(PragmaName("SELECT 1"), "");
}

TEST(SqlTextTest, ExclusionMatchesWholeNamesWithWildcards) {
  EXPECT_TRUE(NamesOneOf("INSERT INTO Secrets VALUES(1)", "secrets"));
  EXPECT_TRUE(NamesOneOf("INSERT INTO \"tokens_2\" VALUES(1)", "secrets:tokens_?"));
  EXPECT_TRUE(NamesOneOf("UPDATE u SET password_hash = 1", "*password*"));
  EXPECT_FALSE(NamesOneOf("INSERT INTO secrets_public VALUES(1)", "secrets"));
  EXPECT_FALSE(NamesOneOf("INSERT INTO t VALUES(1)", ""));
}

TEST(SqlTextTest, UnrepeatableFunctionsAreCallsNotNames) {
  EXPECT_TRUE(IsUnrepeatable("INSERT INTO t VALUES(Random ())"));
  EXPECT_FALSE(IsUnrepeatable("INSERT INTO random VALUES(1)"));
  EXPECT_FALSE(IsUnrepeatable("INSERT INTO t VALUES('random()')"));
}

// What SQLite itself writes for bound values.
class ExpandedTest : public ::testing::Test {
 protected:
  ExpandedTest() : db_(*Connection::Open(":memory:", SQLITE_OPEN_READWRITE, "", 0)) {}
  ~ExpandedTest() override { sqlite3_finalize(statement_); }
  void Prepare(const std::string& sql) {
    ASSERT_EQ(sqlite3_prepare_v2(db_.get(), sql.c_str(), -1, &statement_, nullptr), SQLITE_OK);
    sql_ = sql;
  }
  std::vector<ExpandedValue> Values() {
    char* expanded = sqlite3_expanded_sql(statement_);
    auto values = ValuesOf(sql_, expanded);
    EXPECT_TRUE(values) << expanded;
    sqlite3_free(expanded);
    return values ? *values : std::vector<ExpandedValue>();
  }
  Connection db_;
  sqlite3_stmt* statement_ = nullptr;
  std::string sql_;
};

TEST_F(ExpandedTest, ValuesOfEveryTypeAreFound) {
  Prepare("SELECT ?, ?,? /* ? */,?+'?',-?, ?,? , ?");
  sqlite3_bind_int64(statement_, 1, std::numeric_limits<int64_t>::min());
  sqlite3_bind_double(statement_, 2, -0.5);
  sqlite3_bind_text(statement_, 3, "it's; -- ?", -1, SQLITE_STATIC);
  sqlite3_bind_blob(statement_, 4, "\x00\xff", 2, SQLITE_STATIC);
  sqlite3_bind_int(statement_, 5, -7);
  sqlite3_bind_zeroblob(statement_, 6, 3);
  sqlite3_bind_double(statement_, 7, -std::numeric_limits<double>::infinity());
  const auto values = Values();
  ASSERT_EQ(values.size(), 8u);
  using Type = ExpandedValue::Type;
  EXPECT_EQ(values[0].integer, std::numeric_limits<int64_t>::min());
  EXPECT_EQ(values[1].real, -0.5);
  EXPECT_EQ(values[2].bytes, "it's; -- ?");
  EXPECT_EQ(values[3].bytes, std::string("\x00\xff", 2));
  EXPECT_EQ(values[4].integer, -7);
  EXPECT_EQ(values[5].bytes, std::string(3, '\0'));
  EXPECT_EQ(values[6].type, Type::kReal);
  EXPECT_TRUE(std::isinf(values[6].real));
  EXPECT_EQ(values[7].type, Type::kNull);
}

TEST_F(ExpandedTest, NamedAndNumberedParametersHaveTheirNumbers) {
  Prepare("SELECT :a, ?5, :a, @b, ?, $c(x)");
  for (int i = 1; i <= sqlite3_bind_parameter_count(statement_); ++i) {
    sqlite3_bind_int(statement_, i, 100 + i);
  }
  const auto values = Values();
  ASSERT_EQ(values.size(), static_cast<size_t>(sqlite3_bind_parameter_count(statement_)));
  EXPECT_EQ(values[0].integer, 101);
  for (size_t i = 4; i < values.size(); ++i) {
    EXPECT_EQ(values[i].integer, 101 + static_cast<int64_t>(i));
  }
}

TEST(SqlTextTest, WhatWasNotExpandedFromTheStatementIsRefused) {
  EXPECT_FALSE(ValuesOf("SELECT ?", "SELECT 1, 2"));
  EXPECT_FALSE(ValuesOf("SELECT ?", "DELETE 1"));
  EXPECT_FALSE(ValuesOf("SELECT ?", "SELECT "));
  EXPECT_FALSE(ValuesOf("SELECT ?99999999", "SELECT 1"));
}

TEST(PragmaTest, IsRecognizedBehindBlanksAndComments) {
  struct {
    const char* sql;
    bool is_pragma, sets;
  } cases[] = {
      {"PRAGMA wal_autocheckpoint=5", true, true},
      {"pragma wal_autocheckpoint ( 5 )", true, true},
      {" \t\r\n-- x\n/* y */PRAGMA/**/main . wal_AUTOcheckpoint\n=0", true, true},
      {"PRAGMA \"main\".[wal_autocheckpoint]='5'", true, true},
      {"PRAGMA `wal_autocheckpoint` = 5", true, true},
      {" ; /* empty */ ;PRAGMA wal_autocheckpoint=5", true, true},  // SQLite carries it out
      {"PRAGMA wal_autocheckpoint", true, false},
      {"PRAGMA main.wal_autocheckpoint;", true, false},
      {"PRAGMA wal_checkpoint(FULL)", true, false},
      {"PRAGMA wal_autocheckpoint2=5", true, false},
      {"PRAGMA", true, false},
      {"PRAGMAX wal_autocheckpoint=5", false, false},
      {"SELECT 'PRAGMA wal_autocheckpoint=5'", false, false},
      {"-- PRAGMA wal_autocheckpoint=5", false, false},
      {"/* PRAGMA wal_autocheckpoint=5", false, false},
      {"INSERT INTO t VALUES(1)", false, false},
      {"\"", false, false},
      {"[", false, false},
      {"PRAGMA [wal_autocheckpoint", true, false},
      {"PRAGMA \"=5", true, false},
      {"", false, false},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(IsPragma(c.sql), c.is_pragma) << c.sql;
    EXPECT_EQ(SetsPragma(c.sql, "wal_autocheckpoint"), c.sets) << c.sql;
  }
}

}  // namespace
}  // namespace sqlite_s3

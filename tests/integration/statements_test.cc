// The SQL log from the application's statement to the restored database, in one process: what is
// recorded, to which commit it is bound, and that executing it again gives the bytes of the pages.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/integration/statements_fixture.h"

namespace sqlite_s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class StatementsTest : public StatementsFixture {};

TEST_F(StatementsTest, AreShippedUnderTheTxidOfTheirCommit) {
  Start("statements=values,interval=0");
  app.Do("INSERT INTO t VALUES('one')");
  const Txid first = Sync();
  app.Do("BEGIN; INSERT INTO t VALUES('two'); UPDATE t SET x = x || '!'; COMMIT");
  const Txid second = Sync();
  Stop();
  EXPECT_EQ(second, first.Next());
  EXPECT_THAT(Sql(first), ElementsAre("INSERT INTO t VALUES('one')"));
  EXPECT_THAT(Sql(second),
              ElementsAre("INSERT INTO t VALUES('two');", "UPDATE t SET x = x || '!';"));
}

TEST_F(StatementsTest, ExecutedAgainGiveTheBytesOfThePages) {
  Start("statements=values,interval=0");
  app.Do("CREATE TABLE u(id INTEGER PRIMARY KEY, a TEXT, b REAL)");
  app.Do("CREATE INDEX ua ON u(a)");
  for (int i = 0; i < 20; ++i) {
    app.Do("INSERT INTO u(a, b) VALUES('row " + std::to_string(i) + "', 0.5)");
  }
  app.Do("BEGIN; DELETE FROM u WHERE id % 3 = 0; UPDATE u SET b = id; COMMIT");
  app.Do("INSERT INTO u(a) VALUES(datetime('now'))");
  app.Do("VACUUM");
  Sync();
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), IsEmpty()) << reasons;
}

TEST_F(StatementsTest, ACommitThatCannotBeRepeatedTakesItsPagesAndIsNamed) {
  Start("statements=values,interval=0");
  app.Do("INSERT INTO t VALUES(1)");
  app.Do("INSERT INTO t VALUES(random())");
  const Txid random = Sync();
  app.Do("INSERT INTO t VALUES(2)");
  const Txid last = Sync();
  Stop();
  EXPECT_THAT(ExpectSqlEqualsPages(), ElementsAre(random.value));
  Bytes bytes;
  EXPECT_STATUS(Restore(last, RestoreVia::kSql, &bytes, /*strict=*/true),
                StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace sqlite_s3

// Random scripts: executing the log again gives the bytes of the pages at every commit, and names
// exactly the commits that cannot be repeated. SQLITE_S3_SCRIPTS=2000 runs that many, from
// SQLITE_S3_FIRST_SCRIPT on; SQLITE_S3_EVERY_COMMIT=1 restores each of them at every commit.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "tests/integration/statements_script.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kScripts = 40;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::stoull(text) : otherwise;
}

struct Totals {
  uint64_t scripts = 0, commits = 0, needed = 0;
  std::map<std::string, uint64_t> done;
};

Totals RunScripts(StatementsScript::Kind kind) {
  Totals totals;
  const uint64_t begin = FromEnvironment("SQLITE_S3_FIRST_SCRIPT", 1);
  const uint64_t scripts = FromEnvironment("SQLITE_S3_SCRIPTS", kScripts);
  const bool every_commit = FromEnvironment("SQLITE_S3_EVERY_COMMIT", 0) != 0;
  for (uint64_t seed = begin; seed < begin + scripts; ++seed) {
    SCOPED_TRACE("script " + std::to_string(seed));
    StatementsScript script(seed, kind);
    script.Run(every_commit || seed % 20 == 1);
    ++totals.scripts;
    totals.commits += script.total;
    totals.needed += script.needed;
    for (const auto& [what, times] : script.done) {
      totals.done[what] += times;
    }
    if (::testing::Test::HasFailure()) {
      break;
    }
  }
  std::printf("%llu scripts, %llu commits, %llu by their pages\n",
              static_cast<unsigned long long>(totals.scripts),
              static_cast<unsigned long long>(totals.commits),
              static_cast<unsigned long long>(totals.needed));
  return totals;
}

TEST(StatementsPropertyTest, SqlGivesThePagesBytesAndNamesWhatItCannotRepeat) {
  const Totals totals = RunScripts(StatementsScript::Kind::kAnything);
  EXPECT_GT(totals.commits, 10 * totals.scripts);
  EXPECT_LT(totals.needed, totals.commits / 2);
  if (totals.scripts < kScripts) {
    return;
  }
  for (const char* what : {"insert",
                           "update",
                           "delete",
                           "delete all",
                           "upsert",
                           "returning",
                           "first row of returning",
                           "insert select",
                           "last_insert_rowid",
                           "changes()",
                           "update from",
                           "instead of trigger",
                           "strict, literals",
                           "within rows",
                           "many rows",
                           "bound",
                           "bound exactly",
                           "wrapped",
                           "wrapper failed",
                           "index",
                           "table",
                           "table as select",
                           "alter",
                           "trigger",
                           "reindex, analyze",
                           "user_version",
                           "vacuum",
                           "fts5",
                           "or IGNORE",
                           "or REPLACE",
                           "or FAIL",
                           "or ABORT",
                           "or ROLLBACK",
                           "ended by or rollback",
                           "no such table",
                           "now",
                           "now, default",
                           "random",
                           "random, default",
                           "setting",
                           "savepoint",
                           "rollback to",
                           "transaction",
                           "transaction of a savepoint",
                           "empty transaction",
                           "rollback",
                           "retried",
                           "busy",
                           "page size, encoding",
                           "succeeded",
                           "failed"}) {
    EXPECT_GT(totals.done.count(what), 0u) << what;
  }
}

TEST(StatementsPropertyTest, AHistoryOfExactRepeatableStatementsNeedsNoPages) {
  const Totals totals = RunScripts(StatementsScript::Kind::kExact);
  EXPECT_GT(totals.commits, 10 * totals.scripts);
  EXPECT_EQ(totals.needed, 0u);
}

}  // namespace
}  // namespace sqlite_s3

#include "tests/integration/statements_fixture.h"

#include "common/format/keys.h"
#include "common/replica/replica.h"
#include "common/store/open_store.h"

namespace sqlite_s3 {
namespace {

std::shared_ptr<ObjectStore> OpenAt(const std::string& directory) {
  auto store = OpenStore({.scheme = "file", .path = directory});
  EXPECT_OK(store);
  return *store;
}

}  // namespace

std::vector<CommitStatements> StatementsFixture::Log() {
  std::vector<CommitStatements> log;
  auto store = OpenAt(directory.File("replica"));
  Txid next{1};
  while (true) {
    auto bytes = store->Get(keys::LogSegment(TimelineId{1}, next), kMaxSegmentBytes);
    if (!bytes.ok()) {
      return log;
    }
    auto segment = ParseSegment(std::move(*bytes), keys::LogSegment(TimelineId{1}, next));
    EXPECT_OK(segment);
    StatementLog statements;
    if (!segment->statements.empty()) {
      auto parsed = ParseStatements(segment->statements, segment->header.commit_count);
      EXPECT_OK(parsed);
      statements = *parsed;
    }
    statements.commits.resize(segment->commits.size());
    log.insert(log.end(), statements.commits.begin(), statements.commits.end());
    next = segment->header.last_txid().Next();
  }
}

std::vector<std::string> StatementsFixture::Sql(Txid txid) {
  std::vector<std::string> sql;
  const auto log = Log();
  if (txid.value > log.size()) {
    ADD_FAILURE() << "no TXID " << txid.value;
    return sql;
  }
  for (const LoggedStatement& statement : log[txid.value - 1].statements) {
    if ((statement.flags & kStatementControl) == 0) {
      sql.push_back(statement.sql);
    }
  }
  return sql;
}

Result<RestoreReport> StatementsFixture::Restore(Txid txid, RestoreVia via, Bytes* bytes,
                                                 bool strict) {
  auto store = OpenAt(directory.File("replica"));
  Replica replica(*store);
  RETURN_IF_ERROR(replica.Open());
  Progress progress(/*enabled=*/false);
  RestoreOptions options;
  options.output = directory.File("restored.db");
  options.target = txid;
  options.via = via;
  options.strict = strict;
  Damage damage;
  auto report = Restorer(replica, options, progress).Run(&damage);
  if (report.ok()) {
    auto read = ReadFile(options.output, uint64_t{1} << 30);
    EXPECT_OK(read);
    *bytes = *read;
    EXPECT_OK(RemoveFile(options.output));
  }
  return report;
}

Result<RestoreReport> StatementsFixture::RestoreWithout(std::vector<Txid> skip, Txid txid) {
  auto store = OpenAt(directory.File("replica"));
  Replica replica(*store);
  RETURN_IF_ERROR(replica.Open());
  Progress progress(/*enabled=*/false);
  RestoreOptions options;
  options.output = directory.File("restored.db");
  options.target = txid;
  options.via = RestoreVia::kSql;
  options.skip = std::move(skip);
  options.verify = VerifyLevel::kQuick;
  (void)RemoveFile(options.output);  // of an earlier call, if there was one
  Damage damage;
  return Restorer(replica, options, progress).Run(&damage);
}

std::set<uint64_t> StatementsFixture::ExpectSqlEqualsPages() {
  std::set<uint64_t> by_pages;
  const size_t commits = Log().size();
  for (Txid txid{2}; txid.value <= commits; txid = txid.Next()) {
    Bytes pages, sql;
    auto first = Restore(txid, RestoreVia::kPages, &pages);
    EXPECT_OK(first);
    auto second = Restore(txid, RestoreVia::kSql, &sql);
    EXPECT_OK(second);
    EXPECT_EQ(pages, sql) << "TXID " << txid.value;
    if (second.ok()) {
      by_pages.clear();
      reasons.clear();
      for (const ByPages& commit : second->by_pages) {
        by_pages.insert(commit.txid.value);
        reasons += FormatTxid(commit.txid) + " " + commit.reason + "\n";
      }
      EXPECT_EQ(second->commits_by_pages, by_pages.size());
    }
  }
  return by_pages;
}

}  // namespace sqlite_s3

// Restoring by the statements of the log (--via sql), and without some of its commits (--skip).

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "common/sqlite/connection.h"
#include "restore/applier.h"
#include "restore/restorer.h"

namespace sqlite_s3 {

void Restorer::WarnOfOtherSqlite(const SegmentHeader& header, const StatementLog& log) {
  if (log.sqlite_build == SqliteBuild() || !report_.warnings.empty()) {
    return;
  }
  report_.warnings.push_back(fmt::format(
      "the statements were executed by SQLite {}.{}.{}{}, this is {}: the same statements may make "
      "other bytes, and such commits take their pages",
      header.sqlite_version / 1000000, header.sqlite_version / 1000 % 1000,
      header.sqlite_version % 1000,
      header.sqlite_version == static_cast<uint32_t>(sqlite3_libversion_number())
          ? " of another build"
          : "",
      sqlite3_libversion()));
  progress_.Done();
  std::fputs(fmt::format("sqlite-s3-restore: warning: {}\n", report_.warnings.back()).c_str(),
             stderr);
}

Status Restorer::ExecuteFreely(const CommitStatements& commit, Txid txid) {
  constexpr size_t kMostChanged = 100'000;
  ASSIGN_OR_RETURN(const ReplayResult result, sql_->ExecuteFreely(commit));
  if (!result.same) {
    // Its pages hold the skipped commit's rows as well.
    return FailedPreconditionError(fmt::format(
        "TXID {}, after a skipped one, cannot be executed: {}, hint: --until txid:{} restores what "
        "comes before it",
        FormatTxid(txid), result.reason, FormatTxid(txid.Prev())));
  }
  ++report_.commits_free;
  std::vector<std::string> what = result.surprises;
  for (size_t i = 0; i < commit.statements.size(); ++i) {
    if ((commit.statements[i].flags & kStatementUnrepeatable) != 0) {
      what.push_back(
          fmt::format("statement {}: calls random() or the like, with other results", i + 1));
    }
    if ((commit.statements[i].flags & kStatementInexact) != 0) {
      what.push_back(fmt::format("statement {}: real numbers are recorded to 15 digits", i + 1));
    }
  }
  for (std::string& line : what) {
    if (report_.changed.size() < kMostChanged) {
      report_.changed.push_back({txid, std::move(line)});
    }
  }
  return Status::Ok();
}

Status Restorer::ReplayBySql(const Segment& segment, const std::string& key, Txid first, Txid last,
                             Applier& applier, Damage* damage) {
  StatementLog log;
  if (!segment.statements.empty()) {
    auto parsed = ParseStatements(segment.statements, segment.header.commit_count);
    if (parsed.ok()) {
      log = std::move(parsed).value();
      WarnOfOtherSqlite(segment.header, log);
    } else {
      report_.warnings.push_back(key + ": " + parsed.status().message());
    }
  }
  log.commits.resize(segment.commits.size());
  for (Txid txid = first; txid <= last; txid = txid.Next()) {
    const size_t index = txid.value - segment.header.first_txid.value;
    if (std::find(options_.skip.begin(), options_.skip.end(), txid) != options_.skip.end()) {
      diverged_ = true;
      continue;
    }
    executing_ = txid.value;
    if (diverged_) {
      RETURN_IF_ERROR(ExecuteFreely(log.commits[index], txid));
      ++report_.commits_applied;
      continue;
    }
    ReplayResult result;
    // A log that takes too long again and again is not worth more of it.
    constexpr uint64_t kMostTimeouts = 3;
    const auto& taken = options_.take_pages;
    if (std::find(taken.begin(), taken.end(), txid) != taken.end()) {
      result.reason = "not executed (--take-pages)";
    } else if (sql_->timeouts() + taken.size() < kMostTimeouts) {
      ASSIGN_OR_RETURN(result, sql_->Execute(log.commits[index], segment.commits[index]));
    } else {
      result.reason = "statements before it took too long";
    }
    if (result.same) {
      ++report_.commits_by_sql;
    } else {
      if (options_.strict) {
        return FailedPreconditionError(fmt::format(
            "TXID {} cannot be made by its statements: {}, hint: without --strict it takes its "
            "pages",
            FormatTxid(txid), result.reason));
      }
      RETURN_IF_ERROR(applier.Apply(segment, index, key, damage));
      sql_->ForgetPages();
      ++report_.commits_by_pages;
      if (report_.by_pages.size() < RestoreReport::kMostByPages) {
        report_.by_pages.push_back({txid, std::move(result.reason)});
      }
    }
    ++report_.commits_applied;
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

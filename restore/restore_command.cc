// sqlite-s3-restore REPLICA -o DB

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/time.h"
#include "restore/command.h"
#include "restore/interrupt.h"
#include "restore/restorer.h"

namespace sqlite_s3 {
namespace {

// "N" or "N,M,...", as TXIDs are printed.
Result<std::vector<Txid>> ParseTxids(std::string_view text) {
  std::vector<Txid> txids;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    ASSIGN_OR_RETURN(const Txid txid, ParseTxid(text.substr(0, end)));
    if (txid.value < 2) {
      return InvalidArgumentError("the first TXID is the database itself, and has no statements");
    }
    txids.push_back(txid);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  std::sort(txids.begin(), txids.end());
  return txids;
}

Result<RestoreOptions> ToOptions(const RestoreCommand& c) {
  RestoreOptions o;
  o.output = c.output;
  o.dry_run = c.dry_run;
  o.force = c.force;
  o.if_not_exists = c.if_not_exists;
  o.via = c.via == "checkpoint" ? RestoreVia::kCheckpoint
          : c.via == "sql"      ? RestoreVia::kSql
                                : RestoreVia::kPages;
  o.strict = c.strict;
  ASSIGN_OR_RETURN(o.skip, ParseTxids(c.skip_txid));
  ASSIGN_OR_RETURN(o.take_pages, ParseTxids(c.take_pages));
  o.sql_seconds = c.sql_timeout;
  if (!o.skip.empty()) {
    if (c.via != "pages" && c.via != "sql") {
      return InvalidArgumentError("--skip-txid executes statements, hint: --via sql");
    }
    if (c.strict) {
      return InvalidArgumentError("--strict compares, --skip-txid leaves nothing to compare with");
    }
    o.via = RestoreVia::kSql;
  }
  if (c.strict && o.via != RestoreVia::kSql) {
    return InvalidArgumentError("--strict is for --via sql");
  }
  if (!o.take_pages.empty() && (o.via != RestoreVia::kSql || !o.skip.empty())) {
    return InvalidArgumentError("--take-pages is for --via sql without --skip-txid");
  }
  o.verify = c.verify == "full"    ? VerifyLevel::kFull
             : c.verify == "quick" ? VerifyLevel::kQuick
             : c.skip_txid.empty() ? VerifyLevel::kNone
                                   : VerifyLevel::kQuick;  // the checksum proves nothing then
  ASSIGN_OR_RETURN(o.target, ParseRestoreTarget(c.until, Clock::Real().WallMicros()));
  ASSIGN_OR_RETURN(o.timeline, ParseTimelineOption(c.common.timeline));
  ASSIGN_OR_RETURN(o.max_size_bytes, ParseSizeOption(c.max_size));
  return o;
}

// Damage that the restore did without.
std::vector<std::string> Problems(const RestoreReport& r) {
  std::vector<std::string> problems = r.problems;
  problems.insert(problems.end(), r.plan.problems.begin(), r.plan.problems.end());
  return problems;
}

nlohmann::ordered_json ToJson(const RestoreCommand& c, const RestoreReport& r) {
  const RestorePlan& p = r.plan;
  nlohmann::ordered_json json = {
      {"output", c.output},
      {"txid", FormatTxid(p.txid)},
      {"time", FormatTimeUtc(p.commit_time_us)},
      {"timeline", p.timeline.value},
      {"flags", DescribeFlags(p.flags)},
      {"page_size", p.page_size},
      {"page_count", p.page_count},
      {"db_checksum", fmt::format("{:016x}", p.db_checksum)},
      {"via", c.via},
      {"dry_run", c.dry_run},
      {"image_txid", FormatTxid(p.image.txid)},
      {"commits", c.dry_run ? p.commit_count : r.commits_applied},
      {"objects", c.dry_run ? p.fetch_objects : r.objects_fetched},
      {"bytes", c.dry_run ? p.fetch_bytes : r.bytes_fetched},
      {"seconds",
       {{"plan", r.plan_seconds},
        {"image", r.image_seconds},
        {"log", r.log_seconds},
        {"verify", r.verify_seconds},
        {"fetch", r.fetch_seconds},
        {"replay", r.replay_seconds}}},
  };
  if (c.via == "sql" && !c.dry_run) {
    json["commits_by_sql"] = r.commits_by_sql;
    json["commits_by_pages"] = r.commits_by_pages;
    auto& by_pages = json["by_pages"] = nlohmann::ordered_json::array();
    for (const ByPages& commit : r.by_pages) {
      by_pages.push_back({{"txid", FormatTxid(commit.txid)}, {"reason", commit.reason}});
    }
  }
  if (!c.skip_txid.empty() && !c.dry_run) {
    json["skipped"] = c.skip_txid;
    json["page_count"] = r.page_count;
    json["db_checksum"] = fmt::format("{:016x}", r.db_checksum);
    json["commits_after_skipped"] = r.commits_free;
    auto& changed = json["changed"] = nlohmann::ordered_json::array();
    for (const ChangedCommit& commit : r.changed) {
      changed.push_back({{"txid", FormatTxid(commit.txid)}, {"what", commit.what}});
    }
  }
  if (!r.warnings.empty()) {
    json["warnings"] = r.warnings;
  }
  if (p.next_txid) {
    json["next_txid"] = FormatTxid(*p.next_txid);
    json["next_time"] = FormatTimeUtc(p.next_time_us);
  }
  if (!r.moved_aside.empty()) {
    json["moved_aside"] = r.moved_aside;
  }
  if (const auto problems = Problems(r); !problems.empty()) {
    json["problems"] = problems;
  }
  return json;
}

constexpr size_t kMostLines = 20;

void PrintSkipped(const RestoreCommand& c, const RestoreReport& r) {
  std::string text = fmt::format(
      "without TXID {}: {} commits after it were executed again, {}\n", c.skip_txid, r.commits_free,
      r.changed.empty() ? "each changed as many rows as before"
                        : "of which these did not do what they had done:");
  for (size_t i = 0; i < std::min(kMostLines, r.changed.size()); ++i) {
    text += fmt::format("  {} {}\n", FormatTxid(r.changed[i].txid), r.changed[i].what);
  }
  if (r.changed.size() > kMostLines) {
    text += fmt::format("  and {} more, see --json\n", r.changed.size() - kMostLines);
  }
  text +=
      "only numbers of rows could be compared: what the application read and decided itself is as "
      "it "
      "was\n";
  std::fputs(text.c_str(), stderr);
}

void PrintBySql(const RestoreReport& r) {
  std::string text = fmt::format("{} commits by their statements, {} by their pages\n",
                                 r.commits_by_sql, r.commits_by_pages);
  for (size_t i = 0; i < std::min(kMostLines, r.by_pages.size()); ++i) {
    text += fmt::format("  {} {}\n", FormatTxid(r.by_pages[i].txid), r.by_pages[i].reason);
  }
  if (r.commits_by_pages > kMostLines) {
    text += fmt::format("  and {} more, see --json\n", r.commits_by_pages - kMostLines);
  }
  std::fputs(text.c_str(), stderr);
}

// People read this on standard error: standard output may be the database.
void PrintText(const RestoreCommand& c, const RestoreReport& r) {
  const RestorePlan& p = r.plan;
  auto say = [](const std::string& line) { std::fputs((line + "\n").c_str(), stderr); };
  for (const std::string& problem : Problems(r)) {
    say("passed over, an older image did: " + problem);
  }
  for (const std::string& name : r.moved_aside) {
    say("moved aside: " + name);
  }
  const std::string flags = DescribeFlags(p.flags);
  say(fmt::format("TXID {} of timeline {}, {} ({} UTC){}", FormatTxid(p.txid), p.timeline.value,
                  FormatTimeLocal(p.commit_time_us), FormatTimeUtc(p.commit_time_us),
                  flags.empty() ? "" : ", " + flags));
  say(p.next_txid ? fmt::format("the next commit is TXID {}, {}", FormatTxid(*p.next_txid),
                                FormatTimeLocal(p.next_time_us))
                  : "it is the last commit of the replica");
  if (c.dry_run) {
    say(fmt::format(
        "would fetch {} objects, {:.1f} MB: image {} and {} commits; {:.1f} MB database",
        p.fetch_objects, static_cast<double>(p.fetch_bytes) / 1e6, FormatTxid(p.image.txid),
        p.commit_count, static_cast<double>(p.page_count) * p.page_size / 1e6));
    return;
  }
  say(fmt::format("image {} and {} commits, {:.1f} MB fetched; {} pages, {:.1f} MB",
                  FormatTxid(p.image.txid), r.commits_applied,
                  static_cast<double>(r.bytes_fetched) / 1e6, p.page_count,
                  static_cast<double>(p.page_count) * p.page_size / 1e6));
  say(fmt::format(
      "checksum {}: {:016x}; plan {:.2f} s, image {:.2f} s, log {:.2f} s, verify "
      "{:.2f} s; of these {:.2f} s fetching, {:.2f} s replaying the log",
      c.skip_txid.empty() ? "equal" : "of the file as read back", r.db_checksum, r.plan_seconds,
      r.image_seconds, r.log_seconds, r.verify_seconds, r.fetch_seconds, r.replay_seconds));
  if (c.via == "sql" || !c.skip_txid.empty()) {
    PrintBySql(r);
  }
  if (!c.skip_txid.empty()) {
    PrintSkipped(c, r);
  }
}

}  // namespace

namespace {

// Statements that nothing can end but the end of the process: begins again, and gives that commit
// its pages. On the watchdog's thread, while the main one is within SQLite.
[[noreturn]] void BeginAgainWithout(Txid txid, const RestoreCommand& command) {
  const std::string what =
      fmt::format("TXID {}: its statements take longer than {} s and cannot be interrupted",
                  FormatTxid(txid), command.sql_timeout);
  RemoveBeforeTheEnd();
  if (!command.skip_txid.empty() || command.strict) {
    const int code =
        Fail(FailedPreconditionError(what + ", hint: --via pages executes none"), command.common);
    std::fflush(nullptr);
    ::_exit(code);
  }
  std::fputs(
      ("\nsqlite-s3-restore: warning: " + what + ": begins again, and takes the commit's pages\n")
          .c_str(),
      stderr);
  std::vector<std::string> arguments;
  std::string taken = FormatTxid(txid);
  for (size_t i = 0; i < command.arguments.size(); ++i) {
    const std::string& argument = command.arguments[i];
    if (argument == "--take-pages" && i + 1 < command.arguments.size()) {
      taken += "," + command.arguments[++i];
    } else if (argument.rfind("--take-pages=", 0) == 0) {
      taken += "," + argument.substr(argument.find('=') + 1);
    } else {
      arguments.push_back(argument);
    }
  }
  arguments.push_back("--take-pages=" + taken);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);
  ::execv("/proc/self/exe", pointers.data());
  const int code = Fail(InternalError(what + ", hint: --via pages executes none"), command.common);
  std::fflush(nullptr);
  ::_exit(code);
}

}  // namespace

int RunRestore(const RestoreCommand& command) {
  auto options = ToOptions(command);
  if (!options.ok()) {
    return Fail(options.status(), command.common);
  }
  options->on_stuck = [&command](Txid txid) { BeginAgainWithout(txid, command); };
  if (command.output == "-" && command.common.json && !command.dry_run) {
    return Fail(InvalidArgumentError("--json and '-o -' would both write to standard output"),
                command.common);
  }
  if (command.output == "-" && !command.dry_run && isatty(STDOUT_FILENO) != 0) {
    return Fail(InvalidArgumentError(
                    "'-o -' would write a database to this terminal, hint: redirect it to a file"),
                command.common);
  }
  InstallSignalHandlers();
  auto opened = OpenReplica(command.common);
  if (!opened.ok()) {
    return Fail(opened.status(), command.common);
  }
  Progress progress(isatty(STDERR_FILENO) != 0 && !command.common.json);
  Damage damage;
  Restorer restorer(*opened->replica, *options, progress);
  auto report = restorer.Run(&damage);
  progress.Done();
  if (!report.ok()) {
    return Fail(report.status(), command.common, &damage);
  }
  if (report->existed) {
    if (command.common.json) {
      PrintJson({{"output", command.output}, {"existed", true}});
    }
    return 0;
  }
  if (command.common.json) {
    PrintJson(ToJson(command, *report));
  } else {
    PrintText(command, *report);
  }
  return 0;
}

}  // namespace sqlite_s3

// sqlite-s3-restore log REPLICA: what each commit changed, newest first.

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <deque>

#include "common/base/clock.h"
#include "common/base/time.h"
#include "restore/command.h"
#include "restore/rows/history_cursor.h"
#include "restore/rows/report.h"
#include "restore/rows/span.h"
#include "restore/run_on_replica.h"

namespace sqlite_s3 {
namespace {

struct Entry {
  Txid txid;
  int64_t time_us = 0;
  uint8_t flags = 0;
  size_t pages_changed = 0;
  std::vector<std::string> marks;
  ChangeSet changes;
  CommitStatements statements;
};

std::string_view SqlOf(const LoggedStatement& statement) {
  return (statement.flags & kStatementExcluded) != 0 ? "(left out by statements_exclude)"
                                                     : std::string_view(statement.sql);
}

// The tag and the statements without transaction control, a line each.
std::string StatementsToText(const CommitStatements& commit, std::string_view indent) {
  std::string text;
  if (!commit.tag.empty()) {
    text += fmt::format("{}tag: {}\n", indent, commit.tag);
  }
  for (const LoggedStatement& statement : commit.statements) {
    if ((statement.flags & kStatementControl) == 0) {
      text += fmt::format("{}sql: {}\n", indent, SqlOf(statement));
    }
  }
  return text;
}

nlohmann::ordered_json StatementsToJson(const CommitStatements& commit) {
  nlohmann::ordered_json json = {{"tag", commit.tag}, {"connection", commit.connection}};
  auto& list = json["sql"] = nlohmann::json::array();
  for (const LoggedStatement& statement : commit.statements) {
    list.push_back({{"text", SqlOf(statement)},
                    {"time", FormatTimeUtc(statement.start_us)},
                    {"rows", statement.changed_rows}});
  }
  return json;
}

struct History {
  TimelineId timeline;
  std::deque<Entry> entries;  // oldest first
  bool more = false;          // older ones that were left out by --limit
};

class Logger {
 public:
  Logger(Replica& replica, const LogCommand& command, Progress& progress, Damage* damage)
      : replica_(replica), command_(command), progress_(progress), damage_(damage) {}

  Result<History> Read(std::optional<Txid> image_before) {
    ASSIGN_OR_RETURN(const auto wanted, ParseTimelineOption(command_.common.timeline));
    ASSIGN_OR_RETURN(const Point last, LastPoint(wanted));
    out_.timeline = last.timeline;
    ASSIGN_OR_RETURN(const auto timelines, replica_.ListTimelines());
    ASSIGN_OR_RETURN(ancestry_, Replica::Ancestry(timelines, last.timeline));
    ASSIGN_OR_RETURN(images_, ImagesOfHistory(replica_, ancestry_));
    ASSIGN_OR_RETURN(marks_, replica_.ListMarks());
    if (images_.empty()) {
      return NotFoundError("no complete image in this history, so nothing can be read yet");
    }
    ASSIGN_OR_RETURN(const Txid first, FirstShown(last));
    if (last.txid < first) {
      return std::move(out_);
    }
    HistoryCursor::Options options{last.txid, first.Prev(), last.timeline, image_before};
    ASSIGN_OR_RETURN(auto cursor, HistoryCursor::Open(replica_, options, progress_, damage_));
    RETURN_IF_ERROR(Walk(*cursor, first));
    return std::move(out_);
  }

 private:
  bool Filters() const { return !command_.table.empty() || !command_.grep.empty(); }

  Result<Point> LastPoint(std::optional<TimelineId> timeline) {
    RestoreTarget target = TargetLatest{};
    if (!command_.until.empty()) {
      ASSIGN_OR_RETURN(target, ParseRestoreTarget(command_.until, Clock::Real().WallMicros()));
    }
    return ResolvePoint(replica_, target, timeline, damage_);
  }

  // The first commit after the first image is the first one whose changes are known.
  Result<Txid> FirstShown(const Point& last) {
    const Txid first_known = images_.front().txid.Next();
    if (command_.since.empty()) {
      if (Filters() || command_.limit == 0 || last.txid.value < command_.limit) {
        return first_known;
      }
      const Txid first = std::max(first_known, Txid{last.txid.value - command_.limit + 1});
      out_.more = first > first_known;
      return first;
    }
    ASSIGN_OR_RETURN(RestoreTarget target,
                     ParseRestoreTarget(command_.since, Clock::Real().WallMicros()));
    auto* time = std::get_if<TargetTime>(&target);
    if (time == nullptr) {
      ASSIGN_OR_RETURN(const Point since, ResolvePoint(replica_, target, last.timeline, damage_));
      return std::max(first_known, since.txid);
    }
    --time->time_us;  // the commit after the last one before that time
    auto before = ResolvePoint(replica_, target, last.timeline, damage_);
    if (before.code() == StatusCode::kNotFound && damage_->key.empty()) {
      return first_known;
    }
    RETURN_IF_ERROR(before.status());
    return std::max(first_known, before->txid.Next());
  }

  Status Walk(HistoryCursor& cursor, Txid first) {
    RestorePointClock clock(images_);
    while (cursor.txid() < first.Prev()) {
      RETURN_IF_ERROR(cursor.Step());
      (void)clock.At(cursor.txid(), cursor.record()->time_us);
    }
    (void)cursor.TakeChanged();
    Differ differ(cursor.Prefetcher());
    if (!command_.table.empty()) {
      differ.Only({command_.table});
    }
    ASSIGN_OR_RETURN(DatabaseState before, differ.Look(cursor.View(cursor.Pin())));
    while (cursor.txid() < cursor.last()) {
      RETURN_IF_ERROR(cursor.Step());
      const std::vector<PageNumber> changed = cursor.TakeChanged();
      ASSIGN_OR_RETURN(DatabaseState after, differ.Follow(before, cursor.Now(), changed));
      ChangeCollector collector(/*keep_rows=*/command_.rows || !command_.grep.empty());
      RETURN_IF_ERROR(differ.Diff(before, after, changed, collector)
                          .WithContext("TXID " + FormatTxid(cursor.txid())));
      Entry entry;
      entry.txid = cursor.txid();
      entry.time_us = clock.At(cursor.txid(), cursor.record()->time_us);
      entry.flags = cursor.record()->flags;
      entry.pages_changed = changed.size();
      entry.marks = MarksOf(cursor.txid());
      entry.changes = std::move(collector.changes());
      entry.statements = cursor.statements();
      Take(std::move(entry));
      cursor.UnpinAll();
      before = std::move(after);
      before.view = cursor.View(cursor.Pin());
    }
    return Status::Ok();
  }

  void Take(Entry entry) {
    if (!command_.table.empty() && entry.changes.empty()) {
      return;
    }
    if (!command_.grep.empty()) {
      std::string text = ChangesToText(entry.changes, /*rows=*/true, "");
      for (const std::string& mark : entry.marks) {
        text.append("mark:").append(mark).append("\n");
      }
      text += StatementsToText(entry.statements, "");
      if (text.find(command_.grep) == std::string::npos) {
        return;
      }
      if (!command_.rows) {
        for (TableChanges& table : entry.changes.tables) {
          table.rows = {};
        }
      }
    }
    out_.entries.push_back(std::move(entry));
    if (command_.limit > 0 && out_.entries.size() > command_.limit) {
      out_.entries.pop_front();
      out_.more = true;
    }
  }

  std::vector<std::string> MarksOf(Txid txid) const {
    std::vector<std::string> names;
    for (const MarkDocument& mark : marks_) {
      const bool ours =
          std::any_of(ancestry_.begin(), ancestry_.end(), [&](const Replica::Ancestor& line) {
            return line.timeline == mark.timeline && (!line.last || mark.txid <= *line.last);
          });
      if (ours && mark.txid == txid) {
        names.push_back(mark.name);
      }
    }
    return names;
  }

  Replica& replica_;
  const LogCommand& command_;
  Progress& progress_;
  Damage* damage_;
  std::vector<Replica::Ancestor> ancestry_;
  std::vector<ImageManifest> images_;
  std::vector<MarkDocument> marks_;
  History out_;
};

nlohmann::ordered_json ToJson(const History& history, bool rows) {
  nlohmann::ordered_json commits = nlohmann::json::array();
  for (auto entry = history.entries.rbegin(); entry != history.entries.rend(); ++entry) {
    nlohmann::ordered_json commit = {{"txid", FormatTxid(entry->txid)},
                                     {"time", FormatTimeUtc(entry->time_us)},
                                     {"flags", DescribeFlags(entry->flags)},
                                     {"pages_changed", entry->pages_changed},
                                     {"marks", entry->marks}};
    commit.update(ChangesToJson(entry->changes, rows));
    if (entry->statements.state == StatementsState::kRecorded) {
      commit["statements"] = StatementsToJson(entry->statements);
    }
    commits.push_back(std::move(commit));
  }
  return {{"timeline", history.timeline.value}, {"commits", commits}, {"more", history.more}};
}

void PrintText(const History& history, bool rows) {
  for (auto entry = history.entries.rbegin(); entry != history.entries.rend(); ++entry) {
    std::string notes = DescribeFlags(entry->flags);
    for (const std::string& mark : entry->marks) {
      notes.append(notes.empty() ? "" : " ").append("mark:").append(mark);
    }
    fmt::print("{}  {}{}{}\n", FormatTxid(entry->txid), FormatTimeLocal(entry->time_us),
               notes.empty() ? "" : "  ", notes);
    std::fputs(StatementsToText(entry->statements, "    ").c_str(), stdout);
    std::fputs(entry->changes.empty() ? "    no row changed\n"
                                      : ChangesToText(entry->changes, rows, "    ").c_str(),
               stdout);
  }
  if (history.more) {
    std::fputs("there are older ones, hint: --limit\n", stderr);
  }
}

}  // namespace

int RunLog(const LogCommand& command) {
  return RunOnReplica<History>(
      command.common,
      [&](Replica& replica, Progress& progress, std::optional<Txid> image_before, Damage* damage) {
        return Logger(replica, command, progress, damage).Read(image_before);
      },
      [&](const History& history) {
        if (command.common.json) {
          PrintJson(ToJson(history, command.rows));
        } else {
          PrintText(history, command.rows);
        }
        return 0;
      });
}

}  // namespace sqlite_s3

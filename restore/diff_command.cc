// sqlite-s3-restore diff REPLICA A B: the rows that differ between two restore points.

#include <fmt/format.h>

#include <cstdio>

#include "restore/command.h"
#include "restore/rows/difference.h"
#include "restore/rows/report.h"
#include "restore/run_on_replica.h"

namespace sqlite_s3 {
namespace {

struct Answer {
  Span span;
  Difference difference;  // from A to B
};

Result<Answer> Compare(Replica& replica, const DiffCommand& command, Progress& progress,
                       std::optional<Txid> image_before, Damage* damage) {
  ASSIGN_OR_RETURN(const auto timeline, ParseTimelineOption(command.common.timeline));
  Answer answer;
  ASSIGN_OR_RETURN(answer.span, ResolveSpan(replica, command.a, command.b, timeline, damage));
  const DifferenceOptions options{answer.span, command.table, command.sql, image_before};
  ASSIGN_OR_RETURN(answer.difference, FindDifference(replica, options, progress, damage));
  return answer;
}

void Show(const DiffCommand& command, const Answer& answer) {
  const Span& span = answer.span;
  const Txid a = span.reversed ? span.to : span.from;
  const Txid b = span.reversed ? span.from : span.to;
  if (command.common.json) {
    nlohmann::ordered_json json = {
        {"a", FormatTxid(a)}, {"b", FormatTxid(b)}, {"timeline", span.timeline.value}};
    json.update(ChangesToJson(answer.difference.changes, /*rows=*/!command.sql));
    if (command.sql) {
      json["script"] = answer.difference.script;
    }
    PrintJson(json);
  } else if (command.sql) {
    std::fputs(answer.difference.script.c_str(), stdout);
  } else {
    fmt::print("from TXID {} to TXID {} of timeline {}\n", FormatTxid(a), FormatTxid(b),
               span.timeline.value);
    std::fputs(answer.difference.changes.empty()
                   ? "no difference\n"
                   : ChangesToText(answer.difference.changes, /*rows=*/true, "").c_str(),
               stdout);
  }
}

}  // namespace

int RunDiff(const DiffCommand& command) {
  return RunOnReplica<Answer>(
      command.common,
      [&](Replica& replica, Progress& progress, std::optional<Txid> image_before, Damage* damage) {
        return Compare(replica, command, progress, image_before, damage);
      },
      [&](const Answer& answer) {
        Show(command, answer);
        return 0;
      });
}

}  // namespace sqlite_s3

// sqlite-s3-restore diff REPLICA A B: the rows that differ between two restore points.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "restore/command.h"
#include "restore/interrupt.h"
#include "restore/rows/history_cursor.h"
#include "restore/rows/report.h"
#include "restore/rows/script.h"
#include "restore/rows/span.h"
#include "restore/rows/undo.h"

namespace sqlite_s3 {
namespace {

struct Difference {
  Span span;
  ChangeSet changes;  // from A to B
  std::string script;
};

Result<Difference> Compare(Replica& replica, const DiffCommand& command, Progress& progress,
                           std::optional<Txid> image_before, Damage* damage) {
  ASSIGN_OR_RETURN(const auto timeline, ParseTimelineOption(command.common.timeline));
  Difference result;
  ASSIGN_OR_RETURN(result.span, ResolveSpan(replica, command.a, command.b, timeline, damage));
  const Span& span = result.span;
  HistoryCursor::Options options{span.to, span.from, span.timeline, image_before};
  ASSIGN_OR_RETURN(auto cursor, HistoryCursor::Open(replica, options, progress, damage));
  RETURN_IF_ERROR(cursor->AdvanceTo(span.from));
  (void)cursor->TakeChanged();
  Differ differ(cursor->Prefetcher());
  if (!command.table.empty()) {
    differ.Only({command.table});
  }
  ASSIGN_OR_RETURN(DatabaseState before, differ.Look(cursor->View(cursor->Pin())));
  RETURN_IF_ERROR(cursor->AdvanceTo(span.to));
  const std::vector<PageNumber> changed = cursor->TakeChanged();
  ASSIGN_OR_RETURN(DatabaseState after, differ.Follow(before, cursor->Now(), changed));
  if (!command.table.empty() && before.Table(command.table) == nullptr &&
      after.Table(command.table) == nullptr) {
    return NotFoundError("there is no table '" + Printable(command.table) +
                         "' at either point (names are case-sensitive here)");
  }
  ChangeCollector collector;
  RETURN_IF_ERROR(differ.Diff(before, after, changed, collector));
  result.changes = std::move(collector.changes());
  if (span.reversed) {
    result.changes = Reversed(std::move(result.changes));
  }
  if (command.sql) {
    DatabaseState& at_a = span.reversed ? after : before;
    ScriptOptions script;
    script.title = "from TXID " + FormatTxid(span.reversed ? span.to : span.from) + " to TXID " +
                   FormatTxid(span.reversed ? span.from : span.to);
    script.live = at_a.schema.get();
    ASSIGN_OR_RETURN(script.check_foreign_keys, ForeignKeyTables(at_a, result.changes));
    ASSIGN_OR_RETURN(result.script, WriteScript(result.changes, script));
  }
  return result;
}

}  // namespace

int RunDiff(const DiffCommand& command) {
  InstallSignalHandlers();
  auto opened = OpenReplica(command.common);
  if (!opened.ok()) {
    return Fail(opened.status(), command.common);
  }
  Progress progress(isatty(STDERR_FILENO) != 0 && !command.common.json);
  Damage damage;
  auto result = WithOlderImages<Difference>(&damage, [&](std::optional<Txid> image_before) {
    return Compare(*opened->replica, command, progress, image_before, &damage);
  });
  progress.Done();
  if (!result.ok()) {
    return Fail(result.status(), command.common, &damage);
  }
  const Span& span = result->span;
  const Txid a = span.reversed ? span.to : span.from;
  const Txid b = span.reversed ? span.from : span.to;
  if (command.common.json) {
    nlohmann::ordered_json json = {
        {"a", FormatTxid(a)}, {"b", FormatTxid(b)}, {"timeline", span.timeline.value}};
    json.update(ChangesToJson(result->changes, /*rows=*/!command.sql));
    if (command.sql) {
      json["script"] = result->script;
    }
    PrintJson(json);
  } else if (command.sql) {
    std::fputs(result->script.c_str(), stdout);
  } else {
    fmt::print("from TXID {} to TXID {} of timeline {}\n", FormatTxid(a), FormatTxid(b),
               span.timeline.value);
    std::fputs(result->changes.empty() ? "no difference\n"
                                       : ChangesToText(result->changes, /*rows=*/true, "").c_str(),
               stdout);
  }
  return 0;
}

}  // namespace sqlite_s3

#include "restore/rows/difference.h"

#include <utility>

#include "restore/rows/script.h"
#include "restore/rows/undo.h"

namespace sqlite_s3 {

Result<Difference> FindDifference(Replica& replica, const DifferenceOptions& options,
                                  Progress& progress, Damage* damage) {
  const Span& span = options.span;
  HistoryCursor::Options cursor_options{span.to, span.from, span.timeline, options.image_before};
  ASSIGN_OR_RETURN(auto cursor, HistoryCursor::Open(replica, cursor_options, progress, damage));
  RETURN_IF_ERROR(cursor->AdvanceTo(span.from));
  (void)cursor->TakeChanged();
  Differ differ(cursor->Prefetcher());
  if (!options.table.empty()) {
    differ.Only({options.table});
  }
  ASSIGN_OR_RETURN(DatabaseState before, differ.Look(cursor->View(cursor->Pin())));
  RETURN_IF_ERROR(cursor->AdvanceTo(span.to));
  const std::vector<PageNumber> changed = cursor->TakeChanged();
  ASSIGN_OR_RETURN(DatabaseState after, differ.Follow(before, cursor->Now(), changed));
  if (!options.table.empty() && before.Table(options.table) == nullptr &&
      after.Table(options.table) == nullptr) {
    return NotFoundError("there is no table '" + Printable(options.table) +
                         "' at either point (names are case-sensitive here)");
  }
  ChangeCollector collector;
  RETURN_IF_ERROR(differ.Diff(before, after, changed, collector));
  Difference result;
  result.changes = std::move(collector.changes());
  if (span.reversed) {
    result.changes = Reversed(std::move(result.changes));
  }
  if (options.script) {
    DatabaseState& start = span.reversed ? after : before;
    ScriptOptions script;
    script.title = "from TXID " + FormatTxid(span.reversed ? span.to : span.from) + " to TXID " +
                   FormatTxid(span.reversed ? span.from : span.to);
    script.live = start.schema.get();
    ASSIGN_OR_RETURN(script.check_foreign_keys, ForeignKeyTables(start, result.changes));
    ASSIGN_OR_RETURN(result.script, WriteScript(result.changes, script));
  }
  return result;
}

}  // namespace sqlite_s3

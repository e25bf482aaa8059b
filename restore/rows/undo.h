#pragma once
// Undo: the script that reverses one commit in the database as it is later.

#include <string>
#include <vector>

#include "restore/rows/change_set.h"
#include "restore/rows/history_cursor.h"
#include "restore/rows/script.h"

namespace sqlite_s3 {

// A row of the commit that is not any more as the commit left it, and which commits changed it.
struct UndoConflict {
  std::string table;
  std::string key;  // as RowKey has it
  std::vector<Txid> txids;
};

struct UndoPlan {
  Txid txid, until;
  ChangeSet changes;  // of the commit, forward
  std::vector<UndoConflict> conflicts;
  std::vector<std::string> obstacles;  // other reasons why it cannot be undone
  std::vector<std::string> left_out;   // what is not undone, and does no harm
  std::vector<std::string> rebuilt;    // full-text tables whose index is made anew
  std::string script;                  // empty when there are conflicts or obstacles
};

struct UndoOptions {
  Txid txid;
  RestoreTarget until = TargetLatest{};
  std::optional<TimelineId> timeline;
  std::optional<Txid> image_before;
  bool triggers_are_off = false;
};

// Reads the commit, and what came after it up to `until`. Errors: as HistoryCursor's.
Result<UndoPlan> PlanUndo(Replica& replica, const UndoOptions& options, Progress& progress,
                          Damage* damage);

// Which tables' foreign keys a script with these changes must check.
Result<std::vector<std::string>> ForeignKeyTables(DatabaseState& state, const ChangeSet& changes);

}  // namespace sqlite_s3

#pragma once
// The rows that differ between two restore points of a replica: what `diff` shows.

#include <optional>
#include <string>

#include "restore/rows/change_set.h"
#include "restore/rows/history_cursor.h"
#include "restore/rows/span.h"

namespace sqlite_s3 {

struct DifferenceOptions {
  Span span;          // reversed: from its end to its beginning
  std::string table;  // only this one; "": all
  bool script = false;
  std::optional<Txid> image_before;  // as in HistoryCursor::Options
};
struct Difference {
  ChangeSet changes;
  std::string script;  // makes the one state of the other, if asked for
};
// Errors: as HistoryCursor's and WriteScript's; kNotFound when neither state has the table.
Result<Difference> FindDifference(Replica& replica, const DifferenceOptions& options,
                                  Progress& progress, Damage* damage);

}  // namespace sqlite_s3

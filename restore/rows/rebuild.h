#pragma once
// An altered table made anew: SQLite can undo few of its own ALTERs, and none of those to the
// letter of the CREATE TABLE. The rows go into a temporary table, the table is dropped and created
// as it is to be, and they come back.

#include <string>
#include <vector>

#include "restore/rows/change_set.h"

namespace sqlite_s3 {

// OK when `change`, of an altered table, can be made so; else kFailedPrecondition with the reason.
Status CanRebuild(const SchemaChange& change);

struct Rebuild {
  // That no row has a value that would go with its column: true or false, in SQL.
  std::vector<std::string> conditions;
  // Temporary tables with what SQLite keeps of the table and its indexes elsewhere; before any of
  // these goes.
  std::vector<std::string> save;
  // One with its rows.
  std::vector<std::string> copy;
  // All of that comes back.
  std::vector<std::string> fill;
  // That all rows came back: true or false, in SQL; comes before `clean`.
  std::string whole;
  std::vector<std::string> clean;
};
// REQUIRES: CanRebuild. `number` makes names unique within a script. `live`: the schema that the
// script finds. The table's DROP and CREATE come between `copy` and `fill`.
Rebuild RebuildTable(const SchemaChange& change, const Schema& live, size_t number);

}  // namespace sqlite_s3

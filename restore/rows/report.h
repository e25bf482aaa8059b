#pragma once
// Changes as JSON and as lines for people; shared by diff, log and undo.

#include <nlohmann/json.hpp>
#include <string>

#include "restore/rows/change_set.h"

namespace sqlite_s3 {

// {"schema": [...], "pragmas": [...], "tables": [...]}; values are SQL literals. With `rows`, each
// table has its "rows".
nlohmann::ordered_json ChangesToJson(const ChangeSet& changes, bool rows);
// Lines with `indent` before each.
std::string ChangesToText(const ChangeSet& changes, bool rows, const std::string& indent);

}  // namespace sqlite_s3

#pragma once
// What a column's DEFAULT is, for the rows that are older than the column.

#include <optional>
#include <string>

#include "restore/rows/schema.h"

namespace sqlite_s3 {

// SQLite evaluates `expression`, of a schema that nobody vouches for, in a database of its own
// under an authorizer that allows constants and no function. Nothing when it is no constant: SQLite
// adds no such column to a table with rows.
Result<std::optional<Value>> ColumnDefault(TextEncoding encoding, const std::string& expression,
                                           Affinity affinity);

}  // namespace sqlite_s3

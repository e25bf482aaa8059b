#pragma once
// Statements of a script on one row each: they name every old value of the row, and read the
// script's guard, so that they do nothing where its transaction is gone.

#include <string>
#include <vector>

#include "restore/rows/change_set.h"

namespace sqlite_s3 {

inline constexpr char kGuard[] = "temp.s3_undo_guard";
inline constexpr char kIfGuard[] = "(SELECT 1 FROM temp.s3_undo_guard)";

// AND-ed as a balanced tree: SQLite bounds the depth of an expression, not its size.
std::string AllOf(const std::vector<std::string>& terms);
// True where the column has this value, by type and bytes, whatever affinity and collation say.
std::string Exactly(const Column& column, const Value& value, TextEncoding encoding);
// True for the row of that table that is as the change has it before.
std::string RowAsBefore(const TableInfo& table, const RowChange& row);

std::string DeleteRow(const TableInfo& table, const RowChange& row);
std::string InsertRow(const TableInfo& table, const RowChange& row);
// "" when only generated columns differ: they follow.
std::string UpdateRow(const TableInfo& table, const RowChange& row);

}  // namespace sqlite_s3

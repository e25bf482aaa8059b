#pragma once
// Compares the rows on some pages of a table before with those on some pages after.

#include <functional>
#include <vector>

#include "restore/rows/differ.h"

namespace sqlite_s3 {

struct RowsOnPages {
  const DatabaseState* state = nullptr;
  const TableInfo* table = nullptr;  // null: there is no such table, and there are no pages
  std::vector<PageNumber> pages;
};
// Which column before each column after was: by name, else, renamed, by position; -1: none.
std::vector<int> MapColumns(const TableInfo& before, const TableInfo& after);
// Whether a table without INTEGER PRIMARY KEY has the same rows in the same order, under other
// rowids: VACUUM numbers them anew, from 1. REQUIRES: both are rowid tables, `pages` are all of
// theirs. Returns how many have another rowid, 0 when none has, or when there is more that differs.
Result<uint64_t> CountRenumbered(const RowsOnPages& before, const RowsOnPages& after);
// Calls `found` for each row that differs.
Status CompareRows(const RowsOnPages& before, const RowsOnPages& after,
                   const std::function<Status(const RowChange&)>& found);

}  // namespace sqlite_s3

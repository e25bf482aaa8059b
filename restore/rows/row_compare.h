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
// Calls `found` for each row that differs.
Status CompareRows(const RowsOnPages& before, const RowsOnPages& after,
                   const std::function<Status(const RowChange&)>& found);

}  // namespace sqlite_s3

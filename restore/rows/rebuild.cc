#include "restore/rows/rebuild.h"

#include <fmt/format.h>
#include <strings.h>

#include <algorithm>

#include "restore/rows/row_compare.h"
#include "restore/rows/row_sql.h"

namespace sqlite_s3 {

Status CanRebuild(const SchemaChange& change) {
  const std::string name = "table '" + Printable(change.after->name) + "'";
  const TableInfo* from = change.table_before.get();
  const TableInfo* to = change.table_after.get();
  if (from == nullptr || to == nullptr) {
    return FailedPreconditionError(name + " was altered in a way that SQLite does not understand");
  }
  if (from->without_rowid != to->without_rowid ||
      (from->rowid_column < 0) != (to->rowid_column < 0)) {
    return FailedPreconditionError("the primary key of " + name + " was altered");
  }
  if (!from->without_rowid && (from->rowid_name.empty() || to->rowid_name.empty())) {
    return FailedPreconditionError("the columns of " + name + " take every name of the rowid");
  }
  const std::vector<int> map = MapColumns(*from, *to);
  for (size_t i = 0; i < map.size(); ++i) {
    // What is in a column that was declared otherwise may be what INSERT would not put there.
    if (map[i] >= 0 &&
        from->columns[static_cast<size_t>(map[i])].affinity != to->columns[i].affinity) {
      return FailedPreconditionError("the type of column '" + Printable(to->columns[i].name) +
                                     "' of " + name + " was altered");
    }
  }
  return Status::Ok();
}

Rebuild RebuildTable(const SchemaChange& change, const Schema& live, size_t number) {
  const TableInfo& from = *change.table_before;
  const TableInfo& to = *change.table_after;
  const std::string table = SqlIdentifier(from.name);
  const std::string rows = fmt::format("temp.s3_undo_rows_{}", number);
  Rebuild rebuild;
  std::string saved, names, values;
  const auto add = [](std::string* list, const std::string& text) {
    list->append(list->empty() ? "" : ",").append(text);
  };
  if (!from.without_rowid && from.rowid_column < 0) {
    add(&saved, from.rowid_name + " AS r");
    add(&names, to.rowid_name);
    add(&values, "r");
  }
  const std::vector<int> map = MapColumns(from, to);
  for (size_t i = 0; i < to.columns.size(); ++i) {
    const Column& column = to.columns[i];
    if (column.generated) {
      continue;
    }
    add(&names, SqlIdentifier(column.name));
    if (map[i] >= 0) {
      // "+" takes the affinity off: the copy holds what the table held.
      add(&saved, "+" + SqlIdentifier(from.columns[static_cast<size_t>(map[i])].name) +
                      fmt::format(" AS c{}", i));
      add(&values, fmt::format("c{}", i));
    } else {
      // Rows that have something else are changed one by one.
      add(&values, SqlLiteral(column.standard.value_or(Value()), to.encoding));
    }
  }
  for (size_t i = 0; i < from.columns.size(); ++i) {
    const bool stays = std::find(map.begin(), map.end(), static_cast<int>(i)) != map.end();
    if (!stays && !from.columns[i].generated) {
      rebuild.conditions.push_back(fmt::format(
          "NOT EXISTS(SELECT 1 FROM main.{} WHERE NOT({}))", table,
          Exactly(from.columns[i], from.columns[i].standard.value_or(Value()), from.encoding)));
    }
  }
  const auto copy = [&](std::vector<std::string>* list, const std::string& name,
                        const std::string& what) {
    list->push_back(fmt::format("CREATE TEMP TABLE {} AS SELECT {};", name.substr(5), what));
    rebuild.clean.push_back(fmt::format("DROP TABLE {};", name));
  };
  copy(&rebuild.copy, rows, (saved.empty() ? "1" : saved) + " FROM main." + table);
  rebuild.fill.push_back(fmt::format("INSERT OR ABORT INTO main.{}({}) SELECT {} FROM {} WHERE {};",
                                     table, names, values, rows, kIfGuard));
  rebuild.whole =
      fmt::format("(SELECT count(*) FROM main.{})=(SELECT count(*) FROM {})", table, rows);
  // SQLite forgets these with the table. AUTOINCREMENT has its row as soon as rows are there.
  for (const auto& [name, column] :
       {std::pair("sqlite_sequence", "name"), std::pair("sqlite_stat1", "tbl"),
        std::pair("sqlite_stat4", "tbl")}) {
    if (!live.contains({"table", name})) {
      continue;
    }
    const std::string kept = fmt::format("temp.s3_undo_{}_{}", name + 7, number);
    const std::string own = fmt::format("{}={}", column, SqlText(from.name));
    copy(&rebuild.save, kept, fmt::format("rowid AS r,* FROM main.{} WHERE {}", name, own));
    const char* columns = strcmp(name, "sqlite_sequence") == 0 ? "name,seq"
                          : strcmp(name, "sqlite_stat1") == 0  ? "tbl,idx,stat"
                                                               : "tbl,idx,neq,nlt,ndlt,sample";
    rebuild.fill.push_back(
        fmt::format("DELETE FROM main.{} WHERE {} AND {};", name, kIfGuard, own));
    rebuild.fill.push_back(
        fmt::format("INSERT INTO main.{}(rowid,{}) SELECT r,{} FROM {} WHERE {};", name, columns,
                    columns, kept, kIfGuard));
  }
  return rebuild;
}

}  // namespace sqlite_s3

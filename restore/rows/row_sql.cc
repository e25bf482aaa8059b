#include "restore/rows/row_sql.h"

#include <fmt/format.h>

namespace sqlite_s3 {
namespace {

std::string AllOf(const std::vector<std::string>& terms, size_t begin, size_t end) {
  if (end - begin <= 50) {
    std::string text;
    for (size_t i = begin; i < end; ++i) {
      text.append(i == begin ? "" : " AND ").append(terms[i]);
    }
    return text;
  }
  const size_t middle = begin + (end - begin) / 2;
  return "(" + AllOf(terms, begin, middle) + ") AND (" + AllOf(terms, middle, end) + ")";
}

}  // namespace

std::string AllOf(const std::vector<std::string>& terms) { return AllOf(terms, 0, terms.size()); }

std::string Exactly(const Column& column, const Value& value, TextEncoding encoding) {
  const std::string name = SqlIdentifier(column.name);
  // "+" takes the affinity off, COLLATE the column's collation: neither may make things equal.
  std::string text = "+" + name + " IS " + SqlLiteral(value, encoding);
  if (value.type == Value::Type::kText) {
    text += " COLLATE BINARY";
  } else if (value.type == Value::Type::kInteger) {
    text += " AND typeof(" + name + ")='integer'";
  } else if (value.type == Value::Type::kReal) {
    text += " AND typeof(" + name + ")='real'";
  }
  return text;
}

std::string RowAsBefore(const TableInfo& table, const RowChange& row) {
  std::vector<std::string> terms;
  if (!table.without_rowid) {
    terms.push_back(fmt::format("{}={}", table.rowid_name, row.rowid));
  }
  for (const int column : table.key) {  // finds the row by the index
    const auto i = static_cast<size_t>(column);
    terms.push_back(SqlIdentifier(table.columns[i].name) + "=" +
                    SqlLiteral(row.before[i], table.encoding));
  }
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (!table.columns[i].generated && static_cast<int>(i) != table.rowid_column) {
      terms.push_back(Exactly(table.columns[i], row.before[i], table.encoding));
    }
  }
  return AllOf(terms);
}

std::string DeleteRow(const TableInfo& table, const RowChange& row) {
  return fmt::format("DELETE FROM main.{} WHERE {} AND {};", SqlIdentifier(table.name), kIfGuard,
                     RowAsBefore(table, row));
}

std::string InsertRow(const TableInfo& table, const RowChange& row) {
  std::string names, values;
  if (!table.without_rowid && table.rowid_column < 0) {
    names = table.rowid_name;
    values = fmt::format("{}", row.rowid);
  }
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (!table.columns[i].generated) {
      names.append(names.empty() ? "" : ",").append(SqlIdentifier(table.columns[i].name));
      values.append(values.empty() ? "" : ",").append(SqlLiteral(row.after[i], table.encoding));
    }
  }
  // OR ABORT: a constraint that says ON CONFLICT REPLACE must not take another row away.
  return fmt::format("INSERT OR ABORT INTO main.{}({}) SELECT {} WHERE {};",
                     SqlIdentifier(table.name), names, values, kIfGuard);
}

std::string UpdateRow(const TableInfo& table, const RowChange& row) {
  std::string set;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (!table.columns[i].generated && !(row.before[i] == row.after[i])) {
      set.append(set.empty() ? "" : ",").append(SqlIdentifier(table.columns[i].name));
      set.append("=").append(SqlLiteral(row.after[i], table.encoding));
    }
  }
  if (set.empty()) {
    return "";
  }
  return fmt::format("UPDATE OR ABORT main.{} SET {} WHERE {} AND {};", SqlIdentifier(table.name),
                     set, kIfGuard, RowAsBefore(table, row));
}

}  // namespace sqlite_s3

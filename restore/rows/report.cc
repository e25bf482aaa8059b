#include "restore/rows/report.h"

namespace sqlite_s3 {
namespace {

nlohmann::ordered_json ValuesToJson(const TableInfo& table, const std::vector<Value>& values) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (size_t i = 0; i < values.size(); ++i) {
    json[table.columns[i].name] = SqlLiteral(values[i], table.encoding);
  }
  return json;
}

nlohmann::ordered_json RowToJson(const TableChanges& table, const RowChange& row) {
  nlohmann::ordered_json json;
  json["op"] = row.op == RowOp::kInsert ? "insert" : row.op == RowOp::kDelete ? "delete" : "update";
  if (!table.any().without_rowid) {
    json["rowid"] = row.rowid;
  }
  if (row.op != RowOp::kInsert) {
    json["before"] = ValuesToJson(*table.before, row.before);
  }
  if (row.op != RowOp::kDelete) {
    json["after"] = ValuesToJson(*table.after, row.after);
  }
  return json;
}

}  // namespace

nlohmann::ordered_json ChangesToJson(const ChangeSet& changes, bool rows) {
  nlohmann::ordered_json schema = nlohmann::json::array();
  for (const SchemaChange& change : changes.schema) {
    const SchemaObject& object = change.after ? *change.after : *change.before;
    nlohmann::ordered_json entry = {
        {"type", object.type}, {"name", object.name}, {"table", object.table}};
    if (change.before) {
      entry["before"] = change.before->sql;
    }
    if (change.after) {
      entry["after"] = change.after->sql;
    }
    schema.push_back(std::move(entry));
  }
  nlohmann::ordered_json pragmas = nlohmann::json::array();
  for (const PragmaChange& change : changes.pragmas) {
    pragmas.push_back({{"name", change.name}, {"before", change.before}, {"after", change.after}});
  }
  nlohmann::ordered_json tables = nlohmann::json::array();
  for (const TableChanges& table : changes.tables) {
    nlohmann::ordered_json entry = {{"table", table.name},        {"shadow", table.shadow},
                                    {"inserted", table.inserted}, {"updated", table.updated},
                                    {"deleted", table.deleted},   {"renumbered", table.renumbered}};
    if (rows) {
      entry["rows"] = nlohmann::json::array();
      for (const RowChange& row : table.rows) {
        entry["rows"].push_back(RowToJson(table, row));
      }
    }
    tables.push_back(std::move(entry));
  }
  return {{"schema", schema}, {"pragmas", pragmas}, {"tables", tables}};
}

std::string ChangesToText(const ChangeSet& changes, bool rows, const std::string& indent) {
  std::string text;
  const auto line = [&](const std::string& content) {
    text.append(indent).append(content).append("\n");
  };
  for (const SchemaChange& change : changes.schema) {
    line("schema: " + DescribeSchemaChange(change));
  }
  for (const PragmaChange& change : changes.pragmas) {
    line("pragma: " + DescribePragmaChange(change));
  }
  for (const TableChanges& table : changes.tables) {
    line(Printable(table.name) + ": " + DescribeCounts(table) +
         (table.shadow ? " (storage of a virtual table)" : ""));
    if (rows) {
      for (const RowChange& row : table.rows) {
        line("  " + DescribeRow(table, row));
      }
    }
  }
  return text;
}

}  // namespace sqlite_s3

#include "restore/rows/change_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "restore/rows/row_compare.h"
#include "restore/rows/virtual_table.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 30;

uint64_t MemoryOf(const std::vector<Value>& values) {
  uint64_t bytes = 0;
  for (const Value& value : values) {
    bytes += sizeof(Value) + value.bytes.size();
  }
  return bytes;
}

std::string Columns(const TableInfo& table, const std::vector<Value>& values, int64_t rowid) {
  std::string text;
  if (!table.without_rowid && table.rowid_column < 0) {
    text = fmt::format("rowid={}", rowid);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    text.append(text.empty() ? "" : ", ").append(Printable(table.columns[i].name)).append("=");
    text += SqlLiteral(values[i], table.encoding);
  }
  return text;
}

}  // namespace

bool OwnedBy(const ChangeSet& changes, const std::string& table, bool made) {
  Schema owners;
  for (const SchemaChange& change : changes.schema) {
    const auto& object = made ? change.after : change.before;
    if (object && !change.altered() && object->virtual_table()) {
      owners[{"table", object->name}] = *object;
    }
  }
  return !owners.empty() && OwnerOf(owners, table) != nullptr;
}

bool HasRows(const ChangeSet& changes, const std::string& table) {
  return std::any_of(changes.tables.begin(), changes.tables.end(),
                     [&](const TableChanges& t) { return t.name == table; });
}
bool IsAltered(const ChangeSet& changes, const std::string& table) {
  return std::any_of(changes.schema.begin(), changes.schema.end(),
                     [&](const SchemaChange& c) { return c.altered() && c.after->name == table; });
}
bool Goes(const ChangeSet& changes, const SchemaObject& object) {
  return std::any_of(changes.schema.begin(), changes.schema.end(), [&](const SchemaChange& c) {
    return c.before && c.before->type == object.type && c.before->name == object.name;
  });
}

TableChanges ChangesOf(const TableChange& table) {
  TableChanges changes;
  changes.name = table.name;
  changes.shadow = table.shadow;
  changes.renumbered = table.renumbered;
  if (table.before != nullptr) {
    changes.before = *table.before;
  }
  if (table.after != nullptr) {
    changes.after = *table.after;
  }
  return changes;
}

ChangeSet Reversed(ChangeSet changes) {
  for (SchemaChange& change : changes.schema) {
    std::swap(change.before, change.after);
    std::swap(change.table_before, change.table_after);
  }
  for (PragmaChange& change : changes.pragmas) {
    std::swap(change.before, change.after);
  }
  for (TableChanges& table : changes.tables) {
    std::swap(table.before, table.after);
    std::swap(table.inserted, table.deleted);
    for (RowChange& row : table.rows) {
      std::swap(row.before, row.after);
      row.op = row.op == RowOp::kInsert   ? RowOp::kDelete
               : row.op == RowOp::kDelete ? RowOp::kInsert
                                          : RowOp::kUpdate;
    }
  }
  return changes;
}

std::string RowKey(const TableChanges& table, const RowChange& row) {
  const bool old = row.op == RowOp::kDelete;
  const TableInfo& info = old ? *table.before : *table.after;
  const std::vector<Value>& values = old ? row.before : row.after;
  if (!info.without_rowid) {
    return fmt::format("{}={}",
                       info.rowid_column >= 0
                           ? Printable(info.columns[static_cast<size_t>(info.rowid_column)].name)
                           : "rowid",
                       row.rowid);
  }
  std::string text;
  for (const int column : info.key) {
    const auto i = static_cast<size_t>(column);
    text.append(text.empty() ? "" : ", ").append(Printable(info.columns[i].name)).append("=");
    text += SqlLiteral(values[i], info.encoding);
  }
  return text;
}

Status ChangeCollector::Schema(const std::vector<SchemaChange>& schema,
                               const std::vector<PragmaChange>& pragmas) {
  changes_.schema = schema;
  changes_.pragmas = pragmas;
  return Status::Ok();
}

Status ChangeCollector::BeginTable(const TableChange& table) {
  changes_.tables.push_back(ChangesOf(table));
  return Status::Ok();
}

Status ChangeCollector::Row(const RowChange& row) {
  TableChanges& table = changes_.tables.back();
  ++(row.op == RowOp::kInsert   ? table.inserted
     : row.op == RowOp::kDelete ? table.deleted
                                : table.updated);
  if (keep_rows_) {
    bytes_ += sizeof(RowChange) + MemoryOf(row.before) + MemoryOf(row.after);
    if (bytes_ > kMaxBytes) {
      return ResourceExhaustedError(
          "more than 1 GiB of rows differ, hint: one table at a time with --table, or restore both "
          "points and compare");
    }
    table.rows.push_back(row);
  }
  return Status::Ok();
}

std::string DescribeRow(const TableChanges& table, const RowChange& row) {
  if (row.op == RowOp::kInsert) {
    return "+ " + Columns(*table.after, row.after, row.rowid);
  }
  if (row.op == RowOp::kDelete) {
    return "- " + Columns(*table.before, row.before, row.rowid);
  }
  std::string text = "~ " + RowKey(table, row) + ":";
  bool first = true;
  const auto add = [&](const Column& column, const std::string& values) {
    text.append(first ? " " : ", ").append(Printable(column.name)).append(" ").append(values);
    first = false;
  };
  const std::vector<int> map = MapColumns(*table.before, *table.after);
  std::set<size_t> seen;
  for (size_t i = 0; i < row.after.size(); ++i) {
    const std::string now = SqlLiteral(row.after[i], table.after->encoding);
    if (map[i] < 0) {
      add(table.after->columns[i], now);
      continue;
    }
    const auto old = static_cast<size_t>(map[i]);
    seen.insert(old);
    if (!(row.before[old] == row.after[i])) {
      add(table.after->columns[i],
          SqlLiteral(row.before[old], table.before->encoding) + " -> " + now);
    }
  }
  for (size_t i = 0; i < row.before.size(); ++i) {
    if (!seen.contains(i)) {
      add(table.before->columns[i],
          SqlLiteral(row.before[i], table.before->encoding) + " -> no column");
    }
  }
  return text;
}

std::string DescribeSchemaChange(const SchemaChange& change) {
  if (!change.before) {
    return Printable(change.after->sql);
  }
  if (!change.after) {
    return "dropped: " + Printable(change.before->sql);
  }
  return "was: " + Printable(change.before->sql) + "\n    now: " + Printable(change.after->sql);
}

std::string DescribePragmaChange(const PragmaChange& change) {
  return fmt::format("{} {} -> {}", change.name, change.before, change.after);
}

std::string DescribeCounts(const TableChanges& table) {
  std::string text;
  const auto add = [&](uint64_t n, const char* word) {
    if (n != 0) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, word);
    }
  };
  add(table.inserted, "inserted");
  add(table.updated, "updated");
  add(table.deleted, "deleted");
  add(table.renumbered, "have another rowid (VACUUM)");
  return text;
}

}  // namespace sqlite_s3

#include "restore/rows/undo_sinks.h"

#include <algorithm>

namespace sqlite_s3 {

Status ConflictSink::Schema(const std::vector<SchemaChange>& schema,
                            const std::vector<PragmaChange>& pragmas) {
  schema_ = schema;
  pragmas_ = pragmas;
  return Status::Ok();
}

Status ConflictSink::BeginTable(const TableChange& table) {
  table_ = ChangesOf(table);
  if (table.renumbered > 0) {
    renumbered_.insert(table.name);
  }
  return Status::Ok();
}

Status ConflictSink::Row(const RowChange& row) {
  RowName name(table_.name, RowKey(table_, row));
  if (rows_.contains(name)) {
    found_.insert(std::move(name));
  }
  return Status::Ok();
}

Status LostValueSink::Row(const RowChange& row) {
  for (size_t i = 0; i < row.after.size(); ++i) {
    const Column& column = table_->columns[i];
    if (std::find(columns_.begin(), columns_.end(), column.name) != columns_.end() &&
        !(row.after[i] == column.standard.value_or(Value()))) {
      found_.insert(column.name);
    }
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

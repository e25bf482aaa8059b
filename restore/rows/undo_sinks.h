#pragma once
// What an undo looks for in the commits that came after.

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "restore/rows/change_set.h"

namespace sqlite_s3 {

using RowName = std::pair<std::string, std::string>;  // table, key

// Looks for rows of a commit among those that changed later.
class ConflictSink : public DiffSink {
 public:
  explicit ConflictSink(const std::set<RowName>& rows) : rows_(rows) {}
  Status Schema(const std::vector<SchemaChange>& schema,
                const std::vector<PragmaChange>& pragmas) override;
  Status BeginTable(const TableChange& table) override;
  Status Row(const RowChange& row) override;
  const std::set<RowName>& found() const { return found_; }
  const std::set<std::string>& renumbered() const { return renumbered_; }
  const std::vector<SchemaChange>& schema() const { return schema_; }
  const std::vector<PragmaChange>& pragmas() const { return pragmas_; }

 private:
  const std::set<RowName>& rows_;
  TableChanges table_;
  std::set<RowName> found_;
  std::set<std::string> renumbered_;
  std::vector<SchemaChange> schema_;
  std::vector<PragmaChange> pragmas_;
};

// Looks for rows that hold something in a column that is to go.
class LostValueSink : public DiffSink {
 public:
  explicit LostValueSink(std::vector<std::string> columns) : columns_(std::move(columns)) {}
  Status Schema(const std::vector<SchemaChange>&, const std::vector<PragmaChange>&) override {
    return Status::Ok();
  }
  Status BeginTable(const TableChange& table) override {
    table_ = table.after;
    return Status::Ok();
  }
  Status Row(const RowChange& row) override;
  const std::set<std::string>& found() const { return found_; }

 private:
  const std::vector<std::string> columns_;
  const TableInfo* table_ = nullptr;
  std::set<std::string> found_;
};

}  // namespace sqlite_s3

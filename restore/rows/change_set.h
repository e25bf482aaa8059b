#pragma once
// ChangeSet: a difference in memory, to be turned round, searched and written as a script.

#include <cstdint>
#include <string>
#include <vector>

#include "restore/rows/differ.h"

namespace sqlite_s3 {

struct TableChanges {
  std::string name;
  bool shadow = false;
  std::optional<TableInfo> before, after;
  std::vector<RowChange> rows;
  uint64_t inserted = 0, updated = 0, deleted = 0;  // also of rows that were not kept
  uint64_t renumbered = 0;                          // as in TableChange
  const TableInfo& any() const { return after ? *after : *before; }
};

struct ChangeSet {
  std::vector<SchemaChange> schema;
  std::vector<PragmaChange> pragmas;
  std::vector<TableChanges> tables;
  bool empty() const { return schema.empty() && pragmas.empty() && tables.empty(); }
};

bool HasRows(const ChangeSet& changes, const std::string& table);
bool IsAltered(const ChangeSet& changes, const std::string& table);
// Whether it is dropped, or made again in another way.
bool Goes(const ChangeSet& changes, const SchemaObject& object);
// Whether it is storage of a virtual table that is made, or dropped.
bool OwnedBy(const ChangeSet& changes, const std::string& table, bool made);

// A TableChange's, without rows.
TableChanges ChangesOf(const TableChange& table);
// The change that leads back.
ChangeSet Reversed(ChangeSet changes);

// Names a row within its table: "rowid=5", or the primary key's columns. Of the state before for a
// row that is deleted, else of the state after; both have the same but for the primary key of a
// table WITHOUT ROWID under a collation, whose spelling changed: there two rows differ.
std::string RowKey(const TableChanges& table, const RowChange& row);

// Collects; rows up to a bound of memory, kResourceExhausted beyond. With `keep_rows` off, only
// counts them.
class ChangeCollector : public DiffSink {
 public:
  explicit ChangeCollector(bool keep_rows = true) : keep_rows_(keep_rows) {}
  Status Schema(const std::vector<SchemaChange>& schema,
                const std::vector<PragmaChange>& pragmas) override;
  Status BeginTable(const TableChange& table) override;
  Status Row(const RowChange& row) override;
  ChangeSet& changes() { return changes_; }

 private:
  const bool keep_rows_;
  uint64_t bytes_ = 0;
  ChangeSet changes_;
};

// "+ id=7, item='tea'", "- ...", "~ id=5: price 3.5 -> 4.0"
std::string DescribeRow(const TableChanges& table, const RowChange& row);
// "CREATE INDEX ...", "dropped: CREATE ...", "was: ...; now: ..."
std::string DescribeSchemaChange(const SchemaChange& change);
std::string DescribePragmaChange(const PragmaChange& change);
// "2 inserted, 1 deleted"; "5 have another rowid (VACUUM)"
std::string DescribeCounts(const TableChanges& table);

}  // namespace sqlite_s3

#pragma once
// Differ: which rows differ between two states of one database. Reads what changed and what leads
// to it, not the tables: pages that no commit in between touched, in trees that still hold them,
// hold the same rows.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "restore/rows/btree.h"
#include "restore/rows/schema.h"

namespace sqlite_s3 {

// A state that was looked at: what was learnt of it is kept for the next one.
struct DatabaseState {
  PageView view;
  DatabaseHeader header;
  std::shared_ptr<const Schema> schema;
  std::shared_ptr<const TreePages> schema_tree;
  std::shared_ptr<TableReader> tables;
  std::map<PageNumber, std::shared_ptr<const TreePages>> trees;  // by root

  // An ordinary table of that name, or null.
  const SchemaObject* Table(const std::string& name) const;
};

enum class RowOp : uint8_t { kInsert, kDelete, kUpdate };
struct RowChange {
  RowOp op = RowOp::kInsert;
  int64_t rowid = 0;          // 0 in a table WITHOUT ROWID
  std::vector<Value> before;  // by column of TableChange::before; empty for kInsert
  std::vector<Value> after;   // by column of TableChange::after; empty for kDelete
};
struct TableChange {
  std::string name;
  bool shadow = false;                // the storage of a virtual table
  const TableInfo* before = nullptr;  // null: the table is new
  const TableInfo* after = nullptr;   // null: it is gone
  // Rows that have another rowid and are the same otherwise, in the same order: VACUUM numbers the
  // rows of tables without INTEGER PRIMARY KEY anew. Then no row follows.
  uint64_t renumbered = 0;
  const TableInfo& any() const { return after != nullptr ? *after : *before; }
};
struct SchemaChange {
  std::optional<SchemaObject> before, after;
  // Of a table that was altered: its columns; null where SQLite does not understand one of the two.
  std::shared_ptr<const TableInfo> table_before, table_after;
  bool altered() const { return before && after && before->type == "table"; }
};
// What page 1 says that an application may have set.
struct PragmaChange {
  std::string name;  // user_version, application_id
  int64_t before = 0, after = 0;
};

class DiffSink {
 public:
  virtual ~DiffSink() = default;
  // First of all. Indexes that SQLite makes itself are left out.
  virtual Status Schema(const std::vector<SchemaChange>& schema,
                        const std::vector<PragmaChange>& pragmas) = 0;
  // Then the tables with rows that differ or were renumbered, by name; their rows by rowid, or by
  // the bytes of the primary key.
  virtual Status BeginTable(const TableChange& table) = 0;
  virtual Status Row(const RowChange& row) = 0;
};

// One thread, the cursor's.
class Differ {
 public:
  // `prefetch`, which may be null, is told what is going to be read.
  explicit Differ(PrefetchFunction prefetch = nullptr) : prefetch_(std::move(prefetch)) {}
  // Only this table; by default all.
  void Only(std::set<std::string> tables) { only_ = std::move(tables); }

  // Looks at a state from scratch.
  Result<DatabaseState> Look(const PageView& view);
  // `after` from what is known of `before`, given the pages that changed in between (sorted).
  Result<DatabaseState> Follow(const DatabaseState& before, const PageView& after,
                               const std::vector<PageNumber>& changed);
  // REQUIRES: `after` is of Follow(before, ..., changed).
  Status Diff(DatabaseState& before, DatabaseState& after, const std::vector<PageNumber>& changed,
              DiffSink& sink);

 private:
  struct Work {  // one table
    std::string name;
    const SchemaObject* before = nullptr;
    const SchemaObject* after = nullptr;
    std::shared_ptr<const TreePages> tree_before, tree_after;
    std::vector<PageNumber> pages_before, pages_after;  // to be compared
  };
  struct Owner {
    PageNumber root = 0, leaf = 0;
  };
  static void Describe(DatabaseState& before, DatabaseState& after, SchemaChange* change);
  Result<std::shared_ptr<const TreePages>> Tree(DatabaseState& state, PageNumber root);
  bool Wanted(const std::string& name) const { return only_.empty() || only_.contains(name); }
  Result<std::vector<Work>> Plan(DatabaseState& before, DatabaseState& after,
                                 const std::vector<PageNumber>& changed);
  // Adds the pages of rows of which only an overflow page changed.
  Status AddOverflowChanges(DatabaseState& after, const std::vector<PageNumber>& changed,
                            std::vector<Work>& work);
  Status ScanOverflow(DatabaseState& after, std::vector<Work>& work);
  // Puts the leaves that own one of `open` among the pages to compare, as far as is known which
  // they are, and takes the pages explained so from `open`.
  Status TakeOwned(DatabaseState& after, std::vector<Work>& work, std::set<PageNumber>* open);
  Status Prefetch(const std::vector<PageNumber>& pages) const;
  // Adds the overflow pages of the rows on `page`.
  static Status ChainsOf(const DatabaseState& state, PageNumber page, OverflowBudget& budget,
                         std::vector<PageNumber>* chains);
  Status CompareTables(Work& work, DatabaseState& before, DatabaseState& after, DiffSink& sink);

  const PrefetchFunction prefetch_;
  std::set<std::string> only_;
  std::unordered_map<PageNumber, Owner> overflow_owner_;  // checked at each use
  bool overflow_scanned_ = false;
};

}  // namespace sqlite_s3

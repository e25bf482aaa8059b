#include "restore/rows/script.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/ascii.h"
#include "restore/rows/guarded_script.h"
#include "restore/rows/rebuild.h"
#include "restore/rows/row_sql.h"
#include "restore/rows/virtual_table.h"

namespace sqlite_s3 {
namespace {

constexpr char kSequence[] = "sqlite_sequence";

class Writer {
 public:
  Writer(const ChangeSet& changes, const ScriptOptions& options)
      : changes_(changes), options_(options), script_(options.title, options.check_foreign_keys) {}

  // What SQL cannot make conditional, schema changes, comes before the one check that may roll
  // back, and each in a savepoint: where the transaction is gone by an error, one that is never
  // committed begins there.
  Result<std::string> Write() {
    RETURN_IF_ERROR(CheckSchema());
    script_.Begin();
    DropTriggers();
    // What ANALYZE found of an index goes with the index: so these rows come first.
    CreateStatistics();
    RETURN_IF_ERROR(AllRows(RowOp::kDelete, /*statistics=*/true));
    RETURN_IF_ERROR(AllRows(RowOp::kUpdate, /*statistics=*/true));
    RETURN_IF_ERROR(AllRows(RowOp::kInsert, /*statistics=*/true));
    PlanRebuilds();
    DropObjects();
    CreateTables();
    RETURN_IF_ERROR(AllRows(RowOp::kDelete, /*statistics=*/false));
    RETURN_IF_ERROR(AllRows(RowOp::kUpdate, /*statistics=*/false));
    RebuildTables();
    RETURN_IF_ERROR(AllRows(RowOp::kInsert, /*statistics=*/false));
    script_.CountRows();
    DropTables();
    CreateObjects();
    Sequences();
    for (const std::string& table : options_.rebuild) {
      const std::string name = SqlIdentifier(table);
      script_.Line(
          fmt::format("INSERT INTO main.{}({}) SELECT 'rebuild' WHERE {};", name, name, kIfGuard));
    }
    Pragmas();
    Existing();
    return script_.End();
  }

 private:
  Status CheckSchema() const {
    for (const SchemaChange& change : changes_.schema) {
      const SchemaObject& object = change.after ? *change.after : *change.before;
      const std::string name = "table '" + Printable(object.name) + "'";
      if (object.type != "table") {
        continue;
      }
      if (change.altered()) {
        if (object.virtual_table() || change.before->virtual_table()) {
          return FailedPreconditionError("virtual " + name + " was made again, in another way");
        }
        RETURN_IF_ERROR(CanRebuild(change));
      } else if (object.virtual_table() && !IsKnownModule(ModuleOf(object.sql))) {
        return FailedPreconditionError(
            "virtual " + name + " was made or dropped, and its module '" +
            Printable(ModuleOf(object.sql)) + "' is none whose storage is known");
      }
    }
    return Status::Ok();
  }

  void DropTriggers() {
    if (options_.triggers_are_off) {
      return;
    }
    for (const auto& [key, object] : *options_.live) {
      if (object.type == "trigger" &&
          (HasRows(changes_, object.table) || IsAltered(changes_, object.table)) &&
          !Goes(changes_, object)) {
        script_.Ddl("DROP TRIGGER " + SqlIdentifier(object.name) + ";");
        again_.push_back(object);
      }
    }
  }

  void DropObjects() {
    for (const char* type : {"trigger", "view", "index"}) {
      for (const SchemaChange& change : changes_.schema) {
        if (change.before && change.before->type == type) {
          script_.Ddl("DROP " + ToUpper(type) + " " + SqlIdentifier(change.before->name) + ";");
        }
      }
    }
  }

  static bool IsStatistics(const std::string& table) { return table.starts_with("sqlite_stat"); }

  void CreateStatistics() {
    for (const SchemaChange& change : changes_.schema) {
      if (change.after && !change.before && change.after->type == "table" &&
          IsStatistics(change.after->name)) {
        return script_.Ddl("ANALYZE sqlite_schema;");  // there is no other way to make the table
      }
    }
  }

  Status AllRows(RowOp op, bool statistics) {
    for (const TableChanges& table : changes_.tables) {
      if (table.name != kSequence && IsStatistics(table.name) == statistics) {
        RETURN_IF_ERROR(Rows(table, op));
      }
    }
    return Status::Ok();
  }

  void CreateTables() {
    // A module puts rows of its own into its storage, and they count.
    const bool by_module = std::any_of(
        changes_.schema.begin(), changes_.schema.end(),
        [](const SchemaChange& c) { return c.after && !c.before && c.after->virtual_table(); });
    if (by_module) {
      script_.CountRows();
    }
    for (const SchemaChange& change : changes_.schema) {
      if (change.after && !change.before && change.after->type == "table" &&
          !change.after->name.starts_with("sqlite_") &&
          !OwnedBy(changes_, change.after->name, /*made=*/true)) {
        script_.Ddl(change.after->sql + ";");
        made_.push_back(*change.after);
      }
    }
    if (by_module) {
      for (const TableChanges& table : changes_.tables) {
        if (OwnedBy(changes_, table.name, /*made=*/true)) {
          script_.Line(
              fmt::format("DELETE FROM main.{} WHERE {};", SqlIdentifier(table.name), kIfGuard));
        }
      }
      script_.CountFromHere();
    }
  }

  void DropTables() {
    for (const TableChanges& table : changes_.tables) {
      if (OwnedBy(changes_, table.name, /*made=*/false)) {
        script_.Note(fmt::format("(SELECT count(*) FROM main.{})={}", SqlIdentifier(table.name),
                                 table.rows.size()));
      }
    }
    for (const SchemaChange& change : changes_.schema) {
      if (!change.before || change.after || change.before->type != "table" ||
          change.before->name == kSequence ||
          OwnedBy(changes_, change.before->name, /*made=*/false)) {
        continue;
      }
      const std::string name = "main." + SqlIdentifier(change.before->name);
      if (!change.before->virtual_table()) {
        script_.Note("NOT EXISTS(SELECT 1 FROM " + name + ")");
      }
      script_.Ddl("DROP TABLE " + name + ";");
    }
  }

  void PlanRebuilds() {
    for (const SchemaChange& change : changes_.schema) {
      if (change.altered()) {
        rebuilds_.emplace_back(&change, RebuildTable(change, *options_.live, rebuilds_.size() + 1));
        for (const std::string& sql : rebuilds_.back().second.save) {
          script_.Line(sql);
        }
      }
    }
  }

  // Altered tables. All that was to be changed or to go went before, by its old values; what is to
  // be comes after.
  void RebuildTables() {
    if (rebuilds_.empty()) {
      return;
    }
    script_.CountRows();
    for (const auto& [altered, rebuild] : rebuilds_) {
      const SchemaChange& change = *altered;
      script_.Exists("table", change.before->name, change.before->sql);
      for (const std::string& condition : rebuild.conditions) {
        script_.Note(condition);
      }
      for (const std::string& sql : rebuild.copy) {
        script_.Line(sql);
      }
      script_.Ddl("DROP TABLE main." + SqlIdentifier(change.before->name) + ";");
      script_.Ddl(change.after->sql + ";");
      made_.push_back(*change.after);
      for (const std::string& sql : rebuild.fill) {
        script_.Line(sql);
      }
      script_.Note(rebuild.whole);
      for (const std::string& sql : rebuild.clean) {
        script_.Line(sql);
      }
      // They went with the table; its triggers did before, unless they are off.
      for (const auto& [key, object] : *options_.live) {
        const bool goes = object.type == "trigger" ? options_.triggers_are_off
                                                   : object.type != "table" && !object.sql.empty();
        if (goes && object.table == change.before->name && !Goes(changes_, object)) {
          again_.push_back(object);
        }
      }
    }
    script_.CountFromHere();
  }

  void CreateObjects() {
    const auto create = [&](const SchemaObject& object) {
      script_.Ddl(object.sql + ";");
      made_.push_back(object);
    };
    for (const char* type : {"index", "view", "trigger"}) {
      for (const SchemaObject& object : again_) {
        if (object.type == type) {
          create(object);
        }
      }
      for (const SchemaChange& change : changes_.schema) {
        if (change.after && change.after->type == type) {
          create(*change.after);
        }
      }
    }
  }

  // --- rows

  Status Rows(const TableChanges& changes, RowOp op) {
    const TableInfo& table = changes.any();
    if (!table.without_rowid && table.rowid_name.empty()) {
      return FailedPreconditionError("the columns of table '" + Printable(table.name) +
                                     "' take every name of the rowid");
    }
    for (const RowChange& row : changes.rows) {
      // Under unique indexes an update can be in the way of another: all go, then all come.
      const bool apart =
          row.op == RowOp::kUpdate && (table.unique || IsAltered(changes_, table.name));
      if (op == RowOp::kDelete && row.op == RowOp::kDelete &&
          OwnedBy(changes_, table.name, /*made=*/false)) {
        // The module needs its storage to drop it.
        script_.Note(fmt::format("EXISTS(SELECT 1 FROM main.{} WHERE {})",
                                 SqlIdentifier(table.name), RowAsBefore(*changes.before, row)));
      } else if (op == RowOp::kDelete && (row.op == RowOp::kDelete || apart)) {
        script_.Row(DeleteRow(*changes.before, row));
      } else if (op == RowOp::kUpdate && row.op == RowOp::kUpdate && !apart) {
        script_.Row(UpdateRow(table, row));
      } else if (op == RowOp::kInsert && (row.op == RowOp::kInsert || apart)) {
        script_.Row(InsertRow(*changes.after, row));
      }
    }
    return Status::Ok();
  }

  // What AUTOINCREMENT remembers comes last: the inserts above may have moved it.
  void Sequences() {
    for (const TableChanges& table : changes_.tables) {
      if (table.name != kSequence) {
        continue;
      }
      std::vector<const RowChange*> rows;
      for (const RowChange& row : table.rows) {
        rows.push_back(&row);
      }
      std::string names;
      for (const RowChange* row : rows) {
        for (const auto* values : {&row->before, &row->after}) {
          if (!values->empty()) {
            names.append(names.empty() ? "" : ",");
            names += SqlLiteral((*values)[0], table.any().encoding);
          }
        }
      }
      script_.Line(
          "DELETE FROM main.sqlite_sequence WHERE (SELECT 1 FROM temp.s3_undo_guard) AND name "
          "IN (" +
          names + ");");
      for (const RowChange* row : rows) {
        if (row->op != RowOp::kDelete) {
          const std::string name = SqlLiteral(row->after[0], table.any().encoding);
          const std::string value = SqlLiteral(row->after[1], table.any().encoding);
          script_.Line(
              fmt::format("INSERT INTO main.sqlite_sequence(rowid,name,seq) SELECT {},{},{} WHERE "
                          "(SELECT 1 FROM temp.s3_undo_guard);",
                          row->rowid, name, value));
          script_.Note(
              fmt::format("(SELECT count(*) FROM main.sqlite_sequence WHERE name={} AND seq IS {})"
                          "=1",
                          name, value));
        }
      }
    }
  }

  void Pragmas() {
    for (const PragmaChange& change : changes_.pragmas) {
      script_.Note(
          fmt::format("(SELECT {} FROM pragma_{})={}", change.name, change.name, change.before));
      script_.Ddl(fmt::format("PRAGMA main.{}={};", change.name, change.after));
    }
  }

  // The tables are those that were compared, and what was made is there.
  void Existing() {
    for (const TableChanges& table : changes_.tables) {
      if (table.after && !table.name.starts_with("sqlite_")) {
        script_.Exists("table", table.name, table.after->sql);
      }
    }
    for (const SchemaObject& object : made_) {
      script_.Exists(object.type, object.name, object.sql);
    }
  }
  const ChangeSet& changes_;
  const ScriptOptions& options_;
  GuardedScript script_;
  std::vector<SchemaObject> again_, made_;
  std::vector<std::pair<const SchemaChange*, Rebuild>> rebuilds_;
};

}  // namespace

Result<std::string> WriteScript(const ChangeSet& changes, const ScriptOptions& options) {
  return Writer(changes, options).Write();
}

}  // namespace sqlite_s3

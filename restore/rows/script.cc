#include "restore/rows/script.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace sqlite_s3 {
namespace {

constexpr char kGuard[] = "temp.s3_undo_guard";
constexpr char kSequence[] = "sqlite_sequence";

// AND-ed as a balanced tree: SQLite bounds the depth of an expression, not its size.
std::string All(const std::vector<std::string>& terms, size_t begin, size_t end) {
  if (end - begin <= 50) {
    std::string text;
    for (size_t i = begin; i < end; ++i) {
      text.append(i == begin ? "" : " AND ").append(terms[i]);
    }
    return text;
  }
  const size_t middle = begin + (end - begin) / 2;
  return "(" + All(terms, begin, middle) + ") AND (" + All(terms, middle, end) + ")";
}

class Writer {
 public:
  Writer(const ChangeSet& changes, const ScriptOptions& options)
      : changes_(changes), options_(options) {}

  // What SQL cannot make conditional, schema changes, comes before the one check that may roll
  // back: a shell that goes on after errors would make them outside of the transaction.
  Result<std::string> Write() {
    RETURN_IF_ERROR(CheckSchema());
    Begin();
    DropTriggers();
    // What ANALYZE found of an index goes with the index: so these rows come first.
    CreateStatistics();
    RETURN_IF_ERROR(AllRows(/*statistics=*/true));
    DropObjects();
    CreateTables();
    RETURN_IF_ERROR(AllRows(/*statistics=*/false));
    // Each row was changed, and no other: each statement can change one at most.
    Note(fmt::format("total_changes()=base+{}", rows_ + notes_ + 1));
    DropTables();
    CreateObjects();
    Sequences();
    Pragmas();
    Existing();
    if (!options_.check_foreign_keys.empty()) {
      Note(Violations() + "<=violations");
    }
    Note("(SELECT foreign_keys FROM pragma_foreign_keys)=0");
    Line(
        fmt::format("INSERT OR ROLLBACK INTO {}(ok) SELECT count(fine)={} AND min(fine)=1 FROM {};",
                    kGuard, notes_, kGuard));
    Line("COMMIT;");
    Line("DROP TABLE temp.s3_undo_guard;");
    return std::move(out_);
  }

 private:
  void Line(const std::string& text) { out_.append(text).append("\n"); }

  Status CheckSchema() const {
    for (const SchemaChange& change : changes_.schema) {
      const SchemaObject& object = change.after ? *change.after : *change.before;
      const std::string name = "table '" + Printable(object.name) + "'";
      if (object.type == "table" &&
          (object.virtual_table() || (change.before && change.before->virtual_table()))) {
        return FailedPreconditionError(name + " is virtual, and was made or dropped");
      }
      if (object.type == "table" && change.before && change.after) {
        return FailedPreconditionError(name + " was altered");
      }
    }
    return Status::Ok();
  }

  void Begin() {
    Line("-- " + options_.title);
    Line(
        "-- Commits only if every row is as expected; else it changes nothing. Where it is run by");
    Line(
        "-- the sqlite3 shell: sqlite3 -bail DATABASE < FILE. It switches foreign keys off on its");
    Line("-- connection, and checks them itself.");
    Line("PRAGMA foreign_keys=OFF;");
    Line("BEGIN;");
    // Made inside the transaction: when that is rolled back, it goes, and with it every statement
    // that follows in a shell which does not stop at errors.
    Line(
        "CREATE TEMP TABLE s3_undo_guard(base INTEGER, violations INTEGER, fine INTEGER, ok "
        "INTEGER, CONSTRAINT \"the database is not as the script expects: nothing was changed\" "
        "CHECK(ok));");
    Line(fmt::format("INSERT INTO {}(base,violations) SELECT total_changes(),{};", kGuard,
                     Violations()));
  }

  std::string Violations() const {
    std::string sum;
    for (const std::string& table : options_.check_foreign_keys) {
      sum += (sum.empty() ? "" : "+") +
             std::string("(SELECT count(*) FROM pragma_foreign_key_check(") + SqlText(table) + "))";
    }
    return sum.empty() ? "0" : sum;
  }

  // Whether `condition` holds now; the end looks at all of them.
  void Note(const std::string& condition) {
    Line(fmt::format("INSERT INTO {}(fine) SELECT coalesce({},0) FROM {} WHERE base IS NOT NULL;",
                     kGuard, condition, kGuard));
    ++notes_;
  }

  bool Concerned(const std::string& table) const {
    return std::any_of(changes_.tables.begin(), changes_.tables.end(),
                       [&](const TableChanges& t) { return t.name == table; });
  }
  bool Goes(const std::string& type, const std::string& name) const {
    return std::any_of(changes_.schema.begin(), changes_.schema.end(), [&](const SchemaChange& c) {
      return c.before && c.before->type == type && c.before->name == name;
    });
  }

  void DropTriggers() {
    if (options_.triggers_are_off) {
      return;
    }
    for (const auto& [key, object] : *options_.live) {
      if (object.type == "trigger" && Concerned(object.table) && !Goes("trigger", object.name)) {
        Line("DROP TRIGGER " + SqlIdentifier(object.name) + ";");
        again_.push_back(object);
      }
    }
  }

  void DropObjects() {
    for (const char* type : {"trigger", "view", "index"}) {
      for (const SchemaChange& change : changes_.schema) {
        if (change.before && change.before->type == type) {
          std::string upper = type;
          std::transform(upper.begin(), upper.end(), upper.begin(),
                         [](char c) { return static_cast<char>(c - 'a' + 'A'); });
          Line("DROP " + upper + " " + SqlIdentifier(change.before->name) + ";");
        }
      }
    }
  }

  static bool IsStatistics(const std::string& table) { return table.starts_with("sqlite_stat"); }

  void CreateStatistics() {
    for (const SchemaChange& change : changes_.schema) {
      if (change.after && !change.before && change.after->type == "table" &&
          IsStatistics(change.after->name)) {
        return Line("ANALYZE sqlite_schema;");  // there is no other way to make the table
      }
    }
  }

  Status AllRows(bool statistics) {
    for (const RowOp op : {RowOp::kDelete, RowOp::kUpdate, RowOp::kInsert}) {
      for (const TableChanges& table : changes_.tables) {
        if (table.name != kSequence && IsStatistics(table.name) == statistics) {
          RETURN_IF_ERROR(Rows(table, op));
        }
      }
    }
    return Status::Ok();
  }

  void CreateTables() {
    for (const SchemaChange& change : changes_.schema) {
      if (change.after && !change.before && change.after->type == "table") {
        if (!change.after->name.starts_with("sqlite_")) {
          Line(change.after->sql + ";");
          made_.push_back(*change.after);
        }
      }
    }
  }

  void DropTables() {
    for (const SchemaChange& change : changes_.schema) {
      if (change.before && !change.after && change.before->type == "table" &&
          change.before->name != kSequence) {
        Note("NOT EXISTS(SELECT 1 FROM main." + SqlIdentifier(change.before->name) + ")");
        Line("DROP TABLE main." + SqlIdentifier(change.before->name) + ";");
      }
    }
  }

  void CreateObjects() {
    for (const char* type : {"index", "view", "trigger"}) {
      for (const SchemaChange& change : changes_.schema) {
        if (change.after && change.after->type == type) {
          Line(change.after->sql + ";");
          made_.push_back(*change.after);
        }
      }
    }
    for (const SchemaObject& trigger : again_) {
      Line(trigger.sql + ";");
      made_.push_back(trigger);
    }
  }

  // --- rows

  static std::string Exactly(const Column& column, const Value& value, TextEncoding encoding) {
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

  std::string Where(const TableInfo& table, const RowChange& row) const {
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
    return " WHERE (SELECT 1 FROM temp.s3_undo_guard) AND " + All(terms, 0, terms.size()) + ";";
  }

  void Delete(const TableInfo& table, const RowChange& row) {
    Line("DELETE FROM main." + SqlIdentifier(table.name) + Where(table, row));
    ++rows_;
  }

  void Insert(const TableInfo& table, const RowChange& row) {
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
    Line("INSERT OR ABORT INTO main." + SqlIdentifier(table.name) + "(" + names + ") SELECT " +
         values + " WHERE (SELECT 1 FROM temp.s3_undo_guard);");
    ++rows_;
  }

  void Update(const TableInfo& table, const RowChange& row) {
    std::string set;
    for (size_t i = 0; i < table.columns.size(); ++i) {
      if (!table.columns[i].generated && !(row.before[i] == row.after[i])) {
        set.append(set.empty() ? "" : ",").append(SqlIdentifier(table.columns[i].name));
        set.append("=").append(SqlLiteral(row.after[i], table.encoding));
      }
    }
    if (!set.empty()) {  // else generated columns alone differ: they follow
      Line("UPDATE OR ABORT main." + SqlIdentifier(table.name) + " SET " + set + Where(table, row));
      ++rows_;
    }
  }

  Status Rows(const TableChanges& changes, RowOp op) {
    const TableInfo& table = changes.any();
    if (!table.without_rowid && table.rowid_name.empty()) {
      return FailedPreconditionError("the columns of table '" + Printable(table.name) +
                                     "' take every name of the rowid");
    }
    for (const RowChange& row : changes.rows) {
      // Under unique indexes an update can be in the way of another: all go, then all come.
      const bool apart = row.op == RowOp::kUpdate && table.unique;
      if (op == RowOp::kDelete && (row.op == RowOp::kDelete || apart)) {
        Delete(*changes.before, row);
      } else if (op == RowOp::kUpdate && row.op == RowOp::kUpdate && !apart) {
        Update(table, row);
      } else if (op == RowOp::kInsert && (row.op == RowOp::kInsert || apart)) {
        Insert(*changes.after, row);
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
      Line(
          "DELETE FROM main.sqlite_sequence WHERE (SELECT 1 FROM temp.s3_undo_guard) AND name "
          "IN (" +
          names + ");");
      for (const RowChange* row : rows) {
        if (row->op != RowOp::kDelete) {
          const std::string name = SqlLiteral(row->after[0], table.any().encoding);
          const std::string value = SqlLiteral(row->after[1], table.any().encoding);
          Line(
              fmt::format("INSERT INTO main.sqlite_sequence(rowid,name,seq) SELECT {},{},{} WHERE "
                          "(SELECT 1 FROM temp.s3_undo_guard);",
                          row->rowid, name, value));
          Note(
              fmt::format("(SELECT count(*) FROM main.sqlite_sequence WHERE name={} AND seq IS {})"
                          "=1",
                          name, value));
        }
      }
    }
  }

  void Pragmas() {
    for (const PragmaChange& change : changes_.pragmas) {
      Note(fmt::format("(SELECT {} FROM pragma_{})={}", change.name, change.name, change.before));
      Line(fmt::format("PRAGMA main.{}={};", change.name, change.after));
    }
  }

  // The tables are those that were compared, and what was made is there.
  void Existing() {
    for (const TableChanges& table : changes_.tables) {
      if (table.after && !table.name.starts_with("sqlite_")) {
        Exists("table", table.name, table.after->sql);
      }
    }
    for (const SchemaObject& object : made_) {
      Exists(object.type, object.name, object.sql);
    }
  }
  void Exists(const std::string& type, const std::string& name, const std::string& sql) {
    Note("EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type=" + SqlText(type) +
         " AND name=" + SqlText(name) + " AND sql=" + SqlText(sql) + ")");
  }

  const ChangeSet& changes_;
  const ScriptOptions& options_;
  std::string out_;
  uint64_t rows_ = 0;
  uint64_t notes_ = 0;
  std::vector<SchemaObject> again_, made_;
};

}  // namespace

Result<std::string> WriteScript(const ChangeSet& changes, const ScriptOptions& options) {
  return Writer(changes, options).Write();
}

}  // namespace sqlite_s3

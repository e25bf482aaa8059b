#include "restore/rows/undo.h"

#include <string.h>

#include <algorithm>
#include <map>

#include "common/base/ascii.h"
#include "common/os/file.h"
#include "restore/rows/query.h"
#include "restore/rows/row_compare.h"
#include "restore/rows/undo_sinks.h"
#include "restore/rows/virtual_table.h"

namespace sqlite_s3 {
namespace {

// Columns that an altered table has after `change`, and had not before.
std::vector<std::string> AddedColumns(const SchemaChange& change) {
  std::vector<std::string> added;
  if (change.altered() && change.table_before && change.table_after) {
    const std::vector<int> map = MapColumns(*change.table_before, *change.table_after);
    for (size_t i = 0; i < map.size(); ++i) {
      if (map[i] < 0 && !change.table_after->columns[i].generated) {
        added.push_back(change.table_after->columns[i].name);
      }
    }
  }
  return added;
}

bool IsSqlitesOwn(const std::string& table) {
  return table == "sqlite_sequence" || table.starts_with("sqlite_stat");
}

class Planner {
 public:
  Planner(Replica& replica, const UndoOptions& options, Progress& progress, Damage* damage)
      : replica_(replica), options_(options), progress_(progress), damage_(damage) {}

  Result<UndoPlan> Plan() {
    plan_.txid = options_.txid;
    HistoryCursor::Options cursor_options{options_.until, options_.txid.Prev(), options_.timeline,
                                          options_.image_before};
    ASSIGN_OR_RETURN(auto cursor,
                     HistoryCursor::Open(replica_, cursor_options, progress_, damage_));
    plan_.until = cursor->last();
    timeline_ = cursor->plan().timeline;
    if (plan_.until < options_.txid && std::holds_alternative<TargetLatest>(options_.until)) {
      return NotFoundError("there is no TXID " + FormatTxid(options_.txid) +
                           ", the last one is TXID " + FormatTxid(plan_.until));
    }
    if (plan_.until < options_.txid) {
      return InvalidArgumentError("--until is TXID " + FormatTxid(plan_.until) +
                                  ", before the commit to undo");
    }
    RETURN_IF_ERROR(cursor->AdvanceTo(options_.txid.Prev()));
    Differ differ(cursor->Prefetcher());
    const auto pin_before = cursor->Pin();
    ASSIGN_OR_RETURN(DatabaseState before, differ.Look(cursor->View(pin_before)));
    (void)cursor->TakeChanged();
    RETURN_IF_ERROR(cursor->Step());
    const std::vector<PageNumber> changed = cursor->TakeChanged();
    const auto pin_after = cursor->Pin();
    ASSIGN_OR_RETURN(DatabaseState after, differ.Follow(before, cursor->View(pin_after), changed));
    ChangeCollector collector;
    RETURN_IF_ERROR(differ.Diff(before, after, changed, collector));
    plan_.changes = std::move(collector.changes());

    RETURN_IF_ERROR(cursor->AdvanceTo(plan_.until));
    const std::vector<PageNumber> later = cursor->TakeChanged();
    ASSIGN_OR_RETURN(DatabaseState now, differ.Follow(after, cursor->Now(), later));
    ChangeSet back = Reversed(plan_.changes);
    if (plan_.until > plan_.txid) {
      RETURN_IF_ERROR(LookForConflicts(differ, after, now, later, &back));
    }
    if (!plan_.conflicts.empty() || !plan_.obstacles.empty()) {
      RETURN_IF_ERROR(NameCommits());
      return std::move(plan_);
    }
    std::erase_if(back.tables, [](const TableChanges& table) { return table.rows.empty(); });
    for (const TableChanges& table : plan_.changes.tables) {
      if (table.renumbered > 0) {
        plan_.left_out.push_back("rowids of table '" + Printable(table.name) +
                                 "': a VACUUM gave new ones");
      }
    }
    ScriptOptions script;
    script.title = "undo of TXID " + FormatTxid(plan_.txid) + " in the database as of TXID " +
                   FormatTxid(plan_.until);
    script.live = now.schema.get();
    script.triggers_are_off = options_.triggers_are_off;
    script.rebuild = plan_.rebuilt;
    ASSIGN_OR_RETURN(script.check_foreign_keys, ForeignKeyTables(now, back));
    auto text = WriteScript(back, script);
    if (text.code() == StatusCode::kFailedPrecondition) {
      plan_.obstacles.push_back(text.status().message());
      return std::move(plan_);
    }
    RETURN_IF_ERROR(text.status());
    plan_.script = std::move(*text);
    return std::move(plan_);
  }

 private:
  Status LookForConflicts(Differ& differ, DatabaseState& after, DatabaseState& now,
                          const std::vector<PageNumber>& later, ChangeSet* back) {
    for (const TableChanges& table : plan_.changes.tables) {
      for (const RowChange& row : table.rows) {
        rows_.insert({table.name, RowKey(table, row)});
      }
    }
    ConflictSink sink(rows_);
    RETURN_IF_ERROR(differ.Diff(after, now, later, sink));
    ChooseRebuilds(*now.schema, sink.found(), back);
    for (const RowName& name : sink.found()) {
      if (IsRebuilt(*now.schema, name.first)) {
        continue;
      }
      if (IsSqlitesOwn(name.first)) {
        // Later inserts need the numbers that they have used up, later plans their statistics.
        for (TableChanges& table : back->tables) {
          if (table.name == name.first) {
            std::erase_if(table.rows,
                          [&](const RowChange& row) { return RowKey(table, row) == name.second; });
          }
        }
        plan_.left_out.push_back(name.first + " " + name.second +
                                 ": later commits went on from it");
      } else {
        plan_.conflicts.push_back({name.first, name.second, {}});
      }
    }
    for (const TableChanges& table : plan_.changes.tables) {
      if (table.rows.empty() || !sink.renumbered().contains(table.name)) {
        continue;
      }
      if (IsSqlitesOwn(table.name)) {
        std::erase_if(back->tables, [&](const TableChanges& t) { return t.name == table.name; });
        plan_.left_out.push_back(table.name + ": a later VACUUM numbered its rows anew");
      } else {
        plan_.obstacles.push_back("table '" + Printable(table.name) +
                                  "' was numbered anew by a VACUUM later, so that no row of it can "
                                  "be told by its rowid");
      }
    }
    for (const SchemaChange& change : sink.schema()) {
      SchemaObstacle(change);
    }
    for (const PragmaChange& change : sink.pragmas()) {
      std::erase_if(back->pragmas, [&](const PragmaChange& ours) {
        if (ours.name == change.name) {
          plan_.obstacles.push_back(change.name + " was set again later");
        }
        return ours.name == change.name;
      });
    }
    RETURN_IF_ERROR(LookForLostValues(differ, after, now, later, sink.schema()));
    // Tables that are to go must have nothing more in them.
    for (const SchemaChange& change : plan_.changes.schema) {
      if (change.after && !change.before && change.after->type == "table" &&
          change.after->root != 0) {
        ChangeCollector rows(/*keep_rows=*/false);
        differ.Only({change.after->name});
        RETURN_IF_ERROR(differ.Diff(after, now, later, rows));
        differ.Only({});
        for (const TableChanges& table : rows.changes().tables) {
          plan_.obstacles.push_back(
              "table '" + Printable(table.name) +
              "' was created by the commit, and has changed since: " + DescribeCounts(table));
        }
      }
    }
    return Status::Ok();
  }

  // A commit to a full-text table writes its index in places that every later one writes as well.
  // Where its content tells what is in it, the content is reversed, and the index made anew.
  void ChooseRebuilds(const Schema& schema, const std::set<RowName>& conflicts, ChangeSet* back) {
    for (const RowName& name : conflicts) {
      const SchemaObject* owner = OwnerOf(schema, name.first);
      if (owner != nullptr && IsRebuildable(schema, *owner, name.first) &&
          std::find(plan_.rebuilt.begin(), plan_.rebuilt.end(), owner->name) ==
              plan_.rebuilt.end()) {
        plan_.rebuilt.push_back(owner->name);
      }
    }
    std::erase_if(back->tables,
                  [&](const TableChanges& table) { return IsRebuilt(schema, table.name); });
  }
  bool IsRebuilt(const Schema& schema, const std::string& table) const {
    const SchemaObject* owner = OwnerOf(schema, table);
    return owner != nullptr && IsRebuildable(schema, *owner, table) &&
           std::find(plan_.rebuilt.begin(), plan_.rebuilt.end(), owner->name) !=
               plan_.rebuilt.end();
  }

  // Columns that the commit added go; what was put into them since would go with them.
  Status LookForLostValues(Differ& differ, DatabaseState& after, DatabaseState& now,
                           const std::vector<PageNumber>& later,
                           const std::vector<SchemaChange>& later_schema) {
    for (const SchemaChange& change : plan_.changes.schema) {
      const std::vector<std::string> added = AddedColumns(change);
      if (added.empty()) {
        continue;
      }
      const std::string& table = change.after->name;
      LostValueSink sink(added);
      differ.Only({table});
      RETURN_IF_ERROR(differ.Diff(after, now, later, sink));
      differ.Only({});
      for (const std::string& column : sink.found()) {
        plan_.obstacles.push_back("later commits put values into column '" + Printable(column) +
                                  "' of table '" + Printable(table) + "', which the commit added");
      }
      for (const SchemaChange& made : later_schema) {
        for (const std::string& column : added) {
          if (made.after && made.after->type != "table" &&
              strcasestr(made.after->sql.c_str(), column.c_str()) != nullptr) {
            plan_.obstacles.push_back(made.after->type + " '" + Printable(made.after->name) +
                                      "' was made later, and names column '" + Printable(column) +
                                      "', which the commit added");
          }
        }
      }
    }
    return Status::Ok();
  }

  // A later change of the schema that is in the way.
  void SchemaObstacle(const SchemaChange& later) {
    const SchemaObject& object = later.after ? *later.after : *later.before;
    const auto obstacle = [&](const char* what) {
      plan_.obstacles.push_back(object.type + " '" + Printable(object.name) + "' " + what);
    };
    for (const TableChanges& table : plan_.changes.tables) {
      if (object.type == "table" && object.name == table.name) {
        return obstacle(!later.after    ? "was dropped later"
                        : !later.before ? "was created again later"
                                        : "was altered later");
      }
    }
    for (const SchemaChange& ours : plan_.changes.schema) {
      const SchemaObject& mine = ours.after ? *ours.after : *ours.before;
      if (mine.name == object.name) {
        return obstacle("was changed later as well");
      }
      if (!ours.before && mine.type == "table" && object.table == mine.name) {
        return obstacle("was made later, on a table that the commit created");
      }
    }
  }

  // Once more over the later commits, one by one, looking at the rows in conflict.
  Status NameCommits() {
    if (plan_.conflicts.empty()) {
      return Status::Ok();
    }
    std::set<RowName> wanted;
    std::set<std::string> tables;
    for (const UndoConflict& conflict : plan_.conflicts) {
      wanted.insert({conflict.table, conflict.key});
      tables.insert(conflict.table);
    }
    std::map<RowName, std::vector<Txid>> found;
    HistoryCursor::Options cursor_options{plan_.until, plan_.txid, timeline_,
                                          options_.image_before};
    ASSIGN_OR_RETURN(auto cursor,
                     HistoryCursor::Open(replica_, cursor_options, progress_, damage_));
    RETURN_IF_ERROR(cursor->AdvanceTo(plan_.txid));
    (void)cursor->TakeChanged();
    Differ differ(cursor->Prefetcher());
    differ.Only(tables);
    ASSIGN_OR_RETURN(DatabaseState before, differ.Look(cursor->View(cursor->Pin())));
    while (cursor->txid() < plan_.until) {
      RETURN_IF_ERROR(cursor->Step());
      const std::vector<PageNumber> changed = cursor->TakeChanged();
      ASSIGN_OR_RETURN(DatabaseState after, differ.Follow(before, cursor->Now(), changed));
      ConflictSink sink(wanted);
      RETURN_IF_ERROR(differ.Diff(before, after, changed, sink));
      for (const RowName& name : wanted) {
        // A VACUUM that numbers a table anew takes its rowids from all of its rows.
        if (sink.found().contains(name) || sink.renumbered().contains(name.first)) {
          found[name].push_back(cursor->txid());
        }
      }
      cursor->UnpinAll();
      before = std::move(after);
      before.view = cursor->View(cursor->Pin());
    }
    for (UndoConflict& conflict : plan_.conflicts) {
      conflict.txids = found[{conflict.table, conflict.key}];
    }
    return Status::Ok();
  }

  Replica& replica_;
  const UndoOptions& options_;
  Progress& progress_;
  Damage* damage_;
  TimelineId timeline_;
  UndoPlan plan_;
  std::set<RowName> rows_;
};

}  // namespace

Result<UndoPlan> PlanUndo(Replica& replica, const UndoOptions& options, Progress& progress,
                          Damage* damage) {
  return Planner(replica, options, progress, damage).Plan();
}

Result<std::vector<std::string>> ForeignKeyTables(DatabaseState& state, const ChangeSet& changes) {
  std::set<std::string> tables;
  ASSIGN_OR_RETURN(const auto references,
                   state.tables->References(state.view, state.header, *state.schema));
  for (const TableChanges& table : changes.tables) {
    const SchemaObject* object = state.Table(table.name);
    if (object == nullptr || table.shadow) {
      continue;
    }
    ASSIGN_OR_RETURN(const TableInfo info,
                     state.tables->Describe(state.view, state.header, *object));
    if (info.foreign_keys) {
      tables.insert(table.name);
    }
    if (auto children = references.find(ToLower(table.name)); children != references.end()) {
      tables.insert(children->second.begin(), children->second.end());
    }
  }
  // Tables that the script drops cannot be asked at its end.
  for (const SchemaChange& change : changes.schema) {
    if (change.before && !change.after) {
      tables.erase(change.before->name);
    }
  }
  return std::vector<std::string>(tables.begin(), tables.end());
}

}  // namespace sqlite_s3

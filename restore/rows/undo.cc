#include "restore/rows/undo.h"

#include <algorithm>
#include <map>

#include "common/os/file.h"
#include "restore/rows/query.h"

namespace sqlite_s3 {
namespace {

constexpr int kBusyTimeoutMs = 10'000;

using RowName = std::pair<std::string, std::string>;  // table, key

// Looks for rows of a commit among those that changed later.
class ConflictSink : public DiffSink {
 public:
  explicit ConflictSink(const std::set<RowName>& rows) : rows_(rows) {}
  Status Schema(const std::vector<SchemaChange>& schema,
                const std::vector<PragmaChange>& pragmas) override {
    schema_ = schema;
    pragmas_ = pragmas;
    return Status::Ok();
  }
  Status BeginTable(const TableChange& table) override {
    table_ = ChangesOf(table);
    if (table.renumbered > 0) {
      renumbered_.insert(table.name);
    }
    return Status::Ok();
  }
  Status Row(const RowChange& row) override {
    RowName name(table_.name, RowKey(table_, row));
    if (rows_.contains(name)) {
      found_.insert(std::move(name));
    }
    return Status::Ok();
  }
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
    for (const RowName& name : sink.found()) {
      if (name.first == "sqlite_sequence") {
        // Later inserts need the numbers that they have used up.
        for (TableChanges& table : back->tables) {
          if (table.name == name.first) {
            std::erase_if(table.rows,
                          [&](const RowChange& row) { return RowKey(table, row) == name.second; });
          }
        }
        plan_.left_out.push_back("sqlite_sequence " + name.second +
                                 ": later commits went on from it");
      } else {
        plan_.conflicts.push_back({name.first, name.second, {}});
      }
    }
    for (const TableChanges& table : plan_.changes.tables) {
      if (!table.rows.empty() && sink.renumbered().contains(table.name)) {
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
      for (const RowName& name : sink.found()) {
        found[name].push_back(cursor->txid());
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
    if (auto children = references.find(ReferenceName(table.name)); children != references.end()) {
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

Status ApplyScript(const std::string& database, const std::string& script) {
  ASSIGN_OR_RETURN(const bool exists, FileExists(database));
  if (!exists) {
    return NotFoundError("there is no database " + database);
  }
  ASSIGN_OR_RETURN(Connection db,
                   Connection::Open(database, SQLITE_OPEN_READWRITE, "", kBusyTimeoutMs));
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  // Checkpoints are the application's, or its agent's: a second one at work beside them is what the
  // WAL-reset bug of older versions needs (sqlite.org/wal.html#walresetbug).
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_wal_autocheckpoint(db.get(), 0);
  char* message = nullptr;
  const int rc = sqlite3_exec(db.get(), script.c_str(), nullptr, nullptr, &message);
  const std::string text = message != nullptr ? message : "";
  sqlite3_free(message);
  if (rc == SQLITE_OK) {
    return Status::Ok();
  }
  const Status status = SqliteStatus(rc, "undo in " + database, db.get());
  (void)db.Exec("ROLLBACK");  // fails when SQLite has done so
  if (text.find("not as the script expects") != std::string::npos ||
      (rc & 0xff) == SQLITE_CONSTRAINT) {
    return FailedPreconditionError(database + ": nothing was changed: " + Printable(text) +
                                   ", hint: did it change since the replica's last commit?");
  }
  return status;
}

}  // namespace sqlite_s3

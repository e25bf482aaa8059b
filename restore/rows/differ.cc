#include "restore/rows/differ.h"

#include <algorithm>

#include "restore/rows/row_compare.h"
#include "restore/rows/virtual_table.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kPrefetchPages = 1 << 20;

bool Contains(const std::vector<PageNumber>& sorted, PageNumber number) {
  return std::binary_search(sorted.begin(), sorted.end(), number);
}

bool Meet(const std::vector<PageNumber>& a, const std::vector<PageNumber>& b) {
  const auto& few = a.size() < b.size() ? a : b;
  const auto& many = a.size() < b.size() ? b : a;
  return std::any_of(few.begin(), few.end(), [&](PageNumber p) { return Contains(many, p); });
}

// Pages of `tree` that were changed, or that `other` does not have (null: none).
std::vector<PageNumber> Differing(const TreePages& tree, const TreePages* other,
                                  const std::vector<PageNumber>& changed) {
  if (other == nullptr) {
    return tree.rows;
  }
  std::vector<PageNumber> pages;
  if (other != &tree) {
    std::set_difference(tree.rows.begin(), tree.rows.end(), other->rows.begin(), other->rows.end(),
                        std::back_inserter(pages));
  }
  const size_t apart = pages.size();
  for (const PageNumber page : changed) {
    if (tree.HoldsRows(page) &&
        !std::binary_search(pages.begin(), pages.begin() + static_cast<ptrdiff_t>(apart), page)) {
      pages.push_back(page);
    }
  }
  return pages;
}

bool SchemaWorthTelling(const SchemaObject& object) { return !object.sql.empty(); }

}  // namespace

const SchemaObject* DatabaseState::Table(const std::string& name) const {
  auto found = schema->find({"table", name});
  return found == schema->end() || found->second.root == 0 ? nullptr : &found->second;
}

Result<DatabaseState> Differ::Look(const PageView& view) {
  DatabaseState state{view, {}, nullptr, nullptr, std::make_shared<TableReader>(), {}};
  ASSIGN_OR_RETURN(state.header, ReadDatabaseHeader(view));
  ASSIGN_OR_RETURN(Schema schema, ReadSchema(view, state.header));
  state.schema = std::make_shared<Schema>(std::move(schema));
  ASSIGN_OR_RETURN(TreePages tree, WalkTree(view, 1, state.header.usable_bytes));
  state.schema_tree = std::make_shared<TreePages>(std::move(tree));
  return state;
}

Result<DatabaseState> Differ::Follow(const DatabaseState& before, const PageView& after,
                                     const std::vector<PageNumber>& changed) {
  // Overflow pages of the schema change with their leaves: it is never written in place.
  bool same_schema =
      !Meet(before.schema_tree->rows, changed) && !Meet(before.schema_tree->interior, changed);
  if (!same_schema && before.schema_tree->rows.front() == 1) {
    // The schema is on page 1 alone, which most often changed for its header. (Page 1 with one leaf
    // under it is something else: there is less room on page 1.)
    ASSIGN_OR_RETURN(const ByteSpan now, after.Read(1));
    const Bytes copy(now.begin(), now.end());
    ASSIGN_OR_RETURN(const ByteSpan was, before.view.Read(1));
    same_schema = std::equal(copy.begin() + 100, copy.end(), was.begin() + 100, was.end());
  }
  if (!same_schema) {
    ASSIGN_OR_RETURN(DatabaseState state, Look(after));
    for (const auto& [root, tree] : before.trees) {
      if (!Meet(tree->interior, changed) && !Contains(changed, root)) {
        state.trees[root] = tree;
      }
    }
    return state;
  }
  DatabaseState state = before;
  state.view = after;
  ASSIGN_OR_RETURN(state.header, ReadDatabaseHeader(after));
  std::erase_if(state.trees, [&](const auto& entry) {
    return Meet(entry.second->interior, changed) || Contains(changed, entry.first);
  });
  return state;
}

Result<std::shared_ptr<const TreePages>> Differ::Tree(DatabaseState& state, PageNumber root) {
  auto& tree = state.trees[root];
  if (!tree) {
    auto walked = WalkTree(state.view, root, state.header.usable_bytes, prefetch_);
    if (!walked.ok()) {
      state.trees.erase(root);
      return walked.status();
    }
    tree = std::make_shared<TreePages>(std::move(*walked));
  }
  return tree;
}

Result<std::vector<Differ::Work>> Differ::Plan(DatabaseState& before, DatabaseState& after,
                                               const std::vector<PageNumber>& changed) {
  std::map<std::string, Work> by_name;
  for (const bool old : {true, false}) {
    for (const auto& [key, object] : old ? *before.schema : *after.schema) {
      if (object.type == "table" && object.root != 0) {
        Work& work = by_name[object.name];
        work.name = object.name;
        (old ? work.before : work.after) = &object;
      }
    }
  }
  std::vector<Work> result;
  // A page belongs to one tree: no number of tables that share pages costs more than the database.
  uint64_t pages_before = 0, pages_after = 0;
  const auto shared = [](const DatabaseState& state, const TreePages& tree, uint64_t* pages) {
    *pages += tree.page_count();
    return *pages <= state.view.page_count()
               ? Status::Ok()
               : CorruptionError("the tables have more pages together than the database");
  };
  for (auto& [name, work] : by_name) {
    if (work.before != nullptr) {
      ASSIGN_OR_RETURN(work.tree_before, Tree(before, work.before->root));
      RETURN_IF_ERROR(shared(before, *work.tree_before, &pages_before));
    }
    if (work.after != nullptr) {
      // The walk of the state before serves this one, unless something was changed that leads to
      // its pages.
      const PageNumber root = work.after->root;
      if (work.tree_before && work.before->root == root && !after.trees.contains(root) &&
          !Meet(work.tree_before->interior, changed) && !Contains(changed, root)) {
        after.trees[root] = work.tree_before;
      }
      ASSIGN_OR_RETURN(work.tree_after, Tree(after, root));
      RETURN_IF_ERROR(shared(after, *work.tree_after, &pages_after));
    }
    if (work.tree_before) {
      work.pages_before = Differing(*work.tree_before, work.tree_after.get(), changed);
    }
    if (work.tree_after) {
      work.pages_after = Differing(*work.tree_after, work.tree_before.get(), changed);
    }
    result.push_back(std::move(work));
  }
  return result;
}

Status Differ::Prefetch(const std::vector<PageNumber>& pages) const {
  for (size_t i = 0; prefetch_ && i < pages.size(); i += kPrefetchPages) {
    const size_t n = std::min(kPrefetchPages, pages.size() - i);
    RETURN_IF_ERROR(prefetch_(std::span(pages).subspan(i, n)));
  }
  return Status::Ok();
}

Status Differ::ChainsOf(const DatabaseState& state, PageNumber page, OverflowBudget& budget,
                        std::vector<PageNumber>* chains) {
  ASSIGN_OR_RETURN(const BtreePage btree,
                   BtreePage::Read(state.view, page, state.header.usable_bytes));
  for (uint32_t i = 0; btree.has_rows() && i < btree.cell_count(); ++i) {
    ASSIGN_OR_RETURN(const Cell cell, btree.CellAt(i));
    if (cell.overflow != 0) {
      RETURN_IF_ERROR(
          ReadPayload(state.view, cell, state.header.usable_bytes, budget, chains).status());
    }
  }
  return Status::Ok();
}

Status Differ::ScanOverflow(DatabaseState& after, std::vector<Work>& work) {
  overflow_owner_.clear();
  overflow_scanned_ = true;
  OverflowBudget budget(after.view);
  for (const Work& table : work) {
    if (!table.tree_after) {
      continue;
    }
    RETURN_IF_ERROR(Prefetch(table.tree_after->rows));
    for (const PageNumber page : table.tree_after->rows) {
      std::vector<PageNumber> chains;
      RETURN_IF_ERROR(ChainsOf(after, page, budget, &chains));
      for (const PageNumber overflow : chains) {
        overflow_owner_[overflow] = {table.after->root, page};
      }
    }
  }
  return Status::Ok();
}

Status Differ::TakeOwned(DatabaseState& after, std::vector<Work>& work,
                         std::set<PageNumber>* open) {
  OverflowBudget budget(after.view);
  std::set<PageNumber> looked_at;
  for (const PageNumber page : std::vector<PageNumber>(open->begin(), open->end())) {
    auto owner = overflow_owner_.find(page);
    if (!open->contains(page) || owner == overflow_owner_.end()) {
      continue;
    }
    const auto [root, leaf] = owner->second;
    for (Work& table : work) {
      if (!table.tree_after || table.after->root != root || !table.tree_after->HoldsRows(leaf) ||
          !looked_at.insert(leaf).second) {
        continue;
      }
      std::vector<PageNumber> chains;
      RETURN_IF_ERROR(ChainsOf(after, leaf, budget, &chains));
      size_t explained = 0;  // by one look: a large row's pages change together
      for (const PageNumber overflow : chains) {
        explained += open->erase(overflow);
      }
      // The leaf is in both states, or it would be among the pages to compare already.
      if (explained > 0) {
        table.pages_before.push_back(leaf);
        table.pages_after.push_back(leaf);
      }
    }
  }
  return Status::Ok();
}

// A row's overflow page may be written in place, and then nothing tells whose it is: it has no
// pointer back. Most changed overflow pages belong to rows on pages that changed as well, or are
// free. Whose the others are a scan of the tables tells, once.
Status Differ::AddOverflowChanges(DatabaseState& after, const std::vector<PageNumber>& changed,
                                  std::vector<Work>& work) {
  const uint32_t page_size = after.view.page_size();
  const uint32_t usable = after.header.usable_bytes;
  // An overflow page begins with a page number: its first byte is a type's only in such a database.
  const bool large = after.view.page_count() >= 1u << 25;
  std::set<PageNumber> open;
  std::vector<PageNumber> indexes;
  for (const PageNumber page : changed) {
    if (page > after.view.page_count() || page == LockBytePage(page_size) ||
        (after.header.auto_vacuum && IsPointerMapPage(page, page_size, usable))) {
      continue;
    }
    ASSIGN_OR_RETURN(const ByteSpan content, after.view.Read(page));
    const PageType type = PageTypeOf(content, page);
    if (type == PageType::kOther || large) {
      open.insert(page);
    }
    if (type == PageType::kInteriorIndex || type == PageType::kLeafIndex) {
      indexes.push_back(page);
    }
  }
  if (open.empty()) {
    return Status::Ok();
  }
  const auto explain = [&](const std::vector<PageNumber>& pages) {
    for (const PageNumber page : pages) {
      open.erase(page);
    }
  };
  OverflowBudget budget(after.view);
  for (const Work& table : work) {
    for (const PageNumber page : table.pages_after) {
      std::vector<PageNumber> chains;
      RETURN_IF_ERROR(ChainsOf(after, page, budget, &chains));
      explain(chains);
      if (overflow_scanned_) {
        for (const PageNumber overflow : chains) {
          overflow_owner_[overflow] = {table.after->root, page};
        }
      }
    }
  }
  if (open.empty()) {
    return Status::Ok();
  }
  ASSIGN_OR_RETURN(const std::vector<PageNumber> free, ReadFreelist(after.view, after.header));
  explain(free);
  OverflowBudget of_indexes(after.view);  // tables WITHOUT ROWID are among them, once more
  for (const PageNumber page : indexes) {
    if (!open.empty() && !Contains(free, page)) {
      std::vector<PageNumber> chains;
      Status status = ChainsOf(after, page, of_indexes, &chains);
      if (!status.ok() && !large) {  // there it may be none
        return status;
      }
      explain(chains);
    }
  }
  RETURN_IF_ERROR(TakeOwned(after, work, &open));
  if (!open.empty()) {
    RETURN_IF_ERROR(ScanOverflow(after, work));
    RETURN_IF_ERROR(TakeOwned(after, work, &open));  // what is left is an index's
  }
  return Status::Ok();
}

Status Differ::CompareTables(Work& work, DatabaseState& before, DatabaseState& after,
                             DiffSink& sink) {
  std::optional<TableInfo> info_before, info_after;
  if (work.before != nullptr) {
    ASSIGN_OR_RETURN(info_before,
                     before.tables->Describe(before.view, before.header, *work.before));
  }
  if (work.after != nullptr) {
    ASSIGN_OR_RETURN(info_after, after.tables->Describe(after.view, after.header, *work.after));
  }
  TableChange table;
  table.name = work.name;
  table.shadow =
      OwnerOf(work.after != nullptr ? *after.schema : *before.schema, work.name) != nullptr;
  table.before = info_before ? &*info_before : nullptr;
  table.after = info_after ? &*info_after : nullptr;
  for (auto* pages : {&work.pages_before, &work.pages_after}) {
    std::sort(pages->begin(), pages->end());
    pages->erase(std::unique(pages->begin(), pages->end()), pages->end());
    RETURN_IF_ERROR(Prefetch(*pages));
  }
  const RowsOnPages old_rows{&before, table.before, std::move(work.pages_before)};
  const RowsOnPages new_rows{&after, table.after, std::move(work.pages_after)};
  const auto renumberable = [](const TableInfo* info) {
    return info != nullptr && !info->without_rowid && info->rowid_column < 0;
  };
  if (renumberable(table.before) && renumberable(table.after) &&
      old_rows.pages.size() == work.tree_before->rows.size() &&
      new_rows.pages.size() == work.tree_after->rows.size()) {
    ASSIGN_OR_RETURN(table.renumbered, CountRenumbered(old_rows, new_rows));
    if (table.renumbered > 0) {
      return sink.BeginTable(table);
    }
  }
  bool begun = false;
  return CompareRows(old_rows, new_rows, [&](const RowChange& row) -> Status {
    if (!begun) {
      begun = true;
      RETURN_IF_ERROR(sink.BeginTable(table));
    }
    return sink.Row(row);
  });
}

void Differ::Describe(DatabaseState& before, DatabaseState& after, SchemaChange* change) {
  if (change->after->type != "table" || change->before->root == 0 || change->after->root == 0) {
    return;
  }
  auto was = before.tables->Describe(before.view, before.header, *change->before);
  auto is = after.tables->Describe(after.view, after.header, *change->after);
  if (was.ok() && is.ok()) {  // else it is told, and cannot be made
    change->table_before = std::make_shared<TableInfo>(std::move(*was));
    change->table_after = std::make_shared<TableInfo>(std::move(*is));
  }
}

Status Differ::Diff(DatabaseState& before, DatabaseState& after,
                    const std::vector<PageNumber>& changed, DiffSink& sink) {
  std::vector<SchemaChange> schema;
  if (before.schema != after.schema) {
    for (const auto& [key, object] : *before.schema) {
      auto now = after.schema->find(key);
      if (SchemaWorthTelling(object) && Wanted(object.table)) {
        if (now == after.schema->end()) {
          schema.push_back({object, std::nullopt, {}, {}});
        } else if (!object.SameAs(now->second)) {
          schema.push_back({object, now->second, {}, {}});
          Describe(before, after, &schema.back());
        }
      }
    }
    for (const auto& [key, object] : *after.schema) {
      if (SchemaWorthTelling(object) && Wanted(object.table) && !before.schema->contains(key)) {
        schema.push_back({std::nullopt, object, {}, {}});
      }
    }
  }
  std::vector<PragmaChange> pragmas;
  if (only_.empty()) {
    if (before.header.user_version != after.header.user_version) {
      pragmas.push_back({"user_version", before.header.user_version, after.header.user_version});
    }
    if (before.header.application_id != after.header.application_id) {
      pragmas.push_back(
          {"application_id", before.header.application_id, after.header.application_id});
    }
  }
  if (!schema.empty() || !pragmas.empty()) {
    RETURN_IF_ERROR(sink.Schema(schema, pragmas));
  }
  ASSIGN_OR_RETURN(std::vector<Work> work, Plan(before, after, changed));
  RETURN_IF_ERROR(AddOverflowChanges(after, changed, work));
  for (Work& table : work) {
    if (Wanted(table.name) && (!table.pages_before.empty() || !table.pages_after.empty())) {
      RETURN_IF_ERROR(CompareTables(table, before, after, sink));
    }
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

#include "restore/rows/row_compare.h"

#include <algorithm>
#include <map>

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxKeyedBytes = uint64_t{2} << 30;  // rows of a table WITHOUT ROWID, in memory

// The rows on leaf pages of a rowid table, in order.
class RowStream {
 public:
  explicit RowStream(const RowsOnPages& rows) : rows_(rows) {
    if (rows.state != nullptr) {
      budget_.emplace(rows.state->view);
    }
  }

  Status Open() {
    for (const PageNumber number : rows_.pages) {
      ASSIGN_OR_RETURN(const BtreePage page, ReadLeaf(number));
      if (page.cell_count() > 0) {
        ASSIGN_OR_RETURN(const Cell cell, page.CellAt(0));
        order_.emplace_back(cell.rowid, number);
      }
    }
    std::sort(order_.begin(), order_.end());
    return Next();
  }
  bool done() const { return done_; }
  const Cell& cell() const { return cell_; }
  // REQUIRES: !done(); once for each row.
  Result<Bytes> Payload() { return ReadPayload(rows_.state->view, cell_, Usable(), *budget_); }

  Status Next() {
    while (!page_ || next_cell_ == page_->cell_count()) {
      if (next_page_ == order_.size()) {
        done_ = true;
        return Status::Ok();
      }
      ASSIGN_OR_RETURN(page_, ReadLeaf(order_[next_page_++].second));
      next_cell_ = 0;
    }
    const std::optional<int64_t> last = any_ ? std::optional(cell_.rowid) : std::nullopt;
    ASSIGN_OR_RETURN(cell_, page_->CellAt(next_cell_++));
    any_ = true;
    if (last && cell_.rowid <= *last) {
      return CorruptionError("the rows of table '" + Printable(rows_.table->name) +
                             "' are not in order");
    }
    return Status::Ok();
  }

 private:
  uint32_t Usable() const { return rows_.state->header.usable_bytes; }
  Result<BtreePage> ReadLeaf(PageNumber number) {
    ASSIGN_OR_RETURN(BtreePage page, BtreePage::Read(rows_.state->view, number, Usable()));
    if (page.interior() || !page.table()) {
      return CorruptionError("page " + std::to_string(number) + " is no leaf of table '" +
                             Printable(rows_.table->name) + "'");
    }
    return page;
  }

  const RowsOnPages& rows_;
  std::optional<OverflowBudget> budget_;
  std::vector<std::pair<int64_t, PageNumber>> order_;
  size_t next_page_ = 0;
  std::optional<BtreePage> page_;
  uint32_t next_cell_ = 0;
  Cell cell_;
  bool any_ = false;
  bool done_ = false;
};

class Comparer {
 public:
  Comparer(const RowsOnPages& before, const RowsOnPages& after,
           const std::function<Status(const RowChange&)>& found)
      : before_(before), after_(after), found_(found) {
    if (before.table != nullptr && after.table != nullptr) {
      map_ = MapColumns(*before.table, *after.table);
      for (size_t i = 0; i < before.table->columns.size(); ++i) {
        if (std::find(map_.begin(), map_.end(), static_cast<int>(i)) == map_.end()) {
          gone_.push_back(i);
        }
      }
    }
  }

  Status Deleted(int64_t rowid, const Bytes& payload) {
    RowChange row;
    row.op = RowOp::kDelete;
    row.rowid = rowid;
    ASSIGN_OR_RETURN(row.before, before_.table->Values(rowid, payload));
    return found_(row);
  }
  Status Inserted(int64_t rowid, const Bytes& payload) {
    RowChange row;
    row.op = RowOp::kInsert;
    row.rowid = rowid;
    ASSIGN_OR_RETURN(row.after, after_.table->Values(rowid, payload));
    return found_(row);
  }
  Status Both(int64_t rowid, const Bytes& old_payload, const Bytes& new_payload) {
    if (old_payload == new_payload && gone_.empty()) {
      return Status::Ok();
    }
    RowChange row;
    row.op = RowOp::kUpdate;
    row.rowid = rowid;
    ASSIGN_OR_RETURN(row.before, before_.table->Values(rowid, old_payload));
    ASSIGN_OR_RETURN(row.after, after_.table->Values(rowid, new_payload));
    for (const size_t gone : gone_) {
      if (!(row.before[gone] == before_.table->columns[gone].standard.value_or(Value()))) {
        return found_(row);  // its value went with it
      }
    }
    for (size_t i = 0; i < map_.size(); ++i) {
      // A column that there was not had its default.
      const Value was = map_[i] >= 0 ? row.before[static_cast<size_t>(map_[i])]
                                     : after_.table->columns[i].standard.value_or(Value());
      if (!(was == row.after[i])) {
        return found_(row);
      }
    }
    return Status::Ok();  // the same values, stored in another way
  }

 private:
  const RowsOnPages& before_;
  const RowsOnPages& after_;
  const std::function<Status(const RowChange&)>& found_;
  std::vector<int> map_;
  std::vector<size_t> gone_;  // columns before that there are not after
};

Status CompareByRowid(const RowsOnPages& before, const RowsOnPages& after, Comparer& comparer) {
  RowStream a(before);
  RowStream b(after);
  RETURN_IF_ERROR(a.Open());
  RETURN_IF_ERROR(b.Open());
  while (!a.done() || !b.done()) {
    if (b.done() || (!a.done() && a.cell().rowid < b.cell().rowid)) {
      ASSIGN_OR_RETURN(const Bytes payload, a.Payload());
      RETURN_IF_ERROR(comparer.Deleted(a.cell().rowid, payload));
      RETURN_IF_ERROR(a.Next());
    } else if (a.done() || b.cell().rowid < a.cell().rowid) {
      ASSIGN_OR_RETURN(const Bytes payload, b.Payload());
      RETURN_IF_ERROR(comparer.Inserted(b.cell().rowid, payload));
      RETURN_IF_ERROR(b.Next());
    } else {
      const Cell& x = a.cell();
      const Cell& y = b.cell();
      const bool same_cell =
          x.payload_bytes == y.payload_bytes && x.overflow == y.overflow &&
          std::equal(x.local.begin(), x.local.end(), y.local.begin(), y.local.end());
      if (!same_cell || x.overflow != 0) {  // a chain may be written in place
        ASSIGN_OR_RETURN(const Bytes old_payload, a.Payload());
        ASSIGN_OR_RETURN(const Bytes new_payload, b.Payload());
        RETURN_IF_ERROR(comparer.Both(x.rowid, old_payload, new_payload));
      }
      RETURN_IF_ERROR(a.Next());
      RETURN_IF_ERROR(b.Next());
    }
  }
  return Status::Ok();
}

Result<std::map<std::string, Bytes>> RowsByKey(const RowsOnPages& rows) {
  std::map<std::string, Bytes> by_key;
  if (rows.table == nullptr) {
    return by_key;
  }
  uint64_t bytes = 0;
  const uint32_t usable = rows.state->header.usable_bytes;
  OverflowBudget budget(rows.state->view);
  for (const PageNumber number : rows.pages) {
    ASSIGN_OR_RETURN(const BtreePage page, BtreePage::Read(rows.state->view, number, usable));
    if (page.table()) {
      return CorruptionError("page " + std::to_string(number) + " is none of table '" +
                             Printable(rows.table->name) + "'");
    }
    for (uint32_t i = 0; i < page.cell_count(); ++i) {
      ASSIGN_OR_RETURN(const Cell cell, page.CellAt(i));
      ASSIGN_OR_RETURN(Bytes payload, ReadPayload(rows.state->view, cell, usable, budget));
      ASSIGN_OR_RETURN(const std::vector<Value> values, rows.table->Values(0, payload));
      std::string key;
      for (const int column : rows.table->key) {
        const Value& value = values[static_cast<size_t>(column)];
        const std::string literal = SqlLiteral(value, rows.table->encoding);
        key.append(std::to_string(literal.size())).append(":").append(literal);
      }
      bytes += key.size() + payload.size();
      if (bytes > kMaxKeyedBytes) {
        return ResourceExhaustedError("more than 2 GiB of rows of table '" +
                                      Printable(rows.table->name) +
                                      "' differ, hint: restore both points and compare");
      }
      by_key[std::move(key)] = std::move(payload);
    }
  }
  return by_key;
}

Status CompareByKey(const RowsOnPages& before, const RowsOnPages& after, Comparer& comparer) {
  ASSIGN_OR_RETURN(const auto old_rows, RowsByKey(before));
  ASSIGN_OR_RETURN(const auto new_rows, RowsByKey(after));
  auto b = new_rows.begin();
  for (auto a = old_rows.begin(); a != old_rows.end() || b != new_rows.end();) {
    if (b == new_rows.end() || (a != old_rows.end() && a->first < b->first)) {
      RETURN_IF_ERROR(comparer.Deleted(0, (a++)->second));
    } else if (a == old_rows.end() || b->first < a->first) {
      RETURN_IF_ERROR(comparer.Inserted(0, (b++)->second));
    } else {
      RETURN_IF_ERROR(comparer.Both(0, (a++)->second, (b++)->second));
    }
  }
  return Status::Ok();
}

}  // namespace

std::vector<int> MapColumns(const TableInfo& before, const TableInfo& after) {
  std::map<std::string, int> by_name;
  for (size_t i = 0; i < before.columns.size(); ++i) {
    by_name[before.columns[i].name] = static_cast<int>(i);
  }
  std::vector<int> map;
  for (const Column& column : after.columns) {
    auto same = by_name.find(column.name);
    map.push_back(same == by_name.end() ? -1 : same->second);
    if (same != by_name.end()) {
      by_name.erase(same);
    }
  }
  for (size_t i = 0; i < std::min(map.size(), before.columns.size()); ++i) {
    if (map[i] < 0 && by_name.contains(before.columns[i].name)) {
      map[i] = static_cast<int>(i);  // renamed
    }
  }
  return map;
}

Result<uint64_t> CountRenumbered(const RowsOnPages& before, const RowsOnPages& after) {
  RowStream a(before);
  RowStream b(after);
  RETURN_IF_ERROR(a.Open());
  RETURN_IF_ERROR(b.Open());
  uint64_t renumbered = 0;
  for (int64_t number = 1; !a.done() && !b.done(); ++number) {
    ASSIGN_OR_RETURN(const Bytes old_payload, a.Payload());
    ASSIGN_OR_RETURN(const Bytes new_payload, b.Payload());
    if (old_payload != new_payload || b.cell().rowid != number) {
      return uint64_t{0};
    }
    renumbered += a.cell().rowid != b.cell().rowid ? 1U : 0U;
    RETURN_IF_ERROR(a.Next());
    RETURN_IF_ERROR(b.Next());
  }
  return a.done() && b.done() ? renumbered : 0;
}

Status CompareRows(const RowsOnPages& before, const RowsOnPages& after,
                   const std::function<Status(const RowChange&)>& found) {
  Comparer comparer(before, after, found);
  const TableInfo* any = after.table != nullptr ? after.table : before.table;
  if (any == nullptr) {
    return Status::Ok();  // it was there neither before nor after
  }
  if (before.table != nullptr && after.table != nullptr &&
      before.table->without_rowid != after.table->without_rowid) {
    const RowsOnPages none;
    RETURN_IF_ERROR(CompareRows(before, none, found));
    return CompareRows(none, after, found);
  }
  return any->without_rowid ? CompareByKey(before, after, comparer)
                            : CompareByRowid(before, after, comparer);
}

}  // namespace sqlite_s3

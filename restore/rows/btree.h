#pragma once
// The b-trees of a database file (fileformat2, section 1.6), read from a PageView. Pages are as the
// writer's SQLite made them, or as somebody made them who wants to harm us: every offset, count and
// page number is checked, and no loop among pages goes on for ever.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "restore/rows/page_view.h"
#include "restore/rows/value.h"

namespace sqlite_s3 {

// What the first 100 bytes of page 1 say (section 1.3).
struct DatabaseHeader {
  uint32_t usable_bytes = 0;  // of a page
  TextEncoding encoding = TextEncoding::kUtf8;
  uint32_t first_free_page = 0;  // trunk of the freelist
  bool auto_vacuum = false;
  int32_t user_version = 0;
  int32_t application_id = 0;
};
Result<DatabaseHeader> ReadDatabaseHeader(const PageView& view);

enum class PageType : uint8_t { kOther, kInteriorIndex, kInteriorTable, kLeafIndex, kLeafTable };
PageType PageTypeOf(ByteSpan page, PageNumber number);

// A row as it lies on a page, before its overflow pages.
struct Cell {
  int64_t rowid = 0;  // of a table; 0 in an index
  uint64_t payload_bytes = 0;
  ByteSpan local;  // into the page
  PageNumber overflow = 0;
};

// One page of a b-tree. Keeps a copy of the page.
class BtreePage {
 public:
  // kCorruption when it is no page of a b-tree.
  static Result<BtreePage> Read(const PageView& view, PageNumber number, uint32_t usable_bytes);

  PageNumber number() const { return number_; }
  bool interior() const {
    return type_ == PageType::kInteriorIndex || type_ == PageType::kInteriorTable;
  }
  bool table() const { return type_ == PageType::kInteriorTable || type_ == PageType::kLeafTable; }
  // Rows lie on leaves, in an index (and a table WITHOUT ROWID) on interior pages as well.
  bool has_rows() const { return type_ != PageType::kInteriorTable; }
  uint32_t cell_count() const { return cell_count_; }
  // REQUIRES: interior(), i <= cell_count(); the last one is the right-most child.
  Result<PageNumber> Child(uint32_t i) const;
  // REQUIRES: has_rows(), i < cell_count().
  Result<Cell> CellAt(uint32_t i) const;

 private:
  Result<size_t> CellOffset(uint32_t i) const;
  Bytes page_;
  PageNumber number_ = 0;
  uint32_t usable_bytes_ = 0;
  PageType type_ = PageType::kOther;
  uint32_t header_at_ = 0;
  uint32_t cell_count_ = 0;
};

// How many overflow pages the rows that are read under it may have together. An overflow page is
// one row's: chains that share pages cost no more than the database has.
class OverflowBudget {
 public:
  // For each row of a state once.
  explicit OverflowBudget(const PageView& view) : pages_(view.page_count()) {}
  Status Take(PageNumber page);

 private:
  uint64_t pages_;
};
// The whole payload of a cell. `chain`, if given, receives its overflow pages. kResourceExhausted
// for a row of more than 1 GiB.
Result<Bytes> ReadPayload(const PageView& view, const Cell& cell, uint32_t usable_bytes,
                          OverflowBudget& budget, std::vector<PageNumber>* chain = nullptr);

// Which pages make up a tree, without its leaves having been read.
struct TreePages {
  bool table = false;                // rowid tree; else an index or a table WITHOUT ROWID
  std::vector<PageNumber> rows;      // that hold rows, sorted by number
  std::vector<PageNumber> interior;  // sorted by number
  bool HoldsRows(PageNumber number) const;
  size_t page_count() const { return table ? rows.size() + interior.size() : rows.size(); }
};
// `prefetch`, if given, is told the pages of a level before they are read.
using PrefetchFunction = std::function<Status(std::span<const PageNumber>)>;
Result<TreePages> WalkTree(const PageView& view, PageNumber root, uint32_t usable_bytes,
                           const PrefetchFunction& prefetch = nullptr);

// Trunks and leaves of the freelist, sorted.
Result<std::vector<PageNumber>> ReadFreelist(const PageView& view, const DatabaseHeader& header);
// Whether auto_vacuum keeps its back pointers there (section 1.8).
bool IsPointerMapPage(PageNumber number, uint32_t page_size, uint32_t usable_bytes);

}  // namespace sqlite_s3

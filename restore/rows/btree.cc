#include "restore/rows/btree.h"

#include <algorithm>
#include <span>

#include "restore/rows/varint.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxRowBytes = uint64_t{1} << 30;  // SQLite: 1e9 unless built otherwise
constexpr int kMaxDepth = 20;  // SQLite's own bound (btreeInt.h, BTCURSOR_MAX_DEPTH)

Status Corrupt(PageNumber page, const char* what) {
  return CorruptionError("page " + std::to_string(page) + " of the database: " + what);
}

// How much of a payload lies on the page itself (section 1.6, "cell payload overflow").
uint64_t LocalBytes(uint64_t payload, uint32_t usable, bool table_leaf) {
  const uint64_t u = usable;
  const uint64_t max_local = table_leaf ? u - 35 : (u - 12) * 64 / 255 - 23;
  if (payload <= max_local) {
    return payload;
  }
  const uint64_t min_local = (u - 12) * 32 / 255 - 23;
  const uint64_t k = min_local + (payload - min_local) % (u - 4);
  return k <= max_local ? k : min_local;
}

Status EachOnce(std::vector<PageNumber> pages) {
  std::sort(pages.begin(), pages.end());
  const auto twice = std::adjacent_find(pages.begin(), pages.end());
  return twice == pages.end() ? Status::Ok() : Corrupt(*twice, "is in its tree twice");
}

bool Contains(const std::vector<PageNumber>& sorted, PageNumber number) {
  return std::binary_search(sorted.begin(), sorted.end(), number);
}

}  // namespace

Result<DatabaseHeader> ReadDatabaseHeader(const PageView& view) {
  ASSIGN_OR_RETURN(const ByteSpan page, view.Read(1));
  DatabaseHeader header;
  const uint32_t reserved = page[20];
  if (AsText(page.first(15)) != "SQLite format 3" || view.page_size() - reserved < 480) {
    return CorruptionError("page 1 is not that of an SQLite database");
  }
  const uint32_t page_size = LoadBe16(&page[16]) == 1 ? 65536 : LoadBe16(&page[16]);
  if (page_size != view.page_size()) {
    return CorruptionError("page 1 is that of a database of another page size");
  }
  header.usable_bytes = view.page_size() - reserved;
  header.first_free_page = LoadBe32(&page[32]);
  header.auto_vacuum = LoadBe32(&page[52]) != 0;
  const uint32_t encoding = LoadBe32(&page[56]);
  if (encoding > 3) {
    return CorruptionError("page 1 names a text encoding that there is not");
  }
  header.encoding = encoding == 0 ? TextEncoding::kUtf8 : static_cast<TextEncoding>(encoding);
  header.user_version = static_cast<int32_t>(LoadBe32(&page[60]));
  header.application_id = static_cast<int32_t>(LoadBe32(&page[68]));
  return header;
}

PageType PageTypeOf(ByteSpan page, PageNumber number) {
  switch (page[number == 1 ? 100 : 0]) {
    case 2:
      return PageType::kInteriorIndex;
    case 5:
      return PageType::kInteriorTable;
    case 10:
      return PageType::kLeafIndex;
    case 13:
      return PageType::kLeafTable;
    default:
      return PageType::kOther;
  }
}

Result<BtreePage> BtreePage::Read(const PageView& view, PageNumber number, uint32_t usable_bytes) {
  ASSIGN_OR_RETURN(const ByteSpan content, view.Read(number));
  BtreePage page;
  page.page_.assign(content.begin(), content.end());
  page.number_ = number;
  page.usable_bytes_ = usable_bytes;
  page.type_ = PageTypeOf(page.page_, number);
  if (page.type_ == PageType::kOther) {
    return Corrupt(number, "is not a page of a b-tree");
  }
  page.header_at_ = number == 1 ? 100 : 0;
  page.cell_count_ = LoadBe16(&page.page_[page.header_at_ + 3]);
  const uint64_t array_end =
      page.header_at_ + (page.interior() ? 12u : 8u) + uint64_t{2} * page.cell_count_;
  if (array_end > usable_bytes) {
    return Corrupt(number, "has more cells than fit");
  }
  return page;
}

Result<size_t> BtreePage::CellOffset(uint32_t i) const {
  const size_t offset = LoadBe16(&page_[header_at_ + (interior() ? 12u : 8u) + size_t{2} * i]);
  if (offset < header_at_ + 8 || offset + 4 > usable_bytes_) {
    return Corrupt(number_, "a cell lies outside");
  }
  return offset;
}

Result<PageNumber> BtreePage::Child(uint32_t i) const {
  if (i == cell_count_) {
    return LoadBe32(&page_[header_at_ + 8]);
  }
  ASSIGN_OR_RETURN(const size_t offset, CellOffset(i));
  return LoadBe32(&page_[offset]);
}

Result<Cell> BtreePage::CellAt(uint32_t i) const {
  ASSIGN_OR_RETURN(size_t at, CellOffset(i));
  const ByteSpan usable = ByteSpan(page_).first(usable_bytes_);
  Cell cell;
  if (type_ == PageType::kInteriorIndex) {
    at += 4;  // the child
  }
  uint64_t rowid = 0;
  if (!ReadSqliteVarint(usable, &at, &cell.payload_bytes) || cell.payload_bytes > INT32_MAX ||
      (table() && !ReadSqliteVarint(usable, &at, &rowid))) {
    return Corrupt(number_, "a cell is not whole");
  }
  cell.rowid = static_cast<int64_t>(rowid);
  const uint64_t local = LocalBytes(cell.payload_bytes, usable_bytes_, table());
  const bool overflows = local < cell.payload_bytes;
  if (local + (overflows ? 4 : 0) > usable.size() - at) {
    return Corrupt(number_, "a cell is not whole");
  }
  cell.local = usable.subspan(at, static_cast<size_t>(local));
  if (overflows) {
    cell.overflow = LoadBe32(&usable[at + static_cast<size_t>(local)]);
  }
  return cell;
}

Status OverflowBudget::Take(PageNumber page) {
  if (pages_ == 0) {
    return Corrupt(page, "is an overflow page of more than one row");
  }
  --pages_;
  return Status::Ok();
}

Result<Bytes> ReadPayload(const PageView& view, const Cell& cell, uint32_t usable_bytes,
                          OverflowBudget& budget, std::vector<PageNumber>* chain) {
  if (cell.payload_bytes > uint64_t{view.page_count()} * usable_bytes) {
    return CorruptionError("a row is said to be larger than the database");
  }
  if (cell.payload_bytes > kMaxRowBytes) {
    return ResourceExhaustedError("a row is larger than 1 GiB");
  }
  Bytes payload(cell.local.begin(), cell.local.end());
  PageNumber next = cell.overflow;
  // A page that was passed; moved on at each power of two, so that every loop meets it (Brent).
  PageNumber passed = 0;
  for (uint64_t steps = 1; payload.size() < cell.payload_bytes; ++steps) {
    ASSIGN_OR_RETURN(const ByteSpan page, view.Read(next));
    if (next == passed) {
      return Corrupt(next, "its overflow chain leads back to it");
    }
    RETURN_IF_ERROR(budget.Take(next));
    if ((steps & (steps - 1)) == 0) {
      passed = next;
    }
    if (chain != nullptr) {
      chain->push_back(next);
    }
    next = LoadBe32(page.data());
    const uint64_t take = std::min<uint64_t>(cell.payload_bytes - payload.size(), usable_bytes - 4);
    const ByteSpan content = page.subspan(4, static_cast<size_t>(take));
    payload.insert(payload.end(), content.begin(), content.end());
  }
  return payload;
}

bool TreePages::HoldsRows(PageNumber number) const { return Contains(rows, number); }

Result<TreePages> WalkTree(const PageView& view, PageNumber root, uint32_t usable_bytes,
                           const PrefetchFunction& prefetch) {
  TreePages tree;
  ASSIGN_OR_RETURN(const BtreePage first, BtreePage::Read(view, root, usable_bytes));
  tree.table = first.table();
  // Level by level: a tree's leaves all lie at one depth, so that one page tells of its level.
  std::vector<PageNumber> level{root};
  std::vector<PageNumber> all{root};
  for (int depth = 0;; ++depth) {
    if (depth > kMaxDepth) {
      return Corrupt(root, "its tree is too deep");
    }
    ASSIGN_OR_RETURN(const BtreePage sample, BtreePage::Read(view, level.front(), usable_bytes));
    if (!sample.interior()) {
      break;
    }
    if (prefetch) {
      RETURN_IF_ERROR(prefetch(level));
    }
    std::vector<PageNumber> next;
    for (const PageNumber number : level) {
      ASSIGN_OR_RETURN(const BtreePage page, BtreePage::Read(view, number, usable_bytes));
      if (!page.interior() || page.table() != tree.table) {
        return Corrupt(number, "does not fit into its tree");
      }
      for (uint32_t i = 0; i <= page.cell_count(); ++i) {
        ASSIGN_OR_RETURN(const PageNumber child, page.Child(i));
        if (child == 0 || child > view.page_count()) {
          return Corrupt(number, "names a child that there is not");
        }
        next.push_back(child);
      }
      if (next.size() > view.page_count()) {
        return Corrupt(root, "its tree has more pages than the database");
      }
    }
    RETURN_IF_ERROR(EachOnce(next));  // before the next level makes many of them
    tree.interior.insert(tree.interior.end(), level.begin(), level.end());
    all.insert(all.end(), next.begin(), next.end());
    level = std::move(next);
  }
  RETURN_IF_ERROR(EachOnce(all));
  std::sort(tree.interior.begin(), tree.interior.end());
  tree.rows = tree.table ? std::move(level) : std::move(all);
  std::sort(tree.rows.begin(), tree.rows.end());
  return tree;
}

Result<std::vector<PageNumber>> ReadFreelist(const PageView& view, const DatabaseHeader& header) {
  std::vector<PageNumber> free;
  PageNumber trunk = header.first_free_page;
  while (trunk != 0) {
    ASSIGN_OR_RETURN(const ByteSpan page, view.Read(trunk));
    free.push_back(trunk);
    const uint64_t leaves = std::min<uint64_t>(LoadBe32(&page[4]), header.usable_bytes / 4 - 2);
    for (uint64_t i = 0; i < leaves; ++i) {
      free.push_back(LoadBe32(&page[8 + 4 * i]));
    }
    trunk = LoadBe32(page.data());
    if (free.size() > view.page_count()) {
      return CorruptionError("the freelist has more pages than the database");
    }
  }
  std::sort(free.begin(), free.end());
  return free;
}

bool IsPointerMapPage(PageNumber number, uint32_t page_size, uint32_t usable_bytes) {
  if (number < 2) {
    return false;
  }
  const uint64_t group = uint64_t{usable_bytes} / 5 + 1;
  uint64_t map = (number - 2) / group * group + 2;
  if (map == LockBytePage(page_size)) {
    ++map;
  }
  return number == map;
}

}  // namespace sqlite_s3

// Any bytes as two states of a database: the first is the file, of as many pages as its header
// says; what follows are the pages that the second state has instead, each behind its number. Every
// tree is walked and every row decoded; of some inputs, chosen by their bytes, the two states are
// compared as diff does, and written as a script.
#include <algorithm>
#include <cstdlib>

#include "common/base/hash.h"
#include "restore/rows/change_set.h"
#include "restore/rows/script.h"
#include "tests/restore/pages.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kPageSize = 512;
constexpr uint64_t kOneIn = 8;  // SQLite parses a schema: slower than all else together

void ReadTree(const PageView& view, const DatabaseHeader& header, PageNumber root) {
  auto tree = WalkTree(view, root, header.usable_bytes);
  if (!tree.ok()) {
    return;
  }
  if (tree->page_count() > view.page_count()) {
    std::abort();
  }
  OverflowBudget budget(view);
  for (const PageNumber number : tree->rows) {
    auto page = BtreePage::Read(view, number, header.usable_bytes);
    for (uint32_t i = 0; page.ok() && page->has_rows() && i < page->cell_count(); ++i) {
      auto cell = page->CellAt(i);
      if (!cell.ok()) {
        continue;
      }
      std::vector<PageNumber> chain;
      auto payload = ReadPayload(view, *cell, header.usable_bytes, budget, &chain);
      if (chain.size() > view.page_count() ||
          (payload.ok() && payload->size() != cell->payload_bytes)) {
        std::abort();
      }
      auto row = DecodeRecord(payload.ok() ? ByteSpan(*payload) : cell->local);
      for (size_t k = 0; row.ok() && k < row->size(); ++k) {
        (void)SqlLiteral((*row)[k], header.encoding);
      }
    }
  }
}

void Compare(const PageView& first, const PageView& second,
             const std::vector<PageNumber>& changed) {
  Differ differ;
  auto before = differ.Look(first);
  if (!before.ok()) {
    return;
  }
  auto after = differ.Follow(*before, second, changed);
  if (!after.ok()) {
    return;
  }
  ChangeCollector collector;
  if (!differ.Diff(*before, *after, changed, collector).ok()) {
    return;
  }
  for (const TableChanges& table : collector.changes().tables) {
    for (const RowChange& row : table.rows) {
      (void)DescribeRow(table, row);
    }
  }
  ScriptOptions options;
  options.live = after->schema.get();
  (void)WriteScript(Reversed(std::move(collector.changes())), options);
}

}  // namespace
}  // namespace sqlite_s3

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sqlite_s3;
  const ByteSpan input(data, size);
  if (size < kPageSize) {
    return 0;
  }
  const size_t pages = std::min<size_t>(LoadBe32(data + 28), size / kPageSize);
  const ByteSpan file = input.first(pages * kPageSize);
  Bytes second(file.begin(), file.end());
  std::vector<PageNumber> changed;
  for (size_t at = file.size(); at + 4 + kPageSize <= size; at += 4 + kPageSize) {
    const PageNumber number = LoadBe32(data + at);
    if (number == 0 || number > size / kPageSize) {
      break;
    }
    changed.push_back(number);
    second.resize(std::max(second.size(), size_t{number} * kPageSize));
    std::copy_n(data + at + 4, kPageSize,
                second.begin() + static_cast<ptrdiff_t>(size_t{number - 1} * kPageSize));
  }
  std::sort(changed.begin(), changed.end());
  changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
  MemoryPages states(kPageSize, file);
  const uint64_t after = states.AddState(second);
  for (const uint64_t state : {uint64_t{0}, after}) {
    const PageView view = states.View(state);
    auto header = ReadDatabaseHeader(view);
    if (!header.ok()) {
      return 0;
    }
    (void)ReadSchema(view, *header);
    (void)ReadFreelist(view, *header);
    for (PageNumber root = 1; root <= view.page_count() && root <= 64; ++root) {
      ReadTree(view, *header, root);
    }
  }
  if (PageHasher(ChecksumKey{}).Hash(1, input) % kOneIn == 0) {
    Compare(states.View(0), states.View(after), changed);
  }
  return 0;
}

// Pages that no SQLite wrote: whatever they say, the reader ends, in bounds, within what the
// database's size allows.

#include "restore/rows/btree.h"

#include <gtest/gtest.h>

#include "tests/restore/pages.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kPage = 512;
constexpr uint8_t kInteriorIndex = 2, kInteriorTable = 5, kLeafIndex = 10, kLeafTable = 13;

// What of a payload lies on the leaf.
size_t Local(size_t payload) {
  const size_t k = 39 + (payload - 39) % (kPage - 4);
  return k <= kPage - 35 ? k : 39;
}

void Store16(Bytes& page, size_t at, uint32_t value) {
  page[at] = static_cast<uint8_t>(value >> 8);
  page[at + 1] = static_cast<uint8_t>(value);
}

class BtreeTest : public ::testing::Test {
 protected:
  BtreeTest() { pages_.At(9); }

  // An interior page with these children; the last is the right-most one.
  void Interior(PageNumber number, uint8_t type, const std::vector<PageNumber>& children) {
    Bytes& page = pages_.At(number);
    page.assign(kPage, 0);
    page[0] = type;
    const size_t cells = children.size() - 1;
    Store16(page, 3, static_cast<uint32_t>(cells));
    StoreBe32(&page[8], children.back());
    for (size_t i = 0; i < cells; ++i) {
      const size_t at = kPage - 8 * (i + 1);
      Store16(page, 12 + 2 * i, static_cast<uint32_t>(at));
      StoreBe32(&page[at], children[i]);
    }
  }
  // A leaf of a table with one cell, of these bytes, at the end of the page.
  void Leaf(PageNumber number, const Bytes& cell, uint8_t type = kLeafTable) {
    Bytes& page = pages_.At(number);
    page.assign(kPage, 0);
    page[0] = type;
    Store16(page, 3, 1);
    const size_t at = kPage - cell.size();
    Store16(page, 8, static_cast<uint32_t>(at));
    std::copy(cell.begin(), cell.end(), page.begin() + static_cast<ptrdiff_t>(at));
  }
  // A row whose payload has `payload` bytes, of which `local` lie on the leaf.
  void LeafWithChain(PageNumber number, uint16_t payload, size_t local, PageNumber overflow) {
    Bytes cell{static_cast<uint8_t>(0x80 | payload >> 7), static_cast<uint8_t>(payload & 0x7f), 1};
    cell.resize(3 + local, 'x');
    cell.resize(cell.size() + 4);
    StoreBe32(&cell[3 + local], overflow);
    Leaf(number, cell);
  }
  void Link(PageNumber number, PageNumber next) { StoreBe32(pages_.At(number).data(), next); }

  Result<TreePages> Walk(PageNumber root) { return WalkTree(pages_.View(), root, kPage); }
  Result<Cell> FirstCell(PageNumber number) {
    ASSIGN_OR_RETURN(kept_, BtreePage::Read(pages_.View(), number, kPage));
    return kept_->CellAt(0);
  }
  Result<Bytes> FirstPayload(PageNumber number) {
    ASSIGN_OR_RETURN(const Cell cell, FirstCell(number));
    OverflowBudget budget(pages_.View());
    return ReadPayload(pages_.View(), cell, kPage, budget);
  }

  MemoryPages pages_{kPage};
  std::optional<BtreePage> kept_;
};

TEST_F(BtreeTest, FindsThePagesOfATree) {
  Interior(1 + 1, kInteriorTable, {3, 4});
  Leaf(3, {1, 1, 1});
  Leaf(4, {1, 2, 1});
  ASSERT_OK_AND_ASSIGN(const TreePages tree, Walk(2));
  EXPECT_EQ(tree.rows, (std::vector<PageNumber>{3, 4}));
  EXPECT_EQ(tree.page_count(), 3u);
}

TEST_F(BtreeTest, RefusesAPageThatIsItsOwnChild) {
  Interior(2, kInteriorTable, {2, 3});
  EXPECT_STATUS(Walk(2), StatusCode::kCorruption);
  EXPECT_LT(pages_.reads(), 200u);
}

TEST_F(BtreeTest, RefusesAChildThatLeadsBackToTheRoot) {
  Interior(2, kInteriorTable, {3});
  Interior(3, kInteriorTable, {2});
  EXPECT_STATUS(Walk(2), StatusCode::kCorruption);
  EXPECT_LT(pages_.reads(), 200u);
}

TEST_F(BtreeTest, RefusesOneChildInTwoPlacesBeforeItIsReadTwice) {
  Interior(2, kInteriorTable, {3, 4, 3});
  EXPECT_STATUS(Walk(2), StatusCode::kCorruption);
  EXPECT_LE(pages_.reads(), 3u);
}

TEST_F(BtreeTest, RefusesAPageOfTwoLevels) {
  Interior(2, kInteriorTable, {3, 4});
  Interior(3, kInteriorTable, {4, 5});
  Interior(4, kInteriorTable, {6, 7});
  for (PageNumber n = 5; n <= 7; ++n) {
    Leaf(n, {1, 1, 1});
  }
  EXPECT_STATUS(Walk(2), StatusCode::kCorruption);
}

TEST_F(BtreeTest, RefusesATreeDeeperThanSqliteMakes) {
  for (PageNumber n = 2; n < 60; ++n) {
    Interior(n, kInteriorTable, {n + 1});
  }
  Leaf(60, {1, 1, 1});
  EXPECT_STATUS(Walk(2), StatusCode::kCorruption);
  EXPECT_OK(Walk(45));
}

TEST_F(BtreeTest, RefusesChildrenThatThereAreNot) {
  for (const PageNumber child : {PageNumber{0}, PageNumber{1000}, PageNumber{UINT32_MAX}}) {
    Interior(2, kInteriorTable, {child, 3});
    EXPECT_STATUS(Walk(2), StatusCode::kCorruption) << child;
    Interior(2, kInteriorTable, {3, child});
    EXPECT_STATUS(Walk(2), StatusCode::kCorruption) << child;
  }
  EXPECT_STATUS(Walk(0), StatusCode::kCorruption);
  EXPECT_STATUS(Walk(1000), StatusCode::kCorruption);
}

TEST_F(BtreeTest, RefusesAnIndexUnderATable) {
  Interior(2, kInteriorTable, {3, 4});
  Interior(3, kInteriorTable, {5});
  Interior(4, kInteriorIndex, {6});
  EXPECT_STATUS(Walk(2), StatusCode::kCorruption);
}

TEST_F(BtreeTest, RefusesWhatIsNoPageOfATree) {
  for (const int type : {0, 1, 3, 7, 14, 255}) {
    pages_.At(2)[0] = static_cast<uint8_t>(type);
    EXPECT_STATUS(Walk(2), StatusCode::kCorruption) << type;
  }
}

TEST_F(BtreeTest, RefusesMoreCellsThanFit) {
  Leaf(2, {1, 1, 1});
  Store16(pages_.At(2), 3, (kPage - 8) / 2 + 1);
  EXPECT_STATUS(Walk(2), StatusCode::kCorruption);
  Interior(2, kInteriorTable, {3, 4});
  Store16(pages_.At(2), 3, 0xffff);
  EXPECT_STATUS(Walk(2), StatusCode::kCorruption);
}

TEST_F(BtreeTest, RefusesCellsThatLieOutsideOrInTheHeader) {
  for (const uint32_t offset : {0u, 7u, kPage - 3, kPage, 0xffffu}) {
    Leaf(2, {1, 1, 1, 0});
    Store16(pages_.At(2), 8, offset);
    EXPECT_STATUS(FirstCell(2), StatusCode::kCorruption) << offset;
    Interior(3, kInteriorTable, {4, 5});
    Store16(pages_.At(3), 12, offset);
    EXPECT_STATUS(Walk(3), StatusCode::kCorruption) << offset;
  }
}

TEST_F(BtreeTest, NumbersOfNineBytesAreReadAndThoseThatRunOffThePageRefused) {
  Leaf(2, {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 7});
  ASSERT_OK_AND_ASSIGN(const Cell cell, FirstCell(2));
  EXPECT_EQ(cell.rowid, -2);
  EXPECT_EQ(cell.payload_bytes, 1u);
  for (const Bytes& bytes : {Bytes{1, 0xff, 0xff, 0xff}, Bytes{0xff, 0xff, 0xff, 0xff},
                             Bytes{0x81, 0x80, 0x80, 0x80, 0x80}}) {
    Leaf(2, bytes);
    EXPECT_STATUS(FirstCell(2), StatusCode::kCorruption) << HexEncode(bytes);
  }
}

TEST_F(BtreeTest, RefusesPayloadsThatAreNotThere) {
  // 2^31, 2^63 and 2^64 - 1 bytes.
  for (const Bytes& bytes :
       {Bytes{0x88, 0x80, 0x80, 0x80, 0x00, 1, 0, 0, 0, 0},
        Bytes{0xc0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 0, 0},
        Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0}}) {
    Leaf(2, bytes);
    EXPECT_STATUS(FirstCell(2), StatusCode::kCorruption) << HexEncode(bytes);
  }
  Leaf(2, {100, 1, 'x'});  // the page ends before the 100 bytes do
  EXPECT_STATUS(FirstCell(2), StatusCode::kCorruption);
  LeafWithChain(2, 16000, 300, 3);  // more than nine pages hold
  EXPECT_STATUS(FirstPayload(2), StatusCode::kCorruption);
}

TEST_F(BtreeTest, ReadsAnOverflowChainAndSaysWhichPagesItHas) {
  LeafWithChain(2, 1000, Local(1000), 3);
  Link(3, 4);
  Link(4, 1000);  // nobody asks
  ASSERT_OK_AND_ASSIGN(const Cell cell, FirstCell(2));
  std::vector<PageNumber> chain;
  OverflowBudget budget(pages_.View());
  ASSERT_OK_AND_ASSIGN(const Bytes payload,
                       ReadPayload(pages_.View(), cell, kPage, budget, &chain));
  EXPECT_EQ(payload.size(), 1000u);
  EXPECT_EQ(chain, (std::vector<PageNumber>{3, 4}));
}

TEST_F(BtreeTest, RefusesChainsThatLoopOrLeadOutside) {
  const size_t local = Local(3000);
  for (const PageNumber first : {PageNumber{0}, PageNumber{10}, PageNumber{UINT32_MAX}}) {
    LeafWithChain(2, 3000, local, first);
    EXPECT_STATUS(FirstPayload(2), StatusCode::kCorruption) << first;
  }
  LeafWithChain(2, 3000, local, 3);
  Link(3, 3);
  EXPECT_STATUS(FirstPayload(2), StatusCode::kCorruption) << "its own next";
  Link(3, 4);
  Link(4, 5);
  Link(5, 3);
  LeafWithChain(2, 4500, Local(4500), 3);
  EXPECT_STATUS(FirstPayload(2), StatusCode::kCorruption) << "a circle";
  LeafWithChain(2, 3000, local, 3);
  Link(5, 0);
  EXPECT_STATUS(FirstPayload(2), StatusCode::kCorruption) << "ends too soon";
  Link(5, 6);
  Link(6, 7);
  Link(7, 8);
  EXPECT_OK(FirstPayload(2));
}

TEST_F(BtreeTest, ALoopIsFoundBeforeTheWholePayloadWasMadeOfIt) {
  MemoryPages large(kPage);
  large.At(30'000);  // a payload of 2 MB may be
  Bytes& leaf = large.At(2);
  leaf[0] = kLeafTable;
  Store16(leaf, 3, 1);
  Store16(leaf, 8, 300);
  const size_t local = Local(2'000'000);
  const uint8_t cell[] = {0x80 | 2'000'000 >> 14, 0x80 | (2'000'000 >> 7 & 0x7f), 2'000'000 & 0x7f,
                          1};
  std::copy(std::begin(cell), std::end(cell), leaf.begin() + 300);
  ASSERT_LT(304 + local + 4, kPage);
  StoreBe32(&leaf[304 + local], 5);
  StoreBe32(large.At(5).data(), 6);
  StoreBe32(large.At(6).data(), 5);
  ASSERT_OK_AND_ASSIGN(const BtreePage page, BtreePage::Read(large.View(), 2, kPage));
  ASSERT_OK_AND_ASSIGN(const Cell found, page.CellAt(0));
  ASSERT_EQ(found.payload_bytes, 2'000'000u);
  OverflowBudget budget(large.View());
  EXPECT_STATUS(ReadPayload(large.View(), found, kPage, budget), StatusCode::kCorruption);
  EXPECT_LT(large.reads(), 20u);
}

TEST_F(BtreeTest, RowsThatShareTheirOverflowPagesCostNoMoreThanTheDatabaseHas) {
  LeafWithChain(2, 3000, Local(3000), 3);
  for (PageNumber n = 3; n < 8; ++n) {
    Link(n, n + 1);
  }
  ASSERT_OK_AND_ASSIGN(const Cell cell, FirstCell(2));
  OverflowBudget budget(pages_.View());
  EXPECT_OK(ReadPayload(pages_.View(), cell, kPage, budget));
  EXPECT_STATUS(ReadPayload(pages_.View(), cell, kPage, budget), StatusCode::kCorruption);
}

TEST_F(BtreeTest, CellsOfAnIndexHaveNoRowid) {
  Leaf(2, {2, 0x02, 0x01}, kLeafIndex);
  Store16(pages_.At(2), 8, kPage - 4);
  const uint8_t cell[] = {3, 2, 1, 42};
  std::copy(std::begin(cell), std::end(cell), pages_.At(2).end() - 4);
  ASSERT_OK_AND_ASSIGN(const Cell found, FirstCell(2));
  EXPECT_EQ(found.payload_bytes, 3u);
  EXPECT_EQ(found.rowid, 0);
  EXPECT_EQ(found.local.size(), 3u);
}

class FreelistTest : public BtreeTest {
 protected:
  Result<std::vector<PageNumber>> Free(PageNumber first) {
    DatabaseHeader header;
    header.usable_bytes = kPage;
    header.first_free_page = first;
    return ReadFreelist(pages_.View(), header);
  }
};

TEST_F(FreelistTest, TrunksAndLeaves) {
  Link(3, 5);
  StoreBe32(&pages_.At(3)[4], 2);
  StoreBe32(&pages_.At(3)[8], 7);
  StoreBe32(&pages_.At(3)[12], 4);
  ASSERT_OK_AND_ASSIGN(const auto free, Free(3));
  EXPECT_EQ(free, (std::vector<PageNumber>{3, 4, 5, 7}));
}

TEST_F(FreelistTest, RefusesCirclesAndTrunksOutside) {
  Link(3, 3);
  EXPECT_STATUS(Free(3), StatusCode::kCorruption);
  Link(3, 5);
  Link(5, 3);
  EXPECT_STATUS(Free(3), StatusCode::kCorruption);
  EXPECT_STATUS(Free(1000), StatusCode::kCorruption);
}

TEST_F(FreelistTest, ATrunkHasNoMoreLeavesThanFit) {
  StoreBe32(&pages_.At(3)[4], UINT32_MAX);
  EXPECT_STATUS(Free(3), StatusCode::kCorruption) << "more than the database has pages";
  pages_.At(1000);
  ASSERT_OK_AND_ASSIGN(const auto free, Free(3));
  EXPECT_EQ(free.size(), 1 + kPage / 4 - 2);
}

class HeaderTest : public BtreeTest {
 protected:
  HeaderTest() {
    Bytes& page = pages_.At(1);
    constexpr char kMagic[] = "SQLite format 3";
    std::copy(std::begin(kMagic), std::end(kMagic), page.begin());
    Store16(page, 16, kPage);
  }
  Result<DatabaseHeader> Header() { return ReadDatabaseHeader(pages_.View()); }
};

TEST_F(HeaderTest, ReservedBytesMakePagesSmallerDownToWhatSqliteTakes) {
  pages_.At(1)[20] = 32;
  ASSERT_OK_AND_ASSIGN(const DatabaseHeader header, Header());
  EXPECT_EQ(header.usable_bytes, 480u);
  pages_.At(1)[20] = 33;
  EXPECT_STATUS(Header(), StatusCode::kCorruption);
  pages_.At(1)[20] = 255;
  EXPECT_STATUS(Header(), StatusCode::kCorruption);
}

TEST_F(HeaderTest, RefusesAnotherPageSizeThanTheReplicas) {
  for (const uint32_t size : {0u, 1u, 256u, 1024u, 4096u}) {
    Store16(pages_.At(1), 16, size);
    EXPECT_STATUS(Header(), StatusCode::kCorruption) << size;
  }
}

TEST_F(HeaderTest, RefusesTextEncodingsThatThereAreNot) {
  pages_.At(1)[59] = 4;
  EXPECT_STATUS(Header(), StatusCode::kCorruption);
  pages_.At(1)[59] = 3;
  EXPECT_OK(Header());
}

}  // namespace
}  // namespace sqlite_s3

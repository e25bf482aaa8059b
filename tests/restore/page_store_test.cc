#include "restore/page_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "common/os/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kPageSize = 512;

class PageStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(file_, OpenFile(path_, O_RDWR | O_CREAT, 0600)); }
  static Bytes Page(uint64_t seed) {
    std::mt19937_64 random(seed);
    Bytes page(kPageSize);
    for (uint8_t& b : page) {
      b = static_cast<uint8_t>(random());
    }
    return page;
  }
  Bytes FileContent() { return *ReadFile(path_, 1 << 30); }

  TempDir directory_;
  const std::string path_ = directory_.File("pages");
  Fd file_;
  PageHasher hasher_{ChecksumKey{}};
};

TEST_F(PageStoreTest, IsTheDatabaseWhateverTheCacheHolds) {
  // Against a plain map, with a cache of 64 pages for up to a thousand.
  PageStore store(file_, path_, kPageSize, hasher_, 0);
  std::map<PageNumber, Bytes> model;
  std::mt19937_64 random(1);
  store.SetState(0, 0);
  uint32_t count = 0;
  for (int step = 0; step < 3000; ++step) {
    if (random() % 20 == 0) {
      const uint32_t before = count;
      count = 1 + static_cast<uint32_t>(random() % 1000);
      ASSERT_OK(store.Resize(count));
      model.erase(model.upper_bound(count), model.end());
      for (PageNumber n = before + 1; n <= count; ++n) {  // a commit writes what it adds
        model[n] = Page(random());
        ASSERT_OK(store.Write(n, model[n], /*old=*/false));
      }
    }
    if (count == 0) {
      continue;
    }
    const auto n = static_cast<PageNumber>(1 + random() % count);
    if (random() % 2 == 0) {
      model[n] = Page(random());
      ASSERT_OK(store.Write(n, model[n], /*old=*/true));
    } else {
      ASSERT_OK_AND_ASSIGN(const ByteSpan page, store.Read(n));
      ASSERT_EQ(Bytes(page.begin(), page.end()), model[n]) << "page " << n;
    }
    if (step % 100 == 0) {
      uint64_t checksum = 0;
      for (const auto& [number, page] : model) {
        checksum ^= hasher_.Hash(number, page);
      }
      ASSERT_EQ(store.checksum(), checksum);
    }
  }
  ASSERT_OK(store.Flush());
  Bytes expected;
  for (const auto& [number, page] : model) {
    expected.insert(expected.end(), page.begin(), page.end());
  }
  EXPECT_EQ(FileContent(), expected);
}

TEST_F(PageStoreTest, WhatWasCutOffDoesNotComeBack) {
  PageStore store(file_, path_, kPageSize, hasher_, 0);
  store.SetState(0, 0);
  ASSERT_OK(store.Resize(3));
  for (PageNumber n = 1; n <= 3; ++n) {
    ASSERT_OK(store.Write(n, Page(n), false));
  }
  ASSERT_OK(store.Resize(1));
  EXPECT_EQ(store.checksum(), hasher_.Hash(1, Page(1)));
  ASSERT_OK(store.Resize(2));
  ASSERT_OK(store.Write(2, Page(9), false));
  ASSERT_OK(store.Flush());
  EXPECT_EQ(FileContent().size(), 2 * kPageSize);
  EXPECT_EQ(store.checksum(), hasher_.Hash(1, Page(1)) ^ hasher_.Hash(2, Page(9)));
}

TEST_F(PageStoreTest, TheLockBytePageHasNoHash) {
  const PageNumber lock_page = LockBytePage(kPageSize);
  PageStore store(file_, path_, kPageSize, hasher_, 0);
  store.SetState(lock_page, 77);
  ASSERT_OK(store.Resize(lock_page - 1));
  EXPECT_EQ(store.checksum(), 77u);
}

TEST_F(PageStoreTest, APageThatTheFileDoesNotHaveIsCorruption) {
  PageStore store(file_, path_, kPageSize, hasher_, 0);
  store.SetState(5, 0);
  EXPECT_STATUS(store.Read(3), StatusCode::kCorruption);
}

}  // namespace
}  // namespace sqlite_s3

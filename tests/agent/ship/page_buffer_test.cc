#include "agent/ship/page_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

namespace sqlite_s3 {
namespace {

constexpr size_t kMiB = 1 << 20;

void Fill(PagePtr& page, uint8_t value) { std::ranges::fill(page.writable(), value); }

TEST(PageBufferTest, CountsLivePagesOnly) {
  MemoryAccount account;
  PagePtr page = PagePtr::Make(4096, account);
  PagePtr other = page;
  EXPECT_EQ(account.bytes(), 4096u);
  page = PagePtr();
  EXPECT_EQ(account.bytes(), 4096u);
  other = PagePtr();
  EXPECT_EQ(account.bytes(), 0u);
}

TEST(PageBufferTest, PagesDoNotOverlap) {
  for (const uint32_t size : {512u, 4096u, 65536u}) {
    MemoryAccount account;
    std::vector<PagePtr> pages;
    for (int i = 0; i < 600; ++i) {
      pages.push_back(PagePtr::Make(size, account));
      Fill(pages.back(), static_cast<uint8_t>(i));
      if (i % 3 == 2) {
        pages[static_cast<size_t>(i) / 2] = PagePtr::Make(size, account);
        Fill(pages[static_cast<size_t>(i) / 2], static_cast<uint8_t>(i / 2));
      }
    }
    for (size_t i = 0; i < pages.size(); ++i) {
      ASSERT_TRUE(std::ranges::all_of(pages[i].bytes(),
                                      [i](uint8_t b) { return b == static_cast<uint8_t>(i); }))
          << size << " " << i;
    }
  }
}

TEST(PageBufferTest, EmptySlabsGoBackToTheSystem) {
  MemoryAccount account;
  std::vector<PagePtr> pages;
  for (int i = 0; i < 4096; ++i) {
    pages.push_back(PagePtr::Make(4096, account));
  }
  EXPECT_GE(account.mapped_bytes(), 16 * kMiB);
  EXPECT_LE(account.mapped_bytes(), 18 * kMiB);
  pages.clear();
  EXPECT_LE(account.mapped_bytes(), kMiB);
}

// A queue that is always the same length must not take more and more: pages come and go in about
// the order they were made in, each kept a little longer or shorter.
TEST(PageBufferTest, AMovingQueueDoesNotFragment) {
  MemoryAccount account;
  std::vector<PagePtr> queue(1000);
  uint32_t random = 1;
  for (int i = 0; i < 100'000; ++i) {
    random = random * 1664525 + 1013904223;
    queue[(static_cast<size_t>(i) + random / 65536 % 100) % queue.size()] =
        PagePtr::Make(4096, account);
  }
  EXPECT_LE(account.bytes(), 1000 * 4096u);
  EXPECT_LE(account.mapped_bytes(), 7 * kMiB);
}

TEST(PageBufferTest, PagesOfTwoSizesLiveSideBySide) {
  MemoryAccount account;
  PagePtr small = PagePtr::Make(512, account);
  PagePtr large = PagePtr::Make(65536, account);
  Fill(large, 7);
  Fill(small, 9);
  EXPECT_EQ(large.bytes()[65535], 7);
  EXPECT_EQ(account.bytes(), 512u + 65536u);
}

TEST(PageBufferTest, ThreadsMakeAndDropTheSamePages) {
  MemoryAccount account;
  std::vector<PagePtr> shared(64);
  for (PagePtr& page : shared) {
    page = PagePtr::Make(4096, account);
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&account, copy = shared]() mutable {
      for (int i = 0; i < 20'000; ++i) {
        copy[static_cast<size_t>(i) % copy.size()] = PagePtr::Make(4096, account);
      }
    });
  }
  shared.clear();
  for (std::thread& thread : threads) {
    thread.join();
  }
  threads.clear();
  EXPECT_EQ(account.bytes(), 0u);
}

}  // namespace
}  // namespace sqlite_s3

#pragma once
// PagePtr: one version of one page, shared between the commits that have it as content or base, the
// cache of latest versions, and a running image; and the account that bounds them all.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "common/base/bytes.h"

namespace sqlite_s3 {

// Bytes of live page buffers, and the buffers themselves: freed ones are kept for the next page, up
// to a bound, whichever thread takes it. Left to malloc, committing thread and worker would each
// grow an arena of their own and the bound be paid twice (76 MiB for 24, measured). Thread-safe.
class MemoryAccount {
 public:
  MemoryAccount() = default;
  MemoryAccount(const MemoryAccount&) = delete;
  MemoryAccount& operator=(const MemoryAccount&) = delete;
  ~MemoryAccount() {
    for (void* block : free_) {
      ::operator delete(block);
    }
  }

  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // A block for a page of `page_size` bytes and `header` more.
  void* Take(size_t header, size_t page_size) {
    bytes_.fetch_add(page_size, std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      if (free_block_bytes_ == header + page_size && !free_.empty()) {
        void* block = free_.back();
        free_.pop_back();
        return block;
      }
    }
    return ::operator new(header + page_size);
  }
  void Give(void* block, size_t header, size_t page_size) {
    bytes_.fetch_sub(page_size, std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      if (free_.empty()) {
        free_block_bytes_ = header + page_size;  // one page size at a time: one database
      }
      if (free_block_bytes_ == header + page_size &&
          (free_.size() + 1) * free_block_bytes_ <= kMaxFreeBytes) {
        free_.push_back(block);
        return;
      }
    }
    ::operator delete(block);
  }

 private:
  static constexpr size_t kMaxFreeBytes = 8 << 20;
  std::atomic<size_t> bytes_{0};
  std::mutex mutex_;
  std::vector<void*> free_;
  size_t free_block_bytes_ = 0;
};

// A counted reference; copying and dropping is thread-safe, the content is written before it is
// shared and never after. The account must outlive every reference.
class PagePtr {
 public:
  PagePtr() = default;
  static PagePtr Make(uint32_t page_size, MemoryAccount& account) {
    PagePtr p;
    p.header_ = new (account.Take(sizeof(Header), page_size)) Header{{1}, page_size, &account};
    return p;
  }
  PagePtr(const PagePtr& other) : header_(other.header_) {
    if (header_ != nullptr) {
      header_->refs.fetch_add(1, std::memory_order_relaxed);
    }
  }
  PagePtr(PagePtr&& other) noexcept : header_(std::exchange(other.header_, nullptr)) {}
  PagePtr& operator=(PagePtr other) noexcept {
    std::swap(header_, other.header_);
    return *this;
  }
  ~PagePtr() {
    if (header_ != nullptr && header_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      MemoryAccount* account = header_->account;
      const uint32_t size = header_->size;
      header_->~Header();
      account->Give(header_, sizeof(Header), size);
    }
  }

  explicit operator bool() const { return header_ != nullptr; }
  ByteSpan bytes() const { return {data(), header_->size}; }
  std::span<uint8_t> writable() { return {data(), header_->size}; }

 private:
  struct Header {
    std::atomic<uint32_t> refs;
    uint32_t size;
    MemoryAccount* account;
  };
  uint8_t* data() const { return reinterpret_cast<uint8_t*>(header_ + 1); }
  Header* header_ = nullptr;
};

}  // namespace sqlite_s3

#pragma once
// PagePtr: one version of one page, shared between the commits that have it as content or base, the
// cache of latest versions, and a running image; and the account that bounds them all.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <span>
#include <utility>

#include "common/base/bytes.h"

namespace sqlite_s3 {

// Bytes of live page buffers, and the memory they lie in: slabs of our own, given back to the
// system when their last page goes. Left to malloc, committing thread and worker would each grow an
// arena, and what fragments there is paid on top of the bound (79 MiB resident for 24, measured).
// Thread-safe; every block must be given back before it goes.
class MemoryAccount {
 public:
  MemoryAccount() = default;
  MemoryAccount(const MemoryAccount&) = delete;
  MemoryAccount& operator=(const MemoryAccount&) = delete;
  ~MemoryAccount();

  // Of live pages, headers and slack not counted.
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  // Gives back what is kept for the next page.
  void Trim();
  // What the slabs take from the system.
  size_t mapped_bytes() const;

  // A block for a page of `page_size` bytes and `header` more, aligned to 16. Throws
  // std::bad_alloc.
  void* Take(size_t header, size_t page_size);
  void Give(void* block, size_t page_size);

 private:
  struct Slab;
  struct Block;
  Slab* NewSlab(size_t block_bytes);
  void Unlink(Slab* slab);
  void LinkFirst(Slab* slab);
  void LinkLast(Slab* slab);

  std::atomic<size_t> bytes_{0};
  mutable std::mutex mutex_;
  // Slabs that have room, the one to take from first; full ones are known by their blocks alone.
  Slab* first_ = nullptr;
  Slab* last_ = nullptr;
  Slab* spare_ = nullptr;  // empty, kept so that a page taken and given in turn maps nothing
  size_t mapped_bytes_ = 0;
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
      account->Give(header_, size);
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

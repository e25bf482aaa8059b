#pragma once
// PagePtr: one version of one page, shared between the commits that have it as content or base, the
// cache of latest versions, and a running image; and the account that bounds them all.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <span>
#include <utility>

#include "common/base/bytes.h"

namespace sqlite_s3 {

// Bytes of live page buffers. Thread-safe.
class MemoryAccount {
 public:
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  void Add(size_t n) { bytes_.fetch_add(n, std::memory_order_relaxed); }
  void Subtract(size_t n) { bytes_.fetch_sub(n, std::memory_order_relaxed); }

 private:
  std::atomic<size_t> bytes_{0};
};

// A counted reference; copying and dropping is thread-safe, the content is written before it is
// shared and never after. The account must outlive every reference.
class PagePtr {
 public:
  PagePtr() = default;
  static PagePtr Make(uint32_t page_size, MemoryAccount& account) {
    PagePtr p;
    void* memory = ::operator new(sizeof(Header) + page_size);
    p.header_ = new (memory) Header{{1}, page_size, &account};
    account.Add(page_size);
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
      header_->account->Subtract(header_->size);
      header_->~Header();
      ::operator delete(header_);
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

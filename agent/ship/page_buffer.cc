#include "agent/ship/page_buffer.h"

#include <sys/mman.h>

#include <algorithm>

namespace sqlite_s3 {
namespace {

constexpr size_t kSlabBytes = 1 << 20;
constexpr size_t kAlignment = 16;

size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

// At the start of its own mapping; the blocks follow.
struct MemoryAccount::Slab {
  Slab* previous = nullptr;
  Slab* next = nullptr;
  Block* free = nullptr;  // given back
  uint8_t* fresh = nullptr;
  size_t fresh_blocks = 0;  // at `fresh`, never touched so far
  size_t used = 0;
  size_t block_bytes = 0;  // one size at a time: one database
  size_t mapped_bytes = 0;

  bool HasRoom() const { return free != nullptr || fresh_blocks > 0; }
};

// What lies before a block's bytes.
struct MemoryAccount::Block {
  Slab* slab;
  Block* next_free;
};

MemoryAccount::~MemoryAccount() {
  for (Slab* slab = first_; slab != nullptr;) {
    Slab* next = slab->next;
    munmap(slab, slab->mapped_bytes);
    slab = next;
  }
}

size_t MemoryAccount::mapped_bytes() const {
  std::lock_guard lock(mutex_);
  return mapped_bytes_;
}

void* MemoryAccount::Take(size_t header, size_t page_size) {
  static_assert(sizeof(Block) % kAlignment == 0 && alignof(Block) <= kAlignment);
  const size_t block_bytes = sizeof(Block) + Aligned(header + page_size);
  std::lock_guard lock(mutex_);
  Slab* slab = first_;
  while (slab != nullptr && slab->block_bytes != block_bytes) {
    slab = slab->next;
  }
  if (slab == nullptr) {
    slab = NewSlab(block_bytes);
    LinkFirst(slab);
  }
  if (spare_ == slab) {
    spare_ = nullptr;
  }
  Block* block;
  if (slab->free != nullptr) {
    block = slab->free;
    slab->free = block->next_free;
  } else {
    block = new (slab->fresh) Block{slab, nullptr};
    slab->fresh += block_bytes;
    --slab->fresh_blocks;
  }
  ++slab->used;
  if (!slab->HasRoom()) {
    Unlink(slab);
  }
  bytes_.fetch_add(page_size, std::memory_order_relaxed);
  return block + 1;
}

void MemoryAccount::Give(void* memory, size_t page_size) {
  Block* block = static_cast<Block*>(memory) - 1;
  Slab* slab = block->slab;
  std::lock_guard lock(mutex_);
  bytes_.fetch_sub(page_size, std::memory_order_relaxed);
  if (!slab->HasRoom()) {
    LinkLast(slab);  // the others fill up first, so that this one has a chance to become empty
  }
  block->next_free = slab->free;
  slab->free = block;
  if (--slab->used > 0) {
    return;
  }
  Unlink(slab);
  if (spare_ == nullptr) {
    spare_ = slab;
    LinkLast(slab);
    return;
  }
  mapped_bytes_ -= slab->mapped_bytes;
  munmap(slab, slab->mapped_bytes);
}

void MemoryAccount::Trim() {
  std::lock_guard lock(mutex_);
  if (Slab* slab = std::exchange(spare_, nullptr)) {
    Unlink(slab);
    mapped_bytes_ -= slab->mapped_bytes;
    munmap(slab, slab->mapped_bytes);
  }
}

MemoryAccount::Slab* MemoryAccount::NewSlab(size_t block_bytes) {
  const size_t begin = Aligned(sizeof(Slab));
  const size_t wanted = std::max(kSlabBytes, begin + block_bytes);
  void* memory = mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::bad_alloc();
  }
  Slab* slab = new (memory) Slab;
  slab->fresh = static_cast<uint8_t*>(memory) + begin;
  slab->fresh_blocks = (wanted - begin) / block_bytes;
  slab->block_bytes = block_bytes;
  slab->mapped_bytes = wanted;
  mapped_bytes_ += wanted;
  return slab;
}

void MemoryAccount::Unlink(Slab* slab) {
  (slab->previous != nullptr ? slab->previous->next : first_) = slab->next;
  (slab->next != nullptr ? slab->next->previous : last_) = slab->previous;
  slab->previous = slab->next = nullptr;
}

void MemoryAccount::LinkFirst(Slab* slab) {
  slab->next = first_;
  (first_ != nullptr ? first_->previous : last_) = slab;
  first_ = slab;
}

void MemoryAccount::LinkLast(Slab* slab) {
  slab->previous = last_;
  (last_ != nullptr ? last_->next : first_) = slab;
  last_ = slab;
}

}  // namespace sqlite_s3

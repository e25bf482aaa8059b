#pragma once
// Pages made by hand, for a reader that must believe nothing: a database as a row of pages, and the
// parts that its pages are made of.

#include <map>
#include <string>
#include <vector>

#include "restore/rows/page_view.h"

namespace sqlite_s3 {

// States of a database in memory; state 0 unless others were added.
class MemoryPages : public PageSource {
 public:
  explicit MemoryPages(uint32_t page_size = 512) : page_size_(page_size), states_(1) {}
  // The bytes of a database file.
  MemoryPages(uint32_t page_size, ByteSpan database) : MemoryPages(page_size) {
    AddPages(0, database);
  }
  uint64_t AddState(ByteSpan database) {
    states_.emplace_back();
    AddPages(states_.size() - 1, database);
    return states_.size() - 1;
  }
  // Grows the state so that it has the page.
  Bytes& At(PageNumber number) {
    if (number > states_[0].size()) {
      states_[0].resize(number, Bytes(page_size_));
    }
    return states_[0][number - 1];
  }
  PageView View(uint64_t state = 0) { return {*this, state, page_size_}; }

  uint32_t PageCount(uint64_t state) const override {
    return static_cast<uint32_t>(states_[state].size());
  }
  Result<ByteSpan> Read(uint64_t state, PageNumber number) override {
    ++reads_;
    if (number == 0 || number > states_[state].size()) {
      return CorruptionError("there is no page " + std::to_string(number));
    }
    return ByteSpan(states_[state][number - 1]);
  }
  uint64_t reads() const { return reads_; }

 private:
  void AddPages(uint64_t state, ByteSpan database) {
    for (size_t at = 0; at + page_size_ <= database.size(); at += page_size_) {
      const ByteSpan page = database.subspan(at, page_size_);
      states_[state].emplace_back(page.begin(), page.end());
    }
  }
  const uint32_t page_size_;
  std::vector<std::vector<Bytes>> states_;
  uint64_t reads_ = 0;
};

}  // namespace sqlite_s3

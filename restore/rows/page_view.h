#pragma once
// PageView: one state of a database, for reading. Where its pages come from is a PageSource's
// business.

#include <cstdint>

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace sqlite_s3 {

class PageSource {
 public:
  virtual ~PageSource() = default;
  virtual uint32_t PageCount(uint64_t state) const = 0;
  // The page in that state, valid until the next call. kCorruption when the state has no such page.
  virtual Result<ByteSpan> Read(uint64_t state, PageNumber number) = 0;
};

class PageView {
 public:
  PageView(PageSource& source, uint64_t state, uint32_t page_size)
      : source_(&source), state_(state), page_size_(page_size) {}
  uint32_t page_size() const { return page_size_; }
  uint32_t page_count() const { return source_->PageCount(state_); }
  Result<ByteSpan> Read(PageNumber number) const { return source_->Read(state_, number); }

 private:
  PageSource* source_;
  uint64_t state_;
  uint32_t page_size_;
};

}  // namespace sqlite_s3

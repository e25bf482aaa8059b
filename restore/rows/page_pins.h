#pragma once
// PagePins: earlier states of a database that a PageStore moves forward. A pin keeps what the pages
// were when it was set, by keeping each page when it is first replaced: as much as changed, no
// more.

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "restore/page_store.h"
#include "restore/target_file.h"

namespace sqlite_s3 {

// One thread, the page store's.
class PagePins : public PageWatcher {
 public:
  using Id = uint64_t;  // 0: the state as it is now

  // `store` must outlive the pins and must not move forward without watching them.
  PagePins(PageStore& store, uint32_t page_size) : store_(store), page_size_(page_size) {}

  Id Pin();
  // Pages kept for pins that are gone stay until no pin is left.
  void UnpinAll();

  uint32_t PageCount(Id pin) const;
  // The page in that state, valid until the next call of anything here or of the store.
  // kCorruption when the state has no such page.
  Result<ByteSpan> Read(Id pin, PageNumber number);

  Status Replaced(PageNumber number, ByteSpan content) override;

 private:
  struct State {
    uint32_t page_count = 0;
    std::unordered_map<PageNumber, uint64_t> kept;  // slots
  };
  // Pages by slot: in memory up to a bound, in a file beyond.
  Result<uint64_t> Keep(ByteSpan content);
  Result<ByteSpan> Kept(uint64_t slot);

  PageStore& store_;
  const uint32_t page_size_;
  std::deque<State> states_;  // ascending; ids first_id_, first_id_ + 1, ...
  Id first_id_ = 1;
  uint64_t slots_ = 0;
  std::vector<Bytes> memory_;
  std::optional<TargetFile> file_;
  Bytes buffer_;
};

// One state of a database, for reading.
class PageView {
 public:
  PageView(PagePins& pins, PagePins::Id pin, uint32_t page_size)
      : pins_(&pins), pin_(pin), page_size_(page_size) {}
  uint32_t page_size() const { return page_size_; }
  uint32_t page_count() const { return pins_->PageCount(pin_); }
  // As PagePins::Read.
  Result<ByteSpan> Read(PageNumber number) const { return pins_->Read(pin_, number); }

 private:
  PagePins* pins_;
  PagePins::Id pin_;
  uint32_t page_size_;
};

}  // namespace sqlite_s3

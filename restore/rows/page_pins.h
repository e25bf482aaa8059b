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
#include "restore/rows/page_view.h"
#include "restore/target_file.h"

namespace sqlite_s3 {

// One thread, the page store's.
class PagePins : public PageWatcher, public PageSource {
 public:
  using Id = uint64_t;  // 0: the state as it is now

  // `store` must outlive the pins and must not move forward without watching them.
  PagePins(PageStore& store, uint32_t page_size) : store_(store), page_size_(page_size) {}

  Id Pin();
  // Pages kept for pins that are gone stay until no pin is left.
  void UnpinAll();

  uint32_t PageCount(Id pin) const override;
  // Valid until the next call of anything here or of the store.
  Result<ByteSpan> Read(Id pin, PageNumber number) override;

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

}  // namespace sqlite_s3

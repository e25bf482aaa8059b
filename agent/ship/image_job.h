#pragma once
// ImageJob: an image of the database as of one TXID, being copied while commits go on. A page that
// a commit changes before its copy is set aside first, in memory up to a bound, then in a file.
//
// Guarded by the engine's capture mutex.

#include <cstdint>
#include <string>
#include <unordered_map>

#include "agent/ship/page_buffer.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

struct ImageJob {
  Txid txid;
  uint32_t page_size = 0;
  uint32_t page_count = 0;
  PageNumber cursor = 1;          // pages below it are copied
  PageNumber cut_off_cursor = 0;  // while hold_pin: pages cut off, below it, are set aside
  bool hold_pin = false;          // the database shrank: what was cut off must stay in file and WAL
  Status status;                  // of setting aside

  std::string spill_path;
  Fd spill;
  uint32_t spilled = 0;
  std::unordered_map<PageNumber, PagePtr> aside;
  std::unordered_map<PageNumber, uint32_t> aside_spilled;  // slot in the spill file

  bool Wants(PageNumber page) const {
    return page >= cursor && page <= page_count && !aside.contains(page) &&
           !aside_spilled.contains(page);
  }
  // Keeps the version as of txid. A failure is kept in `status` and ends the image, not the commit.
  void SetAside(PageNumber page, PagePtr previous, size_t memory_limit);
  // Moves the page set aside to `out`; false when there is none.
  Result<bool> Take(PageNumber page, std::span<uint8_t> out);
};

}  // namespace sqlite_s3

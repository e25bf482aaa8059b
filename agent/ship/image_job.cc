#include "agent/ship/image_job.h"

#include <fcntl.h>

#include <algorithm>

#include "common/os/file.h"

namespace sqlite_s3 {

void ImageJob::SetAside(PageNumber page, PagePtr previous, size_t memory_limit) {
  if ((aside.size() + 1) * page_size <= memory_limit) {
    aside.emplace(page, std::move(previous));
    return;
  }
  if (!spill.valid()) {
    auto opened = OpenFile(spill_path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (!opened.ok()) {
      status = opened.status();
      return;
    }
    spill = std::move(opened).value();
    // Nameless: a killed process leaves nothing behind. What stays under the name after an error is
    // truncated by the next image.
    (void)RemoveFile(spill_path);
  }
  Status written = WriteAt(spill, uint64_t{spilled} * page_size, previous.bytes(), spill_path);
  if (!written.ok()) {
    status = written;
    return;
  }
  aside_spilled.emplace(page, spilled++);
}

Result<bool> ImageJob::Take(PageNumber page, std::span<uint8_t> out) {
  auto it = aside.find(page);
  if (it != aside.end()) {
    ByteSpan bytes = it->second.bytes();
    std::copy(bytes.begin(), bytes.end(), out.begin());
    aside.erase(it);
    return true;
  }
  auto spilled_at = aside_spilled.find(page);
  if (spilled_at != aside_spilled.end()) {
    RETURN_IF_ERROR(
        ReadExactlyAt(spill, uint64_t{spilled_at->second} * page_size, out, spill_path));
    aside_spilled.erase(spilled_at);
    return true;
  }
  return false;
}

}  // namespace sqlite_s3

#include "restore/proof.h"

#include <algorithm>

#include "common/os/file.h"
#include "common/replica/ordered_fetch.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kStepBytes = 1 << 20;    // a read; stays in the processor's cache for hashing
constexpr uint64_t kSliceBytes = 32 << 20;  // a job

}  // namespace

Status ProveFile(const Fd& file, const std::string& path, uint32_t page_size, uint32_t page_count,
                 uint64_t db_checksum, const PageHasher& hasher, int parallelism,
                 Progress& progress) {
  const uint64_t size = uint64_t{page_count} * page_size;
  ASSIGN_OR_RETURN(const uint64_t actual_size, FileSize(file, path));
  if (actual_size != size) {
    return CorruptionError(path + ": has " + std::to_string(actual_size) + " bytes, not " +
                           std::to_string(size));
  }
  progress.Begin("verify", size);
  const PageNumber lock_page = LockBytePage(page_size);
  const auto sum_slice = [&](uint64_t begin, uint64_t end) -> Result<uint64_t> {
    Bytes buffer(std::min(kStepBytes, end - begin));
    uint64_t sum = 0;
    for (uint64_t at = begin; at < end; at += buffer.size()) {
      buffer.resize(std::min(kStepBytes, end - at));
      RETURN_IF_ERROR(ReadExactlyAt(file, at, buffer, path));
      for (uint64_t i = 0; i < buffer.size(); i += page_size) {
        const auto number = static_cast<PageNumber>((at + i) / page_size + 1);
        const ByteSpan page = ByteSpan(buffer).subspan(i, page_size);
        if (number != lock_page) {
          sum ^= hasher.Hash(number, page);
        } else if (std::any_of(page.begin(), page.end(), [](uint8_t b) { return b != 0; })) {
          return CorruptionError(path + ": the lock-byte page is not zero");
        }
      }
      progress.Add(buffer.size());
    }
    return sum;
  };
  OrderedFetch<uint64_t> slices(parallelism, UINT64_MAX);
  for (uint64_t at = 0; at < size; at += kSliceBytes) {
    const uint64_t end = std::min(at + kSliceBytes, size);
    slices.Push([&sum_slice, at, end] { return sum_slice(at, end); }, 0);
  }
  uint64_t sum = 0;
  while (slices.pending() > 0) {
    ASSIGN_OR_RETURN(const uint64_t slice, slices.Pop());
    sum ^= slice;
  }
  if (sum != db_checksum) {
    return CorruptionError(path + ": read back, it does not have the database checksum of the " +
                           "commit; hint: check the disk and the memory of this machine");
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

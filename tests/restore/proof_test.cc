#include "restore/proof.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "common/os/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

// What the disk gave back is hashed, whatever was written: a bit that went over there is found, and
// so is a page too few or too many.
TEST(ProofTest, AFileThatIsNotWhatTheCommitSaysIsNotProven) {
  constexpr uint32_t kPageSize = 512;
  constexpr uint32_t kPages = 5;
  const TempDir directory;
  const std::string path = directory.File("finished");
  const PageHasher hasher{ChecksumKey{}};
  Bytes content(kPages * kPageSize);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kPages; ++i) {
    const std::span<uint8_t> page = std::span(content).subspan(i * kPageSize, kPageSize);
    std::fill(page.begin(), page.end(), static_cast<uint8_t>(i + 1));
    sum ^= hasher.Hash(i + 1, page);
  }
  Progress progress(false);
  const auto prove = [&](const Bytes& bytes) -> Status {
    ASSIGN_OR_RETURN(Fd file, OpenFile(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
    RETURN_IF_ERROR(WriteAll(file, bytes, path));
    return ProveFile(file, path, kPageSize, kPages, sum, hasher, 2, progress);
  };
  EXPECT_OK(prove(content));
  for (size_t at : {size_t{0}, size_t{2 * kPageSize + 7}, content.size() - 1}) {
    Bytes other = content;
    other[at] ^= 0x10;
    EXPECT_STATUS(prove(other), StatusCode::kCorruption) << at;
  }
  Bytes other = content;
  other.resize(other.size() - kPageSize);
  EXPECT_STATUS(prove(other), StatusCode::kCorruption);
  other.resize(content.size() + kPageSize);
  EXPECT_STATUS(prove(other), StatusCode::kCorruption);
}

}  // namespace
}  // namespace sqlite_s3

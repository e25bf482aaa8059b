#pragma once
// Proof: the database checksum of a file, from its bytes as read back.

#include <cstdint>
#include <string>

#include "common/base/hash.h"
#include "common/os/fd.h"
#include "restore/progress.h"

namespace sqlite_s3 {

// kCorruption unless the file is exactly page_count pages long, zero in the lock-byte page, and has
// this checksum. Reads on `parallelism` threads.
Status ProveFile(const Fd& file, const std::string& path, uint32_t page_size, uint32_t page_count,
                 uint64_t db_checksum, const PageHasher& hasher, int parallelism,
                 Progress& progress);

}  // namespace sqlite_s3

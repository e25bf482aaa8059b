#include "agent/daemon/process_setup.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>

#include "common/base/clock.h"
#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {
namespace {

constexpr int kArenas = 2;
constexpr int64_t kTrimEveryMicros = 30'000'000;
constexpr int kMmapThresholdBytes = 64 << 10;  // larger blocks go back to the system at once

}  // namespace

Status SetUpMemory() {
  mallopt(M_ARENA_MAX, kArenas);
  mallopt(M_MMAP_THRESHOLD, kMmapThresholdBytes);
  for (const int rc : {sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0),
                       sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 1),
                       sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0)}) {
    if (rc != SQLITE_OK) {
      return InternalError("SQLite was in use before it was set up");
    }
  }
  return Status::Ok();
}

void TrimMemoryNowAndThen() {
  static std::atomic<int64_t> next_us{0};
  const int64_t now = Clock::Real().MonotonicMicros();
  int64_t due = next_us;
  if (now >= due && next_us.compare_exchange_strong(due, now + kTrimEveryMicros)) {
    malloc_trim(0);
  }
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);  // CheckDescriptorLimit says what there is
  }
}

uint64_t DescriptorLimit() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? uint64_t{limit.rlim_cur} : UINT64_MAX;
}

Status CheckDescriptorLimit(uint64_t databases, uint64_t limit) {
  const uint64_t needed =
      databases * kDescriptorsPerDatabase + kOtherDescriptors + std::min(databases, kMostForStarts);
  if (databases <= 1 || needed <= limit) {
    return Status::Ok();
  }
  return ResourceExhaustedError(fmt::format(
      "{} databases need {} file descriptors, and the limit is {}, hint: LimitNOFILE={} in the "
      "unit, or ulimit -n before the start",
      databases, needed, limit, needed));
}

}  // namespace sqlite_s3

#include "agent/daemon/process_setup.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {
namespace {

constexpr int kArenas = 2;
constexpr int kMmapThresholdBytes = 64 << 10;  // larger blocks go back to the system at once
constexpr uint64_t kOtherDescriptors = 128;    // logs, sockets, connections to stores

}  // namespace

Status SetUpProcess() {
  mallopt(M_ARENA_MAX, kArenas);
  mallopt(M_MMAP_THRESHOLD, kMmapThresholdBytes);
  for (const int rc : {sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0),
                       sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 1),
                       sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0)}) {
    if (rc != SQLITE_OK) {
      return InternalError("SQLite was in use before it was set up");
    }
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);  // CheckDescriptorLimit says what there is
  }
  return Status::Ok();
}

Status CheckDescriptorLimit(uint64_t databases) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return Status::Ok();
  }
  const uint64_t needed = databases * kDescriptorsPerDatabase + kOtherDescriptors;
  if (needed <= limit.rlim_cur) {
    return Status::Ok();
  }
  return ResourceExhaustedError(fmt::format(
      "{} databases may need {} file descriptors, and the limit is {}, hint: LimitNOFILE={} in the "
      "unit, or ulimit -Hn",
      databases, needed, limit.rlim_cur, needed));
}

}  // namespace sqlite_s3

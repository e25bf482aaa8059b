#pragma once
// What a process with many databases sets for itself before its first thread and its first use of
// SQLite. Only the agent's: the library leaves its host's settings alone.

#include <cstdint>

#include "common/base/status.h"

namespace sqlite_s3 {

// Memory: few arenas of malloc; of SQLite, no lookaside and page caches that begin with one page.
// Two pinned connections cost 228 KiB with its defaults. Descriptors: the soft limit is raised to
// the hard one. Errors: kInternal when SQLite is in use already.
Status SetUpProcess();

// How many descriptors a database takes at most, those of its moves between rest and work included.
inline constexpr uint64_t kDescriptorsPerDatabase = 12;

// Whether so many databases can be open at once. kResourceExhausted, with the limit's name.
Status CheckDescriptorLimit(uint64_t databases);

}  // namespace sqlite_s3

#pragma once
// What a process with many databases sets for itself before its first thread and its first use of
// SQLite. Only the agent's: the library leaves its host's settings alone.

#include <cstdint>

#include "common/base/status.h"

namespace sqlite_s3 {

// Memory: few arenas of malloc; of SQLite, no lookaside and page caches that begin with one page.
// Two pinned connections cost 228 KiB with its defaults. kInternal when SQLite is in use already.
Status SetUpMemory();

// Gives what malloc keeps back to the system, at most once in half a minute. Any thread.
void TrimMemoryNowAndThen();

// The soft limit becomes the hard one. After children were started: they keep theirs, for a program
// that uses select(2) cannot live with more.
void RaiseDescriptorLimit();

// What a database at rest has open, and what the rest of the process, those at work included, needs
// besides.
inline constexpr uint64_t kDescriptorsPerDatabase = 6;
inline constexpr uint64_t kOtherDescriptors = 512;
// Those that begin have one more each on average, until they are at rest, two seconds later.
inline constexpr uint64_t kMostForStarts = 1536;

// Whether so many databases fit the limit. kResourceExhausted, with the way out.
Status CheckDescriptorLimit(uint64_t databases, uint64_t limit);
// The limit of this process, now.
uint64_t DescriptorLimit();

}  // namespace sqlite_s3

#pragma once
// Durations and byte sizes as text, the way back. Parsing is in options.h, which is the public
// side.

#include <chrono>
#include <cstdint>
#include <string>

namespace sqlite_s3 {

// The largest unit that divides exactly: "250ms", "90s", "24h", "7d"; "0" for zero.
// REQUIRES: not negative.
std::string FormatDuration(std::chrono::milliseconds duration);
// "4MiB", "10000" (plain bytes) when no binary unit divides exactly.
std::string FormatByteSize(uint64_t bytes);

}  // namespace sqlite_s3

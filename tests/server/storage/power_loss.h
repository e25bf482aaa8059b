#pragma once
// A SQLite VFS over the default one that can lose power: what was written and not synced is gone,
// or, of each write by itself, perhaps gone.

namespace sqlite_s3::server {

// Makes that VFS the default. At the `k`-th write, truncation or sync (from 1, over all files) it
// puts every file back to its last sync, with `seed` 0; with another one, every unsynced write is
// kept or lost by chance, so that they may have reached the disk in any order. Then the process
// ends with kPowerLossExit. Call once, before anything is opened.
inline constexpr int kPowerLossExit = 77;
void LosePowerAt(long k, int seed);

}  // namespace sqlite_s3::server

#pragma once
// The frame of a subcommand that reads a replica's history: opens it, reads, again with an older
// image where one is damaged, and shows what was found, or the error.

#include <unistd.h>

#include "restore/command.h"
#include "restore/interrupt.h"
#include "restore/progress.h"

namespace sqlite_s3 {

// `read`: Result<T>(Replica&, Progress&, std::optional<Txid> image_before, Damage*). `show` gets
// the T, and returns the exit code. Returns the exit code.
template <typename T, typename Read, typename Show>
int RunOnReplica(const CommonOptions& common, const Read& read, const Show& show) {
  InstallSignalHandlers();
  auto opened = OpenReplica(common);
  if (!opened.ok()) {
    return Fail(opened.status(), common);
  }
  Progress progress(isatty(STDERR_FILENO) != 0 && !common.json);
  Damage damage;
  Result<T> found = WithOlderImages<T>(&damage, [&](std::optional<Txid> image_before) {
    return read(*opened->replica, progress, image_before, &damage);
  });
  progress.Done();
  return found.ok() ? show(*found) : Fail(found.status(), common, &damage);
}

}  // namespace sqlite_s3

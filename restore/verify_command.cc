// sqlite-s3-restore verify REPLICA: fetches every object of the history and replays every commit.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "common/base/clock.h"
#include "restore/command.h"
#include "restore/exit_codes.h"
#include "restore/verifier.h"

namespace sqlite_s3 {

int RunVerify(const VerifyCommand& command) {
  auto target = ParseRestoreTarget(command.until, Clock::Real().WallMicros());
  auto timeline = ParseTimelineOption(command.common.timeline);
  if (!target.ok() || !timeline.ok()) {
    return Fail(target.ok() ? timeline.status() : target.status(), command.common);
  }
  auto opened = OpenReplica(command.common);
  if (!opened.ok()) {
    return Fail(opened.status(), command.common);
  }
  Progress progress(isatty(STDERR_FILENO) != 0 && !command.common.json);
  auto report = VerifyReplica(*opened->replica, *target, *timeline, progress);
  progress.Done();
  if (!report.ok()) {
    return Fail(report.status(), command.common);
  }
  int code = 0;
  nlohmann::ordered_json damages = nlohmann::json::array();
  for (const VerifyFinding& finding : report->findings) {
    code = finding.missing ? kExitGap : ExitCodeFor(StatusCode::kCorruption);
    damages.push_back({{"message", finding.message}, {"missing", finding.missing}});
    if (!command.common.json) {
      std::fputs(("damaged: " + finding.message + "\n").c_str(), stderr);
    }
  }
  if (command.common.json) {
    PrintJson({{"ok", report->findings.empty()},
               {"images", report->images},
               {"commits", report->commits},
               {"restorable_from", FormatTxid(report->first)},
               {"restorable_to", FormatTxid(report->last)},
               {"bytes", report->bytes},
               {"damages", damages}});
  } else {
    fmt::print("{} images and {} commits replayed, {:.1f} MB; TXID {} to {} restorable{}\n",
               report->images, report->commits, static_cast<double>(report->bytes) / 1e6,
               FormatTxid(report->first), FormatTxid(report->last),
               report->findings.empty() ? "" : ", see the damage above");
  }
  return code;
}

}  // namespace sqlite_s3

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
    // Wrong bytes are the graver finding of the two.
    if (code != ExitCodeFor(StatusCode::kCorruption)) {
      code = finding.missing ? kExitGap : ExitCodeFor(StatusCode::kCorruption);
    }
    damages.push_back(
        {{"object", finding.object}, {"message", finding.message}, {"missing", finding.missing}});
    if (!command.common.json) {
      std::fputs(("damaged: " + finding.message + "\n").c_str(), stderr);
    }
  }
  if (command.common.json) {
    nlohmann::ordered_json restorable = nlohmann::json::array();
    for (const RestorableRange& range : report->restorable) {
      restorable.push_back({{"timeline", range.timeline.value},
                            {"first_txid", FormatTxid(range.first)},
                            {"last_txid", FormatTxid(range.last)}});
    }
    PrintJson({{"ok", report->findings.empty()},
               {"images", report->images},
               {"commits", report->commits},
               {"bytes", report->bytes},
               {"restorable", restorable},
               {"damages", damages}});
    return code;
  }
  for (const RestorableRange& range : report->restorable) {
    fmt::print("timeline {}: TXID {} to {} restorable\n", range.timeline.value,
               FormatTxid(range.first), FormatTxid(range.last));
  }
  fmt::print("{} images and {} commits replayed, {:.1f} MB{}\n", report->images, report->commits,
             static_cast<double>(report->bytes) / 1e6,
             report->findings.empty() ? "; no damage" : "; see the damage above");
  return code;
}

}  // namespace sqlite_s3

// sqlite-s3-restore undo REPLICA TXID: SQL that reverses one commit.

#include <fmt/format.h>

#include <cstdio>

#include "common/base/clock.h"
#include "common/os/file.h"
#include "restore/command.h"
#include "restore/exit_codes.h"
#include "restore/rows/apply_script.h"
#include "restore/rows/report.h"
#include "restore/rows/span.h"
#include "restore/rows/undo.h"
#include "restore/run_on_replica.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kShownConflicts = 100;

Result<UndoPlan> Plan(Replica& replica, const UndoCommand& command, Progress& progress,
                      std::optional<Txid> image_before, Damage* damage) {
  UndoOptions options;
  ASSIGN_OR_RETURN(options.timeline, ParseTimelineOption(command.common.timeline));
  ASSIGN_OR_RETURN(options.until, ParseRestoreTarget(command.until, Clock::Real().WallMicros()));
  ASSIGN_OR_RETURN(const RestoreTarget target,
                   ParseRestoreTarget(command.txid, Clock::Real().WallMicros()));
  if (std::holds_alternative<TargetTime>(target)) {
    return InvalidArgumentError("undo: '" + command.txid +
                                "' is a time, not a commit, hint: `log` tells the TXID");
  }
  ASSIGN_OR_RETURN(const Point point, ResolvePoint(replica, target, options.timeline, damage));
  if (point.txid.value == 0) {
    return InvalidArgumentError("undo: there is no TXID 0");
  }
  options.txid = point.txid;
  options.timeline = point.timeline;
  options.image_before = image_before;
  options.triggers_are_off = !command.apply.empty();
  return PlanUndo(replica, options, progress, damage);
}

std::string TxidList(const UndoConflict& conflict) {
  std::string text;
  for (const Txid txid : conflict.txids) {
    text.append(text.empty() ? "" : ", ").append(FormatTxid(txid));
  }
  return text;
}

nlohmann::ordered_json ToJson(const UndoPlan& plan) {
  nlohmann::ordered_json json = {{"txid", FormatTxid(plan.txid)},
                                 {"until", FormatTxid(plan.until)}};
  json["changes"] = ChangesToJson(plan.changes, /*rows=*/false);
  nlohmann::ordered_json conflicts = nlohmann::json::array();
  for (const UndoConflict& conflict : plan.conflicts) {
    nlohmann::ordered_json txids = nlohmann::json::array();
    for (const Txid txid : conflict.txids) {
      txids.push_back(FormatTxid(txid));
    }
    conflicts.push_back({{"table", conflict.table}, {"row", conflict.key}, {"txids", txids}});
  }
  json["conflicts"] = conflicts;
  json["obstacles"] = plan.obstacles;
  json["left_out"] = plan.left_out;
  json["rebuilt"] = plan.rebuilt;
  return json;
}

int Refuse(const UndoPlan& plan, const UndoCommand& command) {
  const std::string message = fmt::format(
      "TXID {} cannot be undone in the database as of TXID {}: {}", FormatTxid(plan.txid),
      FormatTxid(plan.until),
      !plan.conflicts.empty() ? fmt::format("{} of its rows changed later", plan.conflicts.size())
                              : plan.obstacles.front());
  const int code = ExitCodeFor(StatusCode::kFailedPrecondition);
  if (command.common.json) {
    nlohmann::ordered_json json = ToJson(plan);
    json["error"] = {{"code", StatusCodeName(StatusCode::kFailedPrecondition)},
                     {"exit_code", code},
                     {"message", message}};
    PrintJson(json);
    return code;
  }
  size_t shown = 0;
  for (const UndoConflict& conflict : plan.conflicts) {
    if (shown++ == kShownConflicts) {
      fmt::print(stderr, "... and {} more\n", plan.conflicts.size() - kShownConflicts);
      break;
    }
    fmt::print(stderr, "conflict: {} {}, changed by TXID {}\n", Printable(conflict.table),
               conflict.key, TxidList(conflict));
  }
  for (const std::string& obstacle : plan.obstacles) {
    fmt::print(stderr, "obstacle: {}\n", obstacle);
  }
  return Fail(FailedPreconditionError(message + ", hint: undo those first, or restore TXID " +
                                      FormatTxid(plan.txid.Prev()) + " beside it and merge"),
              command.common);
}

int Show(const UndoCommand& command, const UndoPlan& plan) {
  if (plan.script.empty()) {
    return Refuse(plan, command);
  }
  Status status;
  if (!command.apply.empty()) {
    status = ApplyScript(command.apply, plan.script);
  } else if (!command.output.empty()) {
    status = WriteFileAtomically(command.output, AsBytes(plan.script), 0600, Durability::kVisible);
  }
  if (!status.ok()) {
    return Fail(status, command.common);
  }
  if (command.common.json) {
    nlohmann::ordered_json json = ToJson(plan);
    if (!command.apply.empty()) {
      json["applied"] = command.apply;
    } else if (!command.output.empty()) {
      json["output"] = command.output;
    } else {
      json["script"] = plan.script;
    }
    PrintJson(json);
    return 0;
  }
  if (command.apply.empty() && command.output.empty()) {
    std::fputs(plan.script.c_str(), stdout);
    return 0;
  }
  fmt::print(stderr, "TXID {} {} in the database as of TXID {}; it had done:\n",
             FormatTxid(plan.txid), command.apply.empty() ? "can be undone" : "undone",
             FormatTxid(plan.until));
  std::fputs(ChangesToText(plan.changes, /*rows=*/false, "  ").c_str(), stderr);
  for (const std::string& table : plan.rebuilt) {
    fmt::print(stderr, "index of the full-text table '{}' made anew from its content\n",
               Printable(table));
  }
  for (const std::string& what : plan.left_out) {
    fmt::print(stderr, "left as it is: {}\n", what);
  }
  return 0;
}

}  // namespace

int RunUndo(const UndoCommand& command) {
  return RunOnReplica<UndoPlan>(
      command.common,
      [&](Replica& replica, Progress& progress, std::optional<Txid> image_before, Damage* damage) {
        return Plan(replica, command, progress, image_before, damage);
      },
      [&](const UndoPlan& plan) { return Show(command, plan); });
}

}  // namespace sqlite_s3

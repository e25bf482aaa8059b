#include "agent/ship/policy.h"

#include <algorithm>

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMinImageLogBytes = 8 << 20;
// Times the first pause.
constexpr int kMostRetry = 4;
constexpr int kMostRetryLocal = 16;

}  // namespace

CutDecision DecideCut(const CutInputs& in, const ShipOptions& options) {
  if (in.commits == 0) {
    return CutDecision::kNo;
  }
  // While an upload is on its way, commits gather for the next segment (group commit): only size
  // makes one early.
  const bool of_age = in.age_us >= options.interval.count() * 1000 && in.paced_us <= 0;
  const bool due = in.bytes >= options.segment_bytes || (in.uploader_idle && (in.waiter || of_age));
  if (!due) {
    return CutDecision::kNo;
  }
  // An empty spool takes anything: what is larger than the bound must go out too.
  return in.spool_bytes > 0 && in.spool_bytes + in.bytes > options.spool_bytes ? CutDecision::kFull
                                                                               : CutDecision::kCut;
}

int64_t MicrosUntilCut(const CutInputs& in, const ShipOptions& options) {
  return std::max<int64_t>({options.interval.count() * 1000 - in.age_us, in.paced_us, 0});
}

bool DecideImage(const ImageInputs& in, const ShipOptions& options) {
  if (in.running) {
    return false;
  }
  if (!in.has_image) {
    return true;
  }
  if (!in.changed || in.over_budget) {
    return false;  // never when idle
  }
  if (options.image_log_percent > 0) {
    uint64_t share = in.image_bytes / 100 * static_cast<uint64_t>(options.image_log_percent);
    if (in.log_bytes > std::max(share, kMinImageLogBytes)) {
      return true;
    }
  }
  return options.image_interval.count() > 0 && in.age_us >= options.image_interval.count() * 1000;
}

StartAction DecideStart(const StartInputs& in) {
  if (in.replica_is_new || (in.replica_empty && in.ours)) {
    return StartAction::kOrigin;
  }
  const bool at_head =
      in.live_checksum == in.head_checksum && in.live_page_count == in.head_page_count;
  if (!in.replica_empty && at_head) {
    return StartAction::kContinue;  // whoever wrote it: this is that database
  }
  if (in.ours) {
    if (in.tail_verified) {
      return StartAction::kShipTail;
    }
    if (in.older) {
      return in.on_conflict == OnConflict::kFork ? StartAction::kFork : StartAction::kNewTimeline;
    }
    return StartAction::kResync;
  }
  if (in.passed_head && !in.replica_empty) {
    return StartAction::kResync;  // the same database, moved, and a few commits further
  }
  switch (in.on_conflict) {
    case OnConflict::kTakeOver:
      return in.replica_empty ? StartAction::kOrigin : StartAction::kResync;
    case OnConflict::kFork:
      return in.replica_empty ? StartAction::kOrigin : StartAction::kFork;
    case OnConflict::kRefuse:
      break;
  }
  return StartAction::kRefuse;
}

std::chrono::milliseconds NextRetryPause(std::chrono::milliseconds last,
                                         std::chrono::milliseconds first, bool local) {
  return std::clamp(last * 2, first, first * (local ? kMostRetryLocal : kMostRetry));
}

std::string RefusalMessage(const StartInputs& in, const std::string& replica) {
  std::string message = "replica " + replica + " belongs to another writer, and this database is ";
  message += in.older ? "at its older TXID " + FormatTxid(*in.older) : "not at its head";
  message +=
      ", hint: use another replica; or on_conflict=fork to start a new timeline beside the other "
      "writer's; or on_conflict=take-over to go on in its place with what differs";
  return message;
}

}  // namespace sqlite_s3

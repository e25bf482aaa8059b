#include "agent/daemon/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "agent/daemon/database_file.h"
#include "agent/daemon/live_state.h"
#include "common/format/keys.h"
#include "common/replica/restore_plan.h"
#include "common/replica/store_address.h"
#include "common/store/open_store.h"
#include "common/store/retrying_store.h"

namespace sqlite_s3 {
namespace {

using Json = nlohmann::ordered_json;
using std::chrono::milliseconds;

constexpr int kMostTries = 5;

Status CheckThere(Replica& replica, const std::string& key, uint64_t size_bytes) {
  ASSIGN_OR_RETURN(const ObjectInfo info, replica.store().Head(key));
  if (info.size_bytes != size_bytes) {
    return CorruptionError(fmt::format("{}: has {} bytes, not the {} that the replica says of it",
                                       key, info.size_bytes, size_bytes));
  }
  return Status::Ok();
}

// A manifest, and a segment, is written when all parts are there; somebody may have deleted one
// since.
Status CheckParts(Replica& replica, const ImageManifest& image,
                  const std::vector<PlannedPart>& of_commits) {
  for (const ImagePartInfo& part : image.parts) {
    const std::string key = keys::ImagePart(image.timeline, image.txid, image.nonce, part.number);
    RETURN_IF_ERROR(CheckThere(replica, key, part.size_bytes));
  }
  for (const PlannedPart& part : of_commits) {
    RETURN_IF_ERROR(CheckThere(replica, part.key, part.size_bytes));
  }
  return Status::Ok();
}

bool Equal(const LiveState& live, uint32_t page_count, uint64_t checksum) {
  return live.page_count == page_count && live.checksum == checksum;
}

// The commit from `first` to the plan's that is the live database; none: 0.
Result<Txid> FindLive(Replica& replica, const RestorePlan& plan, Txid first,
                      const LiveState& live) {
  if (Equal(live, plan.page_count, plan.db_checksum)) {
    return plan.txid;
  }
  if (first >= plan.txid) {
    return Txid();
  }
  ASSIGN_OR_RETURN(const auto timelines, replica.ListTimelines());
  ASSIGN_OR_RETURN(const auto chain, replica.ReadChain(timelines, plan.timeline, first, plan.txid));
  for (const SegmentSummary& segment : chain) {
    Txid txid = segment.last_txid;
    for (auto at = segment.commits.rbegin(); at != segment.commits.rend(); ++at) {
      if (txid >= first && Equal(live, at->page_count, at->db_checksum)) {
        return txid;
      }
      txid = txid.Prev();
    }
  }
  return Txid();
}

}  // namespace

Result<Json> VerifyDatabase(const DatabaseSpec& spec, Engine* engine, milliseconds timeout,
                            RetryWaiter pause) {
  const int64_t until = Clock::Real().MonotonicMicros() + timeout.count() * 1000;
  const auto left = [&] {
    return milliseconds(std::max<int64_t>((until - Clock::Real().MonotonicMicros()) / 1000, 0));
  };
  ASSIGN_OR_RETURN(std::shared_ptr<ObjectStore> store,
                   OpenStore(AddressOf(spec.replica.location, StoreUse::kRead)));
  RetryPolicy patience;
  patience.deadline = timeout;
  RetryingStore retrying(std::move(store), patience, std::move(pause));
  Replica replica(retrying);
  RETURN_IF_ERROR(replica.Open());
  const PageHasher hasher(replica.document().checksum_key);
  ASSIGN_OR_RETURN(const DatabaseFile file, FindDatabaseFile(spec.path));
  if (engine == nullptr) {
    RETURN_IF_ERROR(CheckReadyToShip(file));
  }
  for (int tries = 1;; ++tries) {
    Txid before;
    Txid after;
    std::optional<TimelineId> timeline;
    if (engine != nullptr) {
      RETURN_IF_ERROR(engine->Sync(left(), &before));
    }
    ASSIGN_OR_RETURN(const LiveState live, ReadLiveState(file.path, hasher));
    RestoreTarget target = TargetLatest();
    if (engine != nullptr) {
      RETURN_IF_ERROR(engine->Sync(left(), &after));
      timeline = TimelineId{engine->GetStatus(false).timeline};
      target = after;
    }
    Damage damage;
    std::vector<PlannedPart> parts;
    const auto plan = PlanRestore(replica, target, {timeline, std::nullopt, &parts}, &damage);
    RETURN_IF_ERROR(plan.status());
    Txid txid;
    if (live.page_size == plan->page_size) {
      ASSIGN_OR_RETURN(txid,
                       FindLive(replica, *plan, engine != nullptr ? before : plan->txid, live));
    }
    if (txid) {
      RETURN_IF_ERROR(CheckParts(replica, plan->image, parts));
      return Json{{"database", spec.path},
                  {"txid", FormatTxid(txid)},
                  {"checksum", fmt::format("{:016x}", live.checksum)},
                  {"page_count", live.page_count},
                  {"image_txid", FormatTxid(plan->image.txid)},
                  {"segments", plan->segments.size()},
                  {"commits", plan->commit_count}};
    }
    if (engine == nullptr) {
      return FailedPreconditionError(fmt::format(
          "database '{}' is not what the replica's head, TXID {}, has, hint: run --once ships the "
          "difference, verify compares again",
          spec.path, FormatTxid(plan->txid)));
    }
    // Commits that share a restore point are not told apart there: a quiet moment decides.
    if (before == after) {
      return CorruptionError(fmt::format(
          "the replica leads to another database than '{}': at TXID {} the checksum is {:016x}, "
          "not {:016x}, hint: `image` ships it anew; please report this",
          spec.path, FormatTxid(plan->txid), plan->db_checksum, live.checksum));
    }
    if (tries == kMostTries) {
      return UnavailableError("database '" + spec.path +
                              "' was not quiet enough to be compared, hint: try again");
    }
  }
}

}  // namespace sqlite_s3

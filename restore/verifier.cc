#include "restore/verifier.h"

#include "restore/restorer.h"

namespace sqlite_s3 {
namespace {

bool IsDamage(const Status& status) {
  return status.code() == StatusCode::kCorruption || status.code() == StatusCode::kNotFound;
}

}  // namespace

// Each image is the start of a restore to the TXID of the next one (the last: to the target), done
// as a dry run to a file that is never published: then every commit was replayed once, and every
// image compared with what the log before it leads to.
Result<VerifyReport> VerifyReplica(Replica& replica, const RestoreTarget& target,
                                   std::optional<TimelineId> timeline, Progress& progress) {
  VerifyReport report;
  Damage damage;
  auto final_plan = PlanRestore(replica, target, {timeline, std::nullopt}, &damage);
  Txid to;
  TimelineId line;
  ASSIGN_OR_RETURN(auto timelines, replica.ListTimelines());
  if (final_plan.ok()) {
    to = final_plan->txid;
    line = final_plan->timeline;
  } else if (damage.key.empty()) {
    return final_plan.status();
  } else {
    report.findings.push_back({final_plan.status().message(), damage.missing});
    if (!damage.best) {
      return report;
    }
    to = *damage.best;
    if (timeline) {
      line = *timeline;
    } else {
      ASSIGN_OR_RETURN(line, Replica::LatestTimeline(timelines));
    }
  }
  ASSIGN_OR_RETURN(auto ancestry, Replica::Ancestry(timelines, line));
  std::vector<std::string> problems;
  ASSIGN_OR_RETURN(auto images, ImagesOfHistory(replica, ancestry, &problems));
  for (const std::string& problem : problems) {
    report.findings.push_back({problem, false});
  }
  for (size_t i = 0; i < images.size() && images[i].txid <= to; ++i) {
    const bool newest = i + 1 == images.size() || images[i + 1].txid > to;
    RestoreOptions options;
    options.output = "-";  // a temporary file, never published
    options.target = newest ? to : images[i + 1].txid;
    options.timeline = line;
    Restorer restorer(replica, options, progress);
    Damage here;
    auto checked = restorer.CheckOnly(images[i].txid, &here);
    if (checked.ok()) {
      ++report.images;
      report.commits += checked->commits_applied;
      report.bytes += checked->bytes_fetched;
      report.first = report.first ? report.first : images[i].txid;
      report.last = checked->plan.txid;
      continue;
    }
    if (!IsDamage(checked.status())) {
      return checked.status();
    }
    report.findings.push_back(
        {checked.status().message(), here.missing || checked.code() == StatusCode::kNotFound});
  }
  return report;
}

}  // namespace sqlite_s3

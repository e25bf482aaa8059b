#include "restore/rows/history_cursor.h"

#include <algorithm>

#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kCacheBytes = uint64_t{128} << 20;
constexpr uint64_t kAheadBytes = uint64_t{64} << 20;
constexpr size_t kPrefetchPages = 1 << 20;  // of one segment; the rest is read as it comes

}  // namespace

HistoryCursor::HistoryCursor(Replica& replica, RestorePlan plan, TargetFile file,
                             Progress& progress, Damage* damage)
    : replica_(replica),
      plan_(std::move(plan)),
      progress_(progress),
      damage_(damage),
      hasher_(replica.document().checksum_key),
      file_(std::move(file)),
      store_(file_.fd(), file_.path(), plan_.page_size, hasher_, kCacheBytes),
      image_(replica, plan_.image, file_.fd(), file_.path(), hasher_, damage),
      pins_(store_, plan_.page_size),
      applier_(replica, store_, plan_.page_size),
      txid_(plan_.image.txid),
      fetch_(replica.parallelism(), kAheadBytes) {
  store_.ReadBeneath(&image_);
  store_.Watch(&pins_);
  store_.SetState(plan_.image.page_count, plan_.image.db_checksum);
}

Result<std::unique_ptr<HistoryCursor>> HistoryCursor::Open(Replica& replica, const Options& options,
                                                           Progress& progress, Damage* damage) {
  PlanOptions plan_options{options.timeline, options.from.Next()};
  if (options.image_before) {
    plan_options.image_before = std::min(*plan_options.image_before, *options.image_before);
  }
  progress.Begin("plan", 0);
  auto plan = PlanRestore(replica, options.target, plan_options, damage);
  if (plan.code() == StatusCode::kNotFound && damage->key.empty() && !options.image_before &&
      plan.status().message() == "there is no older image") {
    return NotFoundError("TXID " + FormatTxid(options.from) +
                         " is before the first restore point, hint: `list` shows them");
  }
  RETURN_IF_ERROR(plan.status());
  ASSIGN_OR_RETURN(TargetFile file, TargetFile::Create(""));
  // A sparse file of the largest size on the way: nothing on disk but what is read.
  RETURN_IF_ERROR(
      TruncateFile(file.fd(), uint64_t{plan->max_page_count} * plan->page_size, file.path()));
  std::unique_ptr<HistoryCursor> cursor(
      new HistoryCursor(replica, std::move(*plan), std::move(file), progress, damage));
  RETURN_IF_ERROR(cursor->image_.Open());
  uint64_t total_bytes = 0;
  for (const SegmentSummary& s : cursor->plan_.segments) {
    total_bytes += s.size_bytes;
    cursor->fetch_.Push([&replica, &s] { return replica.ReadSegment(s); }, s.size_bytes);
  }
  progress.Begin("log", total_bytes);
  return cursor;
}

Status HistoryCursor::LoadNextSegment() {
  const SegmentSummary& summary = plan_.segments[next_segment_++];
  auto segment = fetch_.Pop();
  if (!segment.ok()) {
    if (segment.code() == StatusCode::kCorruption || segment.code() == StatusCode::kNotFound) {
      *damage_ = {summary.key, segment.code() == StatusCode::kNotFound, std::nullopt, std::nullopt};
    }
    return segment.status();
  }
  segment_ = std::move(*segment);
  segment_key_ = summary.key;
  segment_last_ = std::min(summary.last_txid, plan_.txid);
  log_bytes_ += summary.size_bytes;
  progress_.Add(summary.size_bytes);
  // The bases of all its commits, in parallel.
  std::vector<PageNumber> bases;
  for (const CommitRecord& record : segment_->commits) {
    if (bases.size() < kPrefetchPages) {
      bases.insert(bases.end(), record.pages.begin(), record.pages.end());
    }
  }
  return image_.Prefetch(bases);
}

Status HistoryCursor::Step() {
  const Txid next = txid_.Next();
  while (!segment_ || next > segment_last_) {
    RETURN_IF_ERROR(LoadNextSegment());
    statements_ = {};
    if (segment_ && !segment_->statements.empty()) {
      auto parsed = ParseStatements(segment_->statements, segment_->header.commit_count);
      if (parsed.ok()) {  // a log that cannot be read takes nothing from what the pages say
        statements_ = std::move(parsed).value();
      }
    }
    if (segment_) {
      statements_.commits.resize(segment_->commits.size());
    }
  }
  const size_t index = next.value - segment_->header.first_txid.value;
  RETURN_IF_ERROR(applier_.Apply(*segment_, index, segment_key_, damage_));
  txid_ = next;
  record_ = segment_->commits[index];
  changed_.insert(changed_.end(), record_->pages.begin(), record_->pages.end());
  return Status::Ok();
}

Status HistoryCursor::AdvanceTo(Txid txid) {
  while (txid_ < txid) {
    RETURN_IF_ERROR(Step());
  }
  return Status::Ok();
}

std::vector<PageNumber> HistoryCursor::TakeChanged() {
  std::sort(changed_.begin(), changed_.end());
  changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
  return std::exchange(changed_, {});
}

}  // namespace sqlite_s3

#pragma once
// HistoryCursor: a replica's database at one TXID, moved forward commit by commit, without
// restoring it: the image is read page by page as needed, the log is applied as a restore does,
// with the database checksum compared after every commit.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/format/statements.h"
#include "common/replica/ordered_fetch.h"
#include "common/replica/restore_plan.h"
#include "restore/applier.h"
#include "restore/progress.h"
#include "restore/rows/btree.h"
#include "restore/rows/lazy_image.h"
#include "restore/rows/page_pins.h"
#include "restore/target_file.h"

namespace sqlite_s3 {

// One thread.
class HistoryCursor {
 public:
  struct Options {
    RestoreTarget target = TargetLatest{};  // the last TXID that will be asked for
    Txid from;                              // the first state that will be asked for
    std::optional<TimelineId> timeline;
    std::optional<Txid> image_before;  // as in PlanOptions: later ones are damaged
  };
  // All must outlive the cursor. Errors: as PlanRestore's; kNotFound also when there is no image at
  // or before `from`. Then `damage` says what an error is about, if it is about an object: also
  // after errors of the other methods.
  static Result<std::unique_ptr<HistoryCursor>> Open(Replica& replica, const Options& options,
                                                     Progress& progress, Damage* damage);
  HistoryCursor(const HistoryCursor&) = delete;
  HistoryCursor& operator=(const HistoryCursor&) = delete;

  const RestorePlan& plan() const { return plan_; }
  Txid txid() const { return txid_; }
  Txid last() const { return plan_.txid; }
  // What the commit that led to txid() says of itself; absent right after Open.
  const std::optional<CommitRecord>& record() const { return record_; }
  // The statements of that commit, where they were recorded. REQUIRES: record().
  const CommitStatements& statements() const {
    return statements_.commits[txid_.value - segment_->header.first_txid.value];
  }

  // Applies commits up to `txid`, within the plan. REQUIRES: txid() <= txid <= last().
  Status AdvanceTo(Txid txid);
  // One commit. REQUIRES: txid() < last().
  Status Step();

  // Page numbers that the commits since the last call said they changed; sorted, each once. Pages
  // that were cut off are not among them.
  std::vector<PageNumber> TakeChanged();

  PagePins::Id Pin() { return pins_.Pin(); }
  void UnpinAll() { pins_.UnpinAll(); }
  PageView View(PagePins::Id pin) { return {pins_, pin, plan_.page_size}; }
  PageView Now() { return View(0); }
  // Reads ahead what is going to be read.
  Status Prefetch(std::span<const PageNumber> numbers) { return image_.Prefetch(numbers); }
  PrefetchFunction Prefetcher() {
    return [this](std::span<const PageNumber> numbers) { return Prefetch(numbers); };
  }
  uint64_t bytes_fetched() const { return image_.bytes_fetched() + log_bytes_; }

 private:
  HistoryCursor(Replica& replica, RestorePlan plan, TargetFile file, Progress& progress,
                Damage* damage);
  Status LoadNextSegment();

  Replica& replica_;
  RestorePlan plan_;
  Progress& progress_;
  Damage* const damage_;
  const PageHasher hasher_;
  TargetFile file_;
  PageStore store_;
  LazyImage image_;
  PagePins pins_;
  Applier applier_;
  Txid txid_;
  std::optional<CommitRecord> record_;
  std::vector<PageNumber> changed_;
  OrderedFetch<Segment> fetch_;
  size_t next_segment_ = 0;  // of plan_.segments
  std::optional<Segment> segment_;
  StatementLog statements_;  // of segment_, one for each commit
  std::string segment_key_;
  Txid segment_last_;
  uint64_t log_bytes_ = 0;
};

}  // namespace sqlite_s3

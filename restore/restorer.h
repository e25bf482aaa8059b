#pragma once
// Restorer: from a plan to a proved database file. The steps and their order are in Run().

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/replica/restore_plan.h"
#include "restore/page_store.h"
#include "restore/progress.h"
#include "restore/sql_replayer.h"
#include "restore/target_file.h"

namespace sqlite_s3 {

enum class RestoreVia { kPages, kCheckpoint, kSql };
enum class VerifyLevel { kNone, kQuick, kFull };

struct RestoreOptions {
  std::string output;  // path, or "-" for standard output
  RestoreTarget target = TargetLatest{};
  std::optional<TimelineId> timeline;
  RestoreVia via = RestoreVia::kPages;
  VerifyLevel verify = VerifyLevel::kNone;
  bool force = false;
  bool if_not_exists = false;
  bool dry_run = false;
  uint64_t max_size_bytes = 0;  // of the restored file; 0 = what the disk has
  uint64_t cache_bytes = uint64_t{256} << 20;
  uint64_t wal_bytes = uint64_t{256} << 20;  // kCheckpoint: of WAL between two checkpoints
  // kSql: an error at the first commit that its statements do not make (kFailedPrecondition).
  bool strict = false;
  // kSql: commits that are not executed. What comes after the first of them cannot be compared with
  // anything, and is executed as it was.
  std::vector<Txid> skip;   // ascending
  double sql_seconds = 30;  // kSql: longest time of one commit's statements
  // kSql: commits that take their pages and are not executed.
  std::vector<Txid> take_pages;
  // kSql: the statements of this commit take longer and cannot be interrupted (see Watchdog). From
  // another thread; ends the process.
  std::function<void(Txid)> on_stuck;
};

// A commit of a restore by SQL that took its pages, and why.
struct ByPages {
  Txid txid;
  std::string reason;
};
// A commit after a skipped one that did not do what it had done.
struct ChangedCommit {
  Txid txid;
  std::string what;
};

struct RestoreReport {
  RestorePlan plan;
  bool existed = false;  // --if-not-exists: nothing was done
  std::vector<std::string> moved_aside;
  std::vector<std::string> problems;  // damaged images that were passed over for older ones
  uint64_t commits_applied = 0;
  uint64_t bytes_fetched = 0;  // of images, segments and parts; a segment is fetched once
  uint64_t objects_fetched = 0;
  // kSql. The commits that their statements made; those that needed their pages.
  uint64_t commits_by_sql = 0, commits_by_pages = 0;
  std::vector<ByPages> by_pages;  // the first kMostByPages
  static constexpr size_t kMostByPages = 100'000;
  // Restore with `skip`: commits executed after the first skipped one, and what was different.
  uint64_t commits_free = 0;
  std::vector<ChangedCommit> changed;
  // Of the restored database: the plan's, but after a skipped commit.
  uint32_t page_count = 0;
  uint64_t db_checksum = 0;
  std::vector<std::string> warnings;  // another SQLite than the one recorded
  // Waiting for the store, and applying or executing what came, the image's part included.
  double fetch_seconds = 0, replay_seconds = 0;
  double plan_seconds = 0, image_seconds = 0, log_seconds = 0, verify_seconds = 0;
};

class Applier;

// One use. Fetches with the replica's parallelism.
class Restorer {
 public:
  // All must outlive the restorer.
  Restorer(Replica& replica, const RestoreOptions& options, Progress& progress);
  // Errors: as PlanRestore's, then kFailedPrecondition (target or its -wal, -shm, -journal exists),
  // kResourceExhausted (disk space, --max-size), kCorruption (the proof failed). After an error
  // nothing is under the final name that was not there before, and no other file is left; `damage`
  // names the object that an error is about, if it is about one.
  Result<RestoreReport> Run(Damage* damage);
  // Fetches, replays and proves, from exactly the image of `image`, and publishes nothing.
  Result<RestoreReport> CheckOnly(Txid image, Damage* damage);

 private:
  bool ToStdout() const { return options_.output == "-"; }
  std::string Directory() const;
  Status CheckSpace() const;
  Status OpenTarget();
  Status PlanAndLoadImage(PlanOptions plan_options, Damage* damage);
  Status LoadPlannedImage(Damage* damage);
  Status ReplayLog(Damage* damage);
  Status ReplayBySql(const Segment& segment, const std::string& key, Txid first, Txid last,
                     Applier& applier, Damage* damage);
  Status ExecuteFreely(const CommitStatements& commit, Txid txid);
  void WarnOfOtherSqlite(const SegmentHeader& header, const StatementLog& log);
  Status Prove();
  Status CheckWithSqlite() const;
  Status CopyToStdout() const;

  Replica& replica_;
  const RestoreOptions options_;
  Progress& progress_;
  const PageHasher hasher_;
  RestoreReport report_;
  const RestorePlan& plan_ = report_.plan;  // so that only planning writes it
  std::optional<TargetFile> file_;
  std::optional<PageStore> pages_;      // over file_
  std::optional<SqlReplayer> sql_;      // over pages_
  bool diverged_ = false;               // a commit was skipped
  std::atomic<uint64_t> executing_{0};  // TXID, for on_stuck
};

}  // namespace sqlite_s3

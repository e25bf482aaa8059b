#pragma once
// Restorer: from a plan to a proved database file. The steps and their order are in Run().

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "common/replica/restore_plan.h"
#include "restore/page_store.h"
#include "restore/progress.h"

namespace sqlite_s3 {

enum class RestoreVia { kPages, kCheckpoint };
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
  int parallel = 0;             // 0 = processors
  uint64_t max_size_bytes = 0;  // of the restored file; 0 = what the disk has
  uint64_t cache_bytes = uint64_t{256} << 20;
};

struct RestoreReport {
  RestorePlan plan;
  bool existed = false;  // --if-not-exists: nothing was done
  std::vector<std::string> moved_aside;
  uint64_t commits_applied = 0;
  uint64_t bytes_fetched = 0;
  double plan_seconds = 0, image_seconds = 0, log_seconds = 0, verify_seconds = 0;
};

class Restorer {
 public:
  // All must outlive the restorer.
  Restorer(Replica& replica, const RestoreOptions& options, Progress& progress);
  ~Restorer();
  // Errors: as PlanRestore's, then kFailedPrecondition (target or its -wal, -shm, -journal exists),
  // kResourceExhausted (disk space, --max-size), kCorruption (the proof failed). After an error
  // nothing is under the final name that was not there before.
  Result<RestoreReport> Run(Damage* damage);
  // Fetches, replays and proves, from exactly the image of `image`, and publishes nothing.
  Result<RestoreReport> CheckOnly(Txid image, Damage* damage);

 private:
  Status RefuseExisting();
  Status CheckSpace(const RestorePlan& plan);
  Status OpenTemporary();
  Status LoadImage(const RestorePlan& plan);
  Status LoadImagePart(const RestorePlan& plan, const ImagePartInfo& info);
  Status ReplayLog(const RestorePlan& plan);
  Status Prove(const RestorePlan& plan);
  Status CheckWithSqlite();
  Status Publish();
  Status MoveAside();
  Status CopyToStdout(uint64_t size_bytes);
  Status InParallel(size_t jobs, const std::function<Status(size_t)>& job);

  Replica& replica_;
  const RestoreOptions options_;
  Progress& progress_;
  RestoreReport report_;
  std::string temporary_;
  std::unique_ptr<PageStore> pages_;
  std::mutex image_mutex_;
  std::vector<bool> image_seen_;
  uint64_t image_pages_ = 0;
  uint64_t image_checksum_ = 0;
};

}  // namespace sqlite_s3

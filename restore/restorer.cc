#include "restore/restorer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "common/os/file.h"
#include "common/replica/ordered_fetch.h"
#include "common/sqlite/connection.h"
#include "restore/applier.h"
#include "restore/image_loader.h"
#include "restore/proof.h"
#include "restore/wal_rebuilder.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kAheadBytes = uint64_t{64} << 20;  // segments fetched before they are needed
constexpr uint64_t kSpaceMargin = uint64_t{1} << 20;

// Adds the time of its life.
class Stopwatch {
 public:
  explicit Stopwatch(double* seconds) : seconds_(seconds) {}
  ~Stopwatch() {
    *seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double* const seconds_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

bool IsDamage(StatusCode code) {
  return code == StatusCode::kCorruption || code == StatusCode::kNotFound;
}

}  // namespace

Restorer::Restorer(Replica& replica, const RestoreOptions& options, Progress& progress)
    : replica_(replica),
      options_(options),
      progress_(progress),
      hasher_(replica.document().checksum_key) {}

Result<RestoreReport> Restorer::Run(Damage* damage) {
  if (!ToStdout()) {
    if (options_.if_not_exists) {
      ASSIGN_OR_RETURN(const bool exists, NameExists(options_.output));
      if (exists) {
        report_.existed = true;
        return report_;
      }
    }
    if (!options_.force) {
      RETURN_IF_ERROR(RefuseExistingTarget(options_.output));
    }
  }
  PlanOptions plan_options{options_.timeline, std::nullopt};
  if (!options_.skip.empty()) {
    plan_options.image_before = options_.skip.front();
  }
  RETURN_IF_ERROR(PlanAndLoadImage(plan_options, damage));
  if (!options_.skip.empty() && options_.skip.back() > plan_.txid) {
    return InvalidArgumentError("TXID " + FormatTxid(options_.skip.back()) +
                                " is to be skipped, but the restore ends at " +
                                FormatTxid(plan_.txid));
  }
  if (options_.dry_run) {
    return report_;
  }
  RETURN_IF_ERROR(ReplayLog(damage));
  // Before the file has a name that anybody trusts, and from its bytes, not from what we remember.
  RETURN_IF_ERROR(Prove());
  RETURN_IF_ERROR(CheckWithSqlite());
  if (ToStdout()) {
    RETURN_IF_ERROR(CopyToStdout());
  } else {
    RETURN_IF_ERROR(file_->Publish(options_.force, &report_.moved_aside));
  }
  progress_.Done();
  return report_;
}

Result<RestoreReport> Restorer::CheckOnly(Txid image, Damage* damage) {
  {
    // "Before the next TXID" makes it the newest image that may be used.
    const PlanOptions plan_options{options_.timeline, image.Next()};
    ASSIGN_OR_RETURN(report_.plan, PlanRestore(replica_, options_.target, plan_options, damage));
  }
  RETURN_IF_ERROR(CheckSpace());
  RETURN_IF_ERROR(LoadPlannedImage(damage));
  RETURN_IF_ERROR(ReplayLog(damage));
  RETURN_IF_ERROR(Prove());
  progress_.Done();
  return report_;
}

// The newest image will do, and any older one if the log reaches back to it: then damage of the
// newer ones costs time and is reported, no more.
Status Restorer::PlanAndLoadImage(PlanOptions plan_options, Damage* damage) {
  std::optional<Status> first_error;
  Damage first_damage;
  while (true) {
    Damage here;
    Result<RestorePlan> plan = [&] {
      const Stopwatch stopwatch(&report_.plan_seconds);
      return PlanRestore(replica_, options_.target, plan_options, &here);
    }();
    Status status = plan.status();
    if (plan.ok()) {
      report_.plan = std::move(*plan);
      RETURN_IF_ERROR(CheckSpace());
      if (options_.dry_run) {
        return Status::Ok();
      }
      status = LoadPlannedImage(&here);
      if (status.ok()) {
        return status;
      }
    }
    if (!first_error) {
      first_error = status;
      first_damage = here;
    }
    if (!here.image || !IsDamage(status.code())) {
      *damage = first_damage;
      return *first_error;  // the newest image's, when the older ones are of no help either
    }
    report_.problems.push_back(status.message());
    plan_options.image_before = here.image;
  }
}

Status Restorer::LoadPlannedImage(Damage* damage) {
  RETURN_IF_ERROR(OpenTarget());
  const Stopwatch stopwatch(&report_.image_seconds);
  const Stopwatch fetching(&report_.fetch_seconds);
  RETURN_IF_ERROR(LoadImage(replica_, plan_.image, *pages_, file_->path(), progress_, damage));
  report_.objects_fetched += plan_.image.parts.size();
  for (const ImagePartInfo& part : plan_.image.parts) {
    report_.bytes_fetched += part.size_bytes;
  }
  return Status::Ok();
}

std::string Restorer::Directory() const {
  return ToStdout() ? TargetFile::ScratchDirectory() : DirectoryOf(options_.output);
}

Status Restorer::CheckSpace() const {
  uint64_t need = uint64_t{plan_.max_page_count} * plan_.page_size;
  if (options_.max_size_bytes != 0 && need > options_.max_size_bytes) {
    return ResourceExhaustedError(fmt::format("the database needs {} bytes, --max-size allows {}",
                                              need, options_.max_size_bytes));
  }
  if (options_.via == RestoreVia::kCheckpoint) {
    need += options_.wal_bytes;  // usually; one commit may be larger
  }
  ASSIGN_OR_RETURN(const uint64_t free, FreeDiskSpace(Directory()));
  if (need + kSpaceMargin > free) {
    return ResourceExhaustedError(fmt::format("'{}' has {} bytes free, the restore needs {}",
                                              Directory(), free, need + kSpaceMargin));
  }
  return Status::Ok();
}

Status Restorer::OpenTarget() {
  if (!file_) {
    ASSIGN_OR_RETURN(file_, TargetFile::Create(ToStdout() ? "" : options_.output));
  }
  pages_.emplace(file_->fd(), file_->path(), plan_.page_size, hasher_, options_.cache_bytes);
  return Status::Ok();
}

Status Restorer::ReplayLog(Damage* damage) {
  const Stopwatch stopwatch(&report_.log_seconds);
  uint64_t total_bytes = 0;
  for (const SegmentSummary& s : plan_.segments) {
    total_bytes += s.size_bytes;
  }
  progress_.Begin("log", total_bytes);
  std::optional<WalRebuilder> wal;
  if (options_.via == RestoreVia::kCheckpoint) {
    wal.emplace(file_->path(), plan_.page_size);
    pages_->ReadThrough(*wal);
  }
  Applier applier(replica_, *pages_, plan_.page_size, wal ? &*wal : nullptr);
  OrderedFetch<Segment> fetch(replica_.parallelism(), kAheadBytes);
  for (const SegmentSummary& summary : plan_.segments) {
    fetch.Push([this, &summary] { return replica_.ReadSegment(summary); }, summary.size_bytes);
  }
  if (options_.via == RestoreVia::kSql) {
    SqlReplayer::Limits limits;
    limits.seconds = options_.sql_seconds;
    limits.grace_seconds = std::min(limits.grace_seconds, limits.seconds);
    if (options_.on_stuck) {
      limits.on_stuck = [this] { options_.on_stuck(Txid{executing_}); };
    }
    sql_.emplace(*pages_, plan_.page_size, limits);
  }
  for (const SegmentSummary& summary : plan_.segments) {
    auto segment = [&] {
      const Stopwatch waiting(&report_.fetch_seconds);
      return fetch.Pop();
    }();
    const Stopwatch replaying(&report_.replay_seconds);
    if (!segment.ok()) {
      if (IsDamage(segment.code())) {  // since the plan was made
        *damage = {summary.key, segment.code() == StatusCode::kNotFound, std::nullopt,
                   std::nullopt};
      }
      return segment.status();
    }
    const Txid last = std::min(summary.last_txid, plan_.txid);
    const Txid first = std::max(summary.header.first_txid, plan_.image.txid.Next());
    if (sql_) {
      RETURN_IF_ERROR(ReplayBySql(*segment, summary.key, first, last, applier, damage));
    }
    for (Txid txid = first; txid <= last && !sql_; txid = txid.Next()) {
      const size_t index = txid.value - summary.header.first_txid.value;
      RETURN_IF_ERROR(applier.Apply(*segment, index, summary.key, damage));
      ++report_.commits_applied;
      if (wal && wal->wal_bytes() >= options_.wal_bytes) {
        RETURN_IF_ERROR(wal->Checkpoint());
      }
    }
    ++report_.objects_fetched;
    report_.bytes_fetched += summary.size_bytes;
    progress_.Add(summary.size_bytes);
  }
  report_.objects_fetched += applier.part_count();
  report_.bytes_fetched += applier.part_bytes();
  sql_.reset();
  const Stopwatch replaying(&report_.replay_seconds);
  report_.page_count = pages_->page_count();
  report_.db_checksum = pages_->checksum();
  return wal ? wal->Checkpoint() : pages_->Flush();
}

Status Restorer::Prove() {
  const Stopwatch stopwatch(&report_.verify_seconds);
  // The plan's, which the log was compared with; but a history without a commit has no other proof
  // than that the file is what was executed.
  const uint32_t page_count = diverged_ ? report_.page_count : plan_.page_count;
  const uint64_t checksum = diverged_ ? report_.db_checksum : plan_.db_checksum;
  return ProveFile(file_->fd(), file_->path(), plan_.page_size, page_count, checksum, hasher_,
                   replica_.parallelism(), progress_)
      .WithContext("TXID " + FormatTxid(plan_.txid));
}

Status Restorer::CheckWithSqlite() const {
  if (options_.verify == VerifyLevel::kNone) {
    return Status::Ok();
  }
  // immutable: nothing is written beside it. The content is untrusted.
  std::string uri = "file:";
  for (char c : file_->path()) {
    uri += (c == '?' || c == '#' || c == '%') ? fmt::format("%{:02x}", static_cast<int>(c))
                                              : std::string(1, c);
  }
  ASSIGN_OR_RETURN(Connection db, Connection::Open(uri + "?immutable=1",
                                                   SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, "", 0));
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  const char* sql = options_.verify == VerifyLevel::kQuick ? "PRAGMA quick_check(1)"
                                                           : "PRAGMA integrity_check(1)";
  auto answer = db.QueryText(sql);
  if (!answer.ok() || *answer != "ok") {
    return CorruptionError("sqlite says of the restored database: " +
                           (answer.ok() ? *answer : answer.status().message()) +
                           "; its bytes are those of the commit, hint: --verify none restores it "
                           "as it was");
  }
  return Status::Ok();
}

Status Restorer::CopyToStdout() const {
  const uint64_t size =
      uint64_t{diverged_ ? report_.page_count : plan_.page_count} * plan_.page_size;
  Fd out(STDOUT_FILENO);
  Status status;
  Bytes block(1 << 20);
  for (uint64_t at = 0; at < size && status.ok(); at += block.size()) {
    block.resize(std::min<uint64_t>(block.size(), size - at));
    status = ReadExactlyAt(file_->fd(), at, block, file_->path());
    if (status.ok()) {
      status = WriteAll(out, block, "standard output");
    }
  }
  (void)out.Release();  // not ours to close
  return status;
}

}  // namespace sqlite_s3

#include "restore/restorer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <thread>

#include "common/format/image_part.h"
#include "common/os/errno_status.h"
#include "common/os/file.h"
#include "common/replica/ordered_fetch.h"
#include "common/sqlite/connection.h"
#include "restore/applier.h"
#include "restore/temporary.h"
#include "restore/wal_rebuilder.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kAheadBytes = uint64_t{64} << 20;  // segments fetched before they are needed
constexpr uint64_t kSpaceMargin = uint64_t{1} << 20;
constexpr uint64_t kProofBlock = uint64_t{4} << 20;
constexpr uint64_t kMaxDirtyBytes = uint64_t{128} << 20;  // between two checkpoints
const char* const kCompanions[] = {"-wal", "-shm", "-journal"};

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

std::string BaseName(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace

Restorer::Restorer(Replica& replica, const RestoreOptions& options, Progress& progress)
    : replica_(replica), options_(options), progress_(progress) {}

Restorer::~Restorer() {
  pages_.reset();
  if (!temporary_.empty()) {
    (void)RemoveFile(temporary_);  // a failed restore leaves nothing; nothing more can be done here
    ForgetTemporary();
  }
}

Result<RestoreReport> Restorer::Run(Damage* damage) {
  auto clock = std::chrono::steady_clock::now();
  if (options_.output != "-") {
    ASSIGN_OR_RETURN(bool exists, FileExists(options_.output));
    if (exists && options_.if_not_exists) {
      report_.existed = true;
      return report_;
    }
    RETURN_IF_ERROR(RefuseExisting());
  }
  PlanOptions plan_options{options_.timeline, std::nullopt};
  for (;;) {
    ASSIGN_OR_RETURN(report_.plan, PlanRestore(replica_, options_.target, plan_options, damage));
    report_.plan_seconds += Seconds(clock);
    RETURN_IF_ERROR(CheckSpace(report_.plan));
    if (options_.dry_run) {
      return report_;
    }
    RETURN_IF_ERROR(OpenTemporary());
    clock = std::chrono::steady_clock::now();
    Status image = LoadImage(report_.plan);
    if (image.ok()) {
      break;
    }
    if (image.code() != StatusCode::kCorruption && image.code() != StatusCode::kNotFound) {
      return image;
    }
    // The log reaches further back than this image: an older one leads to the same bytes.
    plan_options.image_before = report_.plan.image.txid;
    std::vector<std::string> problems = report_.plan.problems;
    problems.push_back(image.ToString());
    Damage older;
    auto plan = PlanRestore(replica_, options_.target, plan_options, &older);
    if (!plan.ok()) {
      if (damage != nullptr) {
        damage->key = "image " + FormatTxid(report_.plan.image.txid);
        damage->missing = image.code() == StatusCode::kNotFound;
      }
      return image;
    }
    clock = std::chrono::steady_clock::now();
  }
  report_.image_seconds = Seconds(clock);
  clock = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(ReplayLog(report_.plan));
  report_.log_seconds = Seconds(clock);
  clock = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(Prove(report_.plan));
  RETURN_IF_ERROR(CheckWithSqlite());
  report_.verify_seconds = Seconds(clock);
  RETURN_IF_ERROR(Publish());
  progress_.Done();
  return report_;
}

Result<RestoreReport> Restorer::CheckOnly(Txid image, Damage* damage) {
  // "Before the next TXID" makes it the newest image that may be used.
  ASSIGN_OR_RETURN(report_.plan, PlanRestore(replica_, options_.target,
                                             PlanOptions{options_.timeline, image.Next()}, damage));
  RETURN_IF_ERROR(CheckSpace(report_.plan));
  RETURN_IF_ERROR(OpenTemporary());
  RETURN_IF_ERROR(LoadImage(report_.plan));
  RETURN_IF_ERROR(ReplayLog(report_.plan));
  RETURN_IF_ERROR(Prove(report_.plan));
  progress_.Done();
  return report_;
}

Status Restorer::RefuseExisting() {
  if (options_.force) {
    return Status::Ok();
  }
  ASSIGN_OR_RETURN(bool exists, FileExists(options_.output));
  if (exists) {
    return FailedPreconditionError("target '" + options_.output +
                                   "' exists, hint: --force moves it aside, --if-not-exists does "
                                   "nothing");
  }
  for (const char* suffix : kCompanions) {
    ASSIGN_OR_RETURN(bool left, FileExists(options_.output + suffix));
    if (left) {
      // SQLite would apply it to the restored file.
      return FailedPreconditionError("'" + options_.output + suffix +
                                     "' of another database is there, hint: --force moves it "
                                     "aside");
    }
  }
  return Status::Ok();
}

Status Restorer::CheckSpace(const RestorePlan& plan) {
  const uint64_t need = uint64_t{plan.max_page_count} * plan.page_size;
  if (options_.max_size_bytes != 0 && need > options_.max_size_bytes) {
    return ResourceExhaustedError(fmt::format("the database needs {} bytes, --max-size allows {}",
                                              need, options_.max_size_bytes));
  }
  const std::string directory =
      options_.output == "-" ? TemporaryDirectory() : DirectoryOf(options_.output);
  ASSIGN_OR_RETURN(uint64_t free, FreeDiskSpace(directory));
  if (need + kSpaceMargin > free) {
    return ResourceExhaustedError(
        fmt::format("'{}' has {} bytes free, the restore needs {}", directory, free, need));
  }
  return Status::Ok();
}

Status Restorer::OpenTemporary() {
  pages_.reset();
  if (!temporary_.empty()) {
    RETURN_IF_ERROR(RemoveFile(temporary_));
  }
  const bool piped = options_.output == "-";
  const std::string directory = piped ? TemporaryDirectory() : DirectoryOf(options_.output);
  const std::string base = piped ? "stdout" : BaseName(options_.output);
  if (!piped) {
    RemoveStaleTemporaries(directory, base);
  }
  uint8_t random[8];
  RETURN_IF_ERROR(FillRandom(random));
  // In the target's own directory, so that the last step can be a rename.
  temporary_ = directory + "/." + base + "." + HexEncode(random) + ".restoring";
  ASSIGN_OR_RETURN(Fd file, OpenFile(temporary_, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  RememberTemporary(temporary_);
  pages_ = std::make_unique<PageStore>(std::move(file), temporary_, report_.plan.page_size,
                                       replica_.document().checksum_key, options_.cache_bytes);
  return Status::Ok();
}

Status Restorer::InParallel(size_t jobs, const std::function<Status(size_t)>& job) {
  const int wanted = options_.parallel > 0 ? options_.parallel
                                           : static_cast<int>(std::thread::hardware_concurrency());
  std::atomic<size_t> next{0};
  std::mutex mutex;
  Status first_error;
  auto run = [&] {
    for (size_t i = next++; i < jobs; i = next++) {
      Status status = job(i);
      if (!status.ok()) {
        std::lock_guard lock(mutex);
        if (first_error.ok()) {
          first_error = status;
        }
        next = jobs;
      }
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min<size_t>(static_cast<size_t>(std::max(wanted, 1)), jobs); ++i) {
    threads.emplace_back(run);
  }
  run();
  for (std::thread& t : threads) {
    t.join();
  }
  return first_error;
}

Status Restorer::LoadImage(const RestorePlan& plan) {
  const ImageManifest& image = plan.image;
  image_seen_.assign(size_t{image.page_count} + 1, false);
  image_pages_ = 0;
  image_checksum_ = 0;
  RETURN_IF_ERROR(
      TruncateFile(pages_->file(), uint64_t{image.page_count} * plan.page_size, temporary_));
  uint64_t total = 0;
  for (const ImagePartInfo& part : image.parts) {
    total += part.size_bytes;
  }
  progress_.Begin("image", total);
  RETURN_IF_ERROR(InParallel(image.parts.size(),
                             [&](size_t i) { return LoadImagePart(plan, image.parts[i]); }));
  const PageNumber lock_page = LockBytePage(plan.page_size);
  const uint64_t expected = image.page_count - (image.page_count >= lock_page ? 1 : 0);
  if (image_pages_ != expected || image_checksum_ != image.db_checksum) {
    return CorruptionError(fmt::format(
        "image {} has {} of {} pages and checksum {:016x}, not {:016x}", FormatTxid(image.txid),
        image_pages_, expected, image_checksum_, image.db_checksum));
  }
  pages_->SetState(image.page_count, image.db_checksum);
  return Status::Ok();
}

Status Restorer::LoadImagePart(const RestorePlan& plan, const ImagePartInfo& info) {
  const uint32_t page_size = plan.page_size;
  const std::string name =
      "part " + std::to_string(info.number) + " of image " + FormatTxid(plan.image.txid);
  ASSIGN_OR_RETURN(Bytes part, replica_.ReadImagePart(plan.image, info));
  ASSIGN_OR_RETURN(auto frames, ParseImagePart(part, page_size, name));
  const PageNumber lock_page = LockBytePage(page_size);
  Bytes content;
  uint64_t sum = 0;
  uint64_t count = 0;
  for (const ImageFrame& frame : frames) {
    content.resize(size_t{frame.page_count} * page_size);
    RETURN_IF_ERROR(DecodeImageFrame(part, frame, page_size, content, name));
    size_t at = 0;
    for (const PageRun& run : frame.runs) {
      const ByteSpan pages = ByteSpan(content).subspan(at, size_t{run.count} * page_size);
      for (uint32_t i = 0; i < run.count; ++i) {
        const uint64_t page = uint64_t{run.first} + i;
        if (page > plan.image.page_count || page == lock_page) {
          return CorruptionError(name + " has page " + std::to_string(page));
        }
        sum ^= pages_->hasher().Hash(static_cast<PageNumber>(page),
                                     pages.subspan(size_t{i} * page_size, page_size));
      }
      {
        std::lock_guard lock(image_mutex_);
        for (uint32_t i = 0; i < run.count; ++i) {
          if (image_seen_[run.first + i]) {
            return CorruptionError(name + " has page " + std::to_string(run.first + i) +
                                   " once more");
          }
          image_seen_[run.first + i] = true;
        }
      }
      RETURN_IF_ERROR(pages_->WriteRun(run.first, pages));
      at += pages.size();
      count += run.count;
    }
  }
  progress_.Add(part.size());
  std::lock_guard lock(image_mutex_);
  report_.bytes_fetched += part.size();
  image_checksum_ ^= sum;
  image_pages_ += count;
  return Status::Ok();
}

Status Restorer::ReplayLog(const RestorePlan& plan) {
  uint64_t total = 0;
  for (const SegmentSummary& s : plan.segments) {
    total += s.size_bytes;
  }
  progress_.Begin("log", total);
  std::unique_ptr<WalRebuilder> wal;
  Applier::CommitSink sink;
  if (options_.via == RestoreVia::kCheckpoint) {
    pages_->HoldDirty();
    wal = std::make_unique<WalRebuilder>(temporary_, plan.page_size);
    sink = [&](const CommitRecord& record, ByteSpan pages) -> Status {
      Bytes first;
      if (record.pages.empty()) {
        ASSIGN_OR_RETURN(ByteSpan page, pages_->Read(1));
        first.assign(page.begin(), page.end());
      }
      RETURN_IF_ERROR(wal->Add(record, pages, first));
      if (pages_->dirty_bytes() >= kMaxDirtyBytes) {
        RETURN_IF_ERROR(wal->Checkpoint());
        pages_->MarkClean();
      }
      return Status::Ok();
    };
  }
  Applier applier(replica_, *pages_, plan.page_size, std::move(sink));
  const int threads = options_.parallel > 0 ? options_.parallel
                                            : static_cast<int>(std::thread::hardware_concurrency());
  OrderedFetch<Segment> fetch(std::max(threads, 2), kAheadBytes);
  for (const SegmentSummary& summary : plan.segments) {
    fetch.Push([this, &summary] { return replica_.ReadSegment(summary); }, summary.size_bytes);
  }
  for (const SegmentSummary& summary : plan.segments) {
    ASSIGN_OR_RETURN(Segment segment, fetch.Pop());
    Txid txid = segment.header.first_txid;
    for (size_t i = 0; i < segment.commits.size(); ++i, txid = txid.Next()) {
      if (txid <= plan.image.txid) {
        continue;
      }
      if (txid > plan.txid || txid > summary.last_txid) {
        break;
      }
      RETURN_IF_ERROR(applier.Apply(segment, i, summary.key));
      ++report_.commits_applied;
    }
    report_.bytes_fetched += summary.size_bytes;
    progress_.Add(summary.size_bytes);
  }
  report_.bytes_fetched += applier.part_bytes();
  if (wal) {
    RETURN_IF_ERROR(wal->Checkpoint());
    pages_->MarkClean();
    return Status::Ok();
  }
  return pages_->Flush();
}

// The checksum of the bytes as they are read back, in blocks, over all processors. Nothing that was
// kept in memory counts here.
Status Restorer::Prove(const RestorePlan& plan) {
  const uint64_t size = uint64_t{plan.page_count} * plan.page_size;
  ASSIGN_OR_RETURN(uint64_t actual, FileSize(pages_->file(), temporary_));
  if (actual != size) {
    return CorruptionError(fmt::format("the restored file has {} bytes, TXID {} has {}", actual,
                                       FormatTxid(plan.txid), size));
  }
  progress_.Begin("verify", size);
  const PageNumber lock_page = LockBytePage(plan.page_size);
  std::atomic<uint64_t> sum{0};
  auto prove_block = [&](size_t block) -> Status {
    const uint64_t offset = block * kProofBlock;
    Bytes bytes(std::min(kProofBlock, size - offset));
    RETURN_IF_ERROR(ReadExactlyAt(pages_->file(), offset, bytes, temporary_));
    uint64_t part = 0;
    for (size_t at = 0; at < bytes.size(); at += plan.page_size) {
      const ByteSpan page = ByteSpan(bytes).subspan(at, plan.page_size);
      const auto number = static_cast<PageNumber>((offset + at) / plan.page_size + 1);
      if (number != lock_page) {
        part ^= pages_->hasher().Hash(number, page);
      } else if (std::any_of(page.begin(), page.end(), [](uint8_t b) { return b != 0; })) {
        return CorruptionError("the lock-byte page of the restored file is not zero");
      }
    }
    sum ^= part;
    progress_.Add(bytes.size());
    return Status::Ok();
  };
  RETURN_IF_ERROR(InParallel((size + kProofBlock - 1) / kProofBlock, prove_block));
  if (sum != plan.db_checksum) {
    return CorruptionError(
        fmt::format("the restored file has checksum {:016x}, TXID {} has {:016x}", sum.load(),
                    FormatTxid(plan.txid), plan.db_checksum));
  }
  return Status::Ok();
}

Status Restorer::CheckWithSqlite() {
  if (options_.verify == VerifyLevel::kNone) {
    return Status::Ok();
  }
  // immutable: nothing is written beside it. The content is untrusted.
  std::string uri = "file:";
  for (char c : temporary_) {
    uri += (c == '?' || c == '#' || c == '%') ? fmt::format("%{:02x}", static_cast<int>(c))
                                              : std::string(1, c);
  }
  ASSIGN_OR_RETURN(Connection db, Connection::Open(uri + "?immutable=1",
                                                   SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, "", 0));
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  const char* sql = options_.verify == VerifyLevel::kQuick ? "PRAGMA quick_check(1)"
                                                           : "PRAGMA integrity_check(1)";
  ASSIGN_OR_RETURN(std::string answer, db.QueryText(sql));
  if (answer != "ok") {
    // The bytes are proved: it is the database itself that was so.
    return CorruptionError("sqlite says of the restored database: " + answer);
  }
  return Status::Ok();
}

Status Restorer::Publish() {
  const uint64_t size = uint64_t{report_.plan.page_count} * report_.plan.page_size;
  if (options_.output == "-") {
    return CopyToStdout(size);
  }
  // Content first, name second: after a power loss the final name leads to all of it or is not
  // there.
  RETURN_IF_ERROR(SyncFile(pages_->file(), temporary_));
  RETURN_IF_ERROR(MoveAside());
  // NOREPLACE: whoever made the target meanwhile keeps it.
  if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, options_.output.c_str(),
                RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) {
      return FailedPreconditionError("target '" + options_.output +
                                     "' was made while the restore ran");
    }
    if (errno != EINVAL && errno != ENOSYS) {
      return ErrnoStatus(errno, "rename", temporary_);
    }
    if (link(temporary_.c_str(), options_.output.c_str()) != 0) {
      return ErrnoStatus(errno, "link", options_.output);
    }
    RETURN_IF_ERROR(RemoveFile(temporary_));
  }
  temporary_.clear();
  ForgetTemporary();
  return SyncDirectory(DirectoryOf(options_.output));
}

// The database before its -wal: a crash in between leaves no file under the target's name, never an
// old database without its newest commits.
Status Restorer::MoveAside() {
  if (!options_.force) {
    return Status::Ok();
  }
  const std::string suffix = fmt::format(".before-restore-{}", std::time(nullptr));
  for (const char* companion : {"", "-wal", "-shm", "-journal"}) {
    const std::string from = options_.output + companion;
    ASSIGN_OR_RETURN(bool exists, FileExists(from));
    if (exists) {
      const std::string to = options_.output + suffix + companion;
      RETURN_IF_ERROR(RenameFile(from, to, Durability::kDurable));
      report_.moved_aside.push_back(to);
    }
  }
  return Status::Ok();
}

Status Restorer::CopyToStdout(uint64_t size_bytes) {
  Fd out(STDOUT_FILENO);
  Status status;
  Bytes block(1 << 20);
  for (uint64_t at = 0; at < size_bytes && status.ok(); at += block.size()) {
    block.resize(std::min<uint64_t>(block.size(), size_bytes - at));
    status = ReadExactlyAt(pages_->file(), at, block, temporary_);
    if (status.ok()) {
      status = WriteAll(out, block, "standard output");
    }
  }
  (void)out.Release();  // not ours to close
  return status;
}

}  // namespace sqlite_s3

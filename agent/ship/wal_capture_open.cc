// Opening a capture: what a database must be, the connections, and the WAL that is already there.

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "agent/ship/wal_capture.h"
#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

// For a writer without a core; the tries are for an opener that has none.
constexpr auto kOpenPatience = std::chrono::seconds(5);
constexpr int kOpenTries = 10;
// From a commit to the first write of the checkpoint that its connection makes: the WAL's fsync.
constexpr int64_t kTryAfterNanos = 10'000'000'000;

int64_t TimeWritten(const struct stat& st) {
  constexpr int64_t kNanosPerSecond = 1'000'000'000;
  return int64_t{st.st_mtim.tv_sec} * kNanosPerSecond + st.st_mtim.tv_nsec;
}

}  // namespace

Result<std::unique_ptr<WalCapture>> WalCapture::Open(const Config& config,
                                                     const std::optional<WalPosition>& resume) {
  const auto until = std::chrono::steady_clock::now() + kOpenPatience;
  for (int tries = 1;; ++tries) {
    std::unique_ptr<WalCapture> capture(new WalCapture(config));
    capture->wal_path_ = config.database_path + "-wal";
    RETURN_IF_ERROR(capture->OpenConnections());
    const Status read = capture->ReadExistingWal(resume);
    if (read.ok()) {
      return capture;
    }
    // A writer that is between the two copies of the index's header, or that began the WAL anew
    // under a pin on slot 0 while it was read: neither tells anything of the database.
    const uint32_t salt = capture->salt1_;  // 0: no header was read
    const bool passes = read.code() == StatusCode::kUnavailable ||
                        (salt != 0 && capture->index_.PeekSalt1() != salt);
    if (!passes || (tries >= kOpenTries && std::chrono::steady_clock::now() >= until)) {
      return read;
    }
    const timespec pause{0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
}

Status WalCapture::Probe(const std::string& database_path, const std::string& vfs, bool join_only) {
  Config config;
  config.join_only = join_only;
  config.database_path = database_path;
  config.vfs = vfs;
  WalCapture probe(config);
  probe.wal_path_ = database_path + "-wal";
  Status opened = probe.OpenConnections();
  if (opened.code() == StatusCode::kUnavailable) {
    return FailedPreconditionError(opened.message() +
                                   ", hint: locking_mode=EXCLUSIVE and long transactions in "
                                   "rollback mode cannot be shipped");
  }
  return opened;
}

WalCapture::~WalCapture() {
  (void)EndCheckpoint();
  // Ending the read transactions lets SQLite's last-close checkpoint run when no other connection
  // is left.
  for (int i = 0; i < 2; ++i) {
    CloseConnection(i);
  }
}

Status WalCapture::OpenConnections() {
  for (int i = 0; i < 2; ++i) {
    RETURN_IF_ERROR(OpenConnection(i));
  }
  RETURN_IF_ERROR(BeginRead(0));
  pinned_ = 0;
  // A connection has a wal-index once it has read the database.
  ASSIGN_OR_RETURN(index_, WalIndexView::Attach(connections_[0].get()));
  // Before the first page is read: whatever changes behind SQLite's back from here on is seen.
  ASSIGN_OR_RETURN(file_written_, LookAtFile());
  return Status::Ok();
}

Status WalCapture::OpenConnection(int i) {
  ASSIGN_OR_RETURN(Connection c, Connection::Open(config_.database_path, SQLITE_OPEN_READWRITE,
                                                  config_.vfs, kBusyTimeoutMs));
  if (database_inode_ == 0) {
    RETURN_IF_ERROR(CheckDatabase(c));
  }
  RETURN_IF_ERROR(c.Exec("PRAGMA wal_autocheckpoint=0"));  // we checkpoint when we say so
  RETURN_IF_ERROR(c.Exec("PRAGMA mmap_size=0"));
  // user_version reads page 1 in a transaction and parses no schema, so that a schema this build
  // cannot parse (unknown collations, virtual tables) does not matter.
  ASSIGN_OR_RETURN(Statement begin, c.Prepare("BEGIN"));
  ASSIGN_OR_RETURN(Statement read, c.Prepare("PRAGMA user_version"));
  ASSIGN_OR_RETURN(Statement end, c.Prepare("ROLLBACK"));
  connections_[i] = std::move(c);
  begin_[i] = std::move(begin);
  read_[i] = std::move(read);
  end_[i] = std::move(end);
  return Status::Ok();
}

// The statements go before the connection.
void WalCapture::CloseConnection(int i) {
  if (connections_[i]) {
    EndRead(i);
  }
  begin_[i] = Statement();
  read_[i] = Statement();
  end_[i] = Statement();
  connections_[i].Close();
}

void WalCapture::Rest() {
  (void)EndCheckpoint();
  Bytes().swap(buffer_);
  buffer_first_ = 0;
  cache_ = {};
  cache_order_ = {};
  cache_next_ = 0;
  if (pinned_ < 0) {
    return;
  }
  sqlite3_db_release_memory(connections_[pinned_].get());
  if (config_.close_spare && connections_[1 - pinned_]) {
    // The wal-index is SQLite's mapping for all connections of this process; its view must not be
    // through the one that goes. The pin stays where it is.
    auto view = WalIndexView::Attach(connections_[pinned_].get());
    if (view.ok()) {
      index_ = *view;
      CloseConnection(1 - pinned_);
      lock_connection_.Close();
    }
  }
  if (config_.close_spare && wal_ && connections_[pinned_]) {
    wal_->Rest();  // the pinned connection has read the WAL, and has it open
  }
}

void WalCapture::UnmapIndex() {
  if (pinned_ >= 0 && config_.vfs.empty()) {  // of other VFSes it may be no file
    index_.Unmap();
  }
}

Status WalCapture::CheckFilesInPlace() {
  struct stat st {};
  if (stat(config_.database_path.c_str(), &st) != 0 || st.st_ino != database_inode_) {
    return CorruptionError("database '" + config_.database_path +
                           "' was replaced or removed while it was open");
  }
  if (wal_ && !wal_->StillLinked()) {
    return CorruptionError("'" + wal_path_ + "' was removed while the database was open");
  }
  return CheckNobodyElseWrote();
}

Status WalCapture::CheckNobodyElseWrote() {
  if (written_over_) {
    return WrittenOver();
  }
  if (index_.PeekSalt1() != salt1_) {
    return Status::Ok();  // a WAL that is yet to be captured: where the last one ended tells more
  }
  ASSIGN_OR_RETURN(const auto now, LookAtFile());
  const auto before = std::exchange(file_written_, now);
  if (!now || !before ||
      (now->time_ns == before->time_ns && now->size_bytes == before->size_bytes)) {
    return Status::Ok();
  }
  const Checkpoints& c = now->checkpoints;
  const Checkpoints& was = before->checkpoints;
  const bool one_reset = c.salt1 != was.salt1 && wal_before_ && wal_before_->salt1 == was.salt1;
  if (one_reset) {
    // To begin a WAL anew writes nothing to the file.
    if (c.attempted != 0 || wal_before_->frame != was.done) {
      return Status::Ok();
    }
  } else if (c != was) {
    return Status::Ok();
  }
  if (c.attempted != c.done && MayBeUnfinishedCheckpoint(*before, *now)) {
    return Status::Ok();
  }
  written_over_ = true;
  return WrittenOver();
}

// A long one, or one that failed (a full disk): each next try writes the same pages again, as often
// as there are commits, and leaves no other word of it. None makes the file shorter than the
// database is, or older. A recovery leaves the same word without a checkpoint, and while a WAL is
// small it may stay for days: hence what is written long after the last commit, with nobody seen in
// a checkpoint, is somebody else's.
bool WalCapture::MayBeUnfinishedCheckpoint(const FileWritten& before,
                                           const FileWritten& now) const {
  if (now.size_bytes < std::min(before.size_bytes, int64_t{page_count_} * page_size_) ||
      now.time_ns < before.time_ns) {
    return false;
  }
  return before.runs || now.runs || now.frames != before.frames ||
         now.failed_tries != before.failed_tries || now.time_ns - now.wal_time_ns <= kTryAfterNanos;
}

Status WalCapture::WrittenOver() const {
  return CorruptionError("database '" + config_.database_path +
                         "' was written to while it was open, and not by SQLite");
}

WalCapture::Checkpoints WalCapture::LookAtCheckpoints() const {
  // In the order in which a checkpoint sets them, backwards: one that wrote to the file before we
  // looked at that has told so in one of these.
  Checkpoints c;
  c.done = index_.BackfilledFrames();
  c.attempted = index_.BackfillAttemptedFrames();
  c.salt1 = index_.PeekSalt1();
  return c;
}

Result<std::optional<WalCapture::FileWritten>> WalCapture::LookAtFile() const {
  FileWritten written;
  written.checkpoints = LookAtCheckpoints();
  const bool unfinished = written.checkpoints.attempted != written.checkpoints.done;
  written.frames = index_.PeekMaxFrame();
  written.failed_tries = failed_checkpoints_;
  struct stat st {};
  if (unfinished && stat(wal_path_.c_str(), &st) == 0) {
    written.wal_time_ns = TimeWritten(st);
  }
  if (stat(config_.database_path.c_str(), &st) != 0) {
    return ErrnoStatus(errno, "look at", config_.database_path);
  }
  if (LookAtCheckpoints() != written.checkpoints) {
    return std::optional<FileWritten>();
  }
  written.runs = unfinished && index_.CheckpointIsRunning();
  written.time_ns = TimeWritten(st);
  written.size_bytes = st.st_size;
  return std::optional<FileWritten>(written);
}

Status WalCapture::CheckDatabase(Connection& connection) {
  struct stat st {};
  if (stat(config_.database_path.c_str(), &st) == 0) {
    database_inode_ = st.st_ino;
  }
  const std::string name = "database '" + config_.database_path + "'";
  if (config_.join_only && st.st_uid != geteuid()) {
    // SQLite makes both, when they are missing, as soon as the database is read.
    for (const std::string& file : {wal_path_, config_.database_path + "-shm"}) {
      if (access(file.c_str(), F_OK) != 0) {
        return FailedPreconditionError(
            name + " belongs to another user and has no '" + file +
            "' yet, hint: its application makes it, or run as its owner");
      }
    }
  }
  if (sqlite3_db_readonly(connection.get(), "main") == 1) {
    return PermissionDeniedError(name + " is read-only, hint: shipping needs write access to it");
  }
  auto mode = connection.QueryText("PRAGMA journal_mode");
  if (!mode.ok()) {
    return mode.status().WithContext(name);
  }
  if (*mode != "wal") {
    return FailedPreconditionError(name + " has journal_mode=" + *mode +
                                   ", hint: run PRAGMA journal_mode=WAL first");
  }
  return Status::Ok();
}

Status WalCapture::ReadExistingWal(const std::optional<WalPosition>& resume) {
  ASSIGN_OR_RETURN(int64_t page_size, connections_[0].QueryInt("PRAGMA page_size"));
  if (!IsValidPageSize(static_cast<uint64_t>(page_size))) {
    return CorruptionError("the database has page size " + std::to_string(page_size));
  }
  page_size_ = static_cast<uint32_t>(page_size);

  ASSIGN_OR_RETURN(WalIndexHeader header, ReadIndex());
  salt1_ = header.salt1;
  salt2_ = header.salt2;
  if (header.max_frame == 0) {
    // Of a WAL that was emptied the index still knows the size, as SQLite does: the file may be
    // larger (SQLITE_FCNTL_CHUNK_SIZE).
    page_count_ = header.page_count;
    if (page_count_ == 0) {
      ASSIGN_OR_RETURN(uint64_t size, index_.DatabaseFileSize());
      page_count_ = static_cast<uint32_t>(size / page_size_);
    }
    position_ = PositionAt(0);
    if (resume && resume->frame == 0 && resume->salt1 == salt1_ && resume->salt2 == salt2_) {
      resumed_ = true;
    }
    return Status::Ok();
  }

  RETURN_IF_ERROR(EnsureWalFile(header));
  for (uint32_t frame = 1; frame <= header.max_frame; ++frame) {
    ASSIGN_OR_RETURN(const uint8_t* bytes, FrameBytes(frame, header.max_frame));
    RETURN_IF_ERROR(CheckFrame(header, frame, bytes));
    WalFrameHeader h = ParseWalFrameHeader(bytes);
    last_frame_[h.page] = frame;
    // The saved place counts only if the very same bytes led to it: salts repeat, checksums of a
    // whole prefix do not.
    if (resume && frame == resume->frame && resume->salt1 == salt1_ && resume->salt2 == salt2_ &&
        frame > unverified_until_ && running_ == WalChecksum{resume->cksum1, resume->cksum2} &&
        h.commit_page_count != 0) {
      resumed_ = true;
      frame_ = frame;
      page_count_ = h.commit_page_count;
      position_ = PositionAt(frame);
      // While we were away a checkpoint may have put later pages into the file: what ends here or
      // before has no base that can be trusted.
      untrusted_until_ = header.max_frame;
      return Status::Ok();
    }
  }
  frame_ = header.max_frame;
  page_count_ = header.page_count;
  position_ = PositionAt(frame_);
  return Status::Ok();
}

}  // namespace sqlite_s3

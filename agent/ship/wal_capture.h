#pragma once
// WalCapture: takes every commit out of the WAL, in order, with the previous version of each page,
// and owns the pin that makes this complete. Design: docs/ARCHITECTURE.md; reasons: docs/adr/0003.
//
// The pin. Two connections; at any time at least one holds a read transaction. The new one begins,
// everything committed so far is captured, then the old one ends. A reader on slots 1-4 blocks a
// WAL reset, and checkpoints backfill only up to its mark; a reader gets slot 0 only when
// everything is backfilled, hence (old reader's mark) captured, and then blocks every backfill. So
// while the pin is unbroken, no frame is lost, and the database file holds no page newer than what
// was captured.
//
// Thread-safety: none; the engine's capture mutex guards every call. Any thread may make them.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/ship/background_checkpoint.h"
#include "agent/ship/page_buffer.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/status.h"
#include "common/format/segment.h"
#include "common/sqlite/connection.h"
#include "common/sqlite/wal_file.h"
#include "common/sqlite/wal_index.h"

namespace sqlite_s3 {

class BoundedWriteLock;

struct CapturedPage {
  PageNumber number = 0;
  PagePtr content;
  PagePtr base;  // version as of the commit before; none: new page, or not to be trusted
  bool base_was_read = false;  // from the files now, not what was captured before
};

struct CapturedCommit {
  int64_t time_us = 0;
  bool time_is_upper_bound = false;
  bool whole_pages = false;  // no page has a base that may be used
  uint32_t merged = 0;       // further commits that share this restore point
  uint32_t page_count_before = 0;
  uint32_t page_count = 0;
  uint32_t wal_frames = 0;
  WalPosition end;  // frame 0: unknown (a salvaged WAL)
  // Where the WAL before this one ended, all of it captured; none: nobody knows. No checksums.
  std::optional<WalPosition> wal_before;
  std::vector<CapturedPage> pages;  // ascending
};

// A transaction too big to hold: its pages are read again in order while nothing moves.
struct BigCommit {
  int64_t time_us = 0;
  bool time_is_upper_bound = false;
  bool whole_pages = false;
  uint32_t page_count_before = 0;
  uint32_t page_count = 0;
  uint32_t wal_frames = 0;
  WalPosition end;
  std::optional<WalPosition> wal_before;  // CapturedCommit's
  std::vector<std::pair<PageNumber, uint32_t>>
      pages;  // number, last frame in the commit; ascending
};

// Who gets the commits. Called with the capture mutex held.
class CaptureSink {
 public:
  virtual ~CaptureSink() = default;
  virtual void OnCapturedCommit(CapturedCommit commit) = 0;
  // Microseconds since 1970 of the next commit, which ends at this frame of the WAL; now, with
  // *upper_bound set, when no hook told it.
  virtual int64_t CommitTime(uint32_t frame, bool* upper_bound) = 0;
  // Whether bases are wanted at all, and whether the previous version of this very page is (an
  // image has yet to copy it).
  virtual bool WantsBases() = 0;
  virtual bool WantsPrevious(PageNumber page) = 0;
  virtual void SetAside(PageNumber page, PagePtr previous) = 0;
  // True while the previous versions are taken straight from the file and WAL and the pin must
  // stay.
  virtual bool MustHoldPin() = 0;
  // The database shrank from `before` to `after` pages; called before the commit is handed over.
  virtual void OnShrink(uint32_t before, uint32_t after) = 0;
  // More page memory may be taken now.
  virtual bool HasRoom() = 0;
};

enum class CaptureOutcome {
  kCaughtUp,   // everything up to mxFrame was handed over
  kMore,       // max_frames reached
  kNoRoom,     // the sink had no room
  kBigCommit,  // the next commit is big(): process it, then call FinishBigCommit
};

struct CheckpointOutcome {
  bool captured = false;  // everything, and the pin was moved; the rest is false without it
  bool ran = false;       // else another connection was in a checkpoint
  bool complete = false;  // everything is backfilled: the next writer resets the WAL
  int wal_frames = 0;
};

class WalCapture {
 public:
  struct Config {
    std::string database_path;
    std::string vfs;
    uint32_t big_commit_bytes = 8 << 20;
    uint32_t cache_bytes = 6 << 20;
    MemoryAccount* account = nullptr;
    bool join_only = false;        // EngineConfig's
    bool close_spare = false;      // at Rest: one connection is enough to hold the pin
    bool may_lock_writers = true;  // for microseconds, to empty a WAL with salvaged commits
  };

  // Checks the database, opens the connections, takes the pin, reads the WAL that is there.
  // `resume`: a position in this very WAL (same salts, same running checksum at its frame) where
  // capture starts; whether it was found is resumed(). Otherwise capture starts at the last commit.
  // kFailedPrecondition: not a WAL database, no file, no shared memory; the message says.
  // kUnavailable: locked, for a moment or as long as somebody has it EXCLUSIVE.
  static Result<std::unique_ptr<WalCapture>> Open(const Config& config,
                                                  const std::optional<WalPosition>& resume);
  ~WalCapture();

  // Whether the database can be shipped at all; opens and closes a connection, changes nothing.
  // kFailedPrecondition also when it is locked.
  static Status Probe(const std::string& database_path, const std::string& vfs,
                      bool join_only = false);

  // False after ReleasePin.
  bool pinned() const { return pinned_ >= 0; }
  bool resumed() const { return resumed_; }
  uint32_t page_size() const { return page_size_; }
  uint32_t page_count() const { return page_count_; }  // as captured
  const WalPosition& position() const { return position_; }
  uint32_t captured_frames() const { return frame_; }
  WalIndexView& index() { return index_; }
  const std::string& wal_path() const { return wal_path_; }

  // Hands over commits up to mxFrame, or until at least max_frames frames were (whole commits).
  // kCorruption: the WAL is not what the wal-index says; the caller must start again (resync). So
  // must it after any other error, or a throw, from within a commit: later calls say so.
  Result<CaptureOutcome> Capture(CaptureSink& sink, uint32_t max_frames);
  const BigCommit& big() const { return *big_; }
  void FinishBigCommit(CaptureSink& sink);

  // Moves the pin to now. Captures everything first: kCaughtUp, or the reason why the old pin
  // stays.
  Result<CaptureOutcome> MovePin(CaptureSink& sink);
  // Whether a moved pin would be in the way of somebody else's checkpoint less than this one is.
  bool PinIsBehind() const {
    return pin_frame_ != frame_ || pin_salt1_ != salt1_ ||
           pin_backfilled_ != index_.BackfilledFrames();
  }
  // For a checkpoint that waits for the very slot where the pin is, though its mark is the last
  // frame: it had looked at the mark before the pin came, and does not look again. Without a pin
  // until that goes on, `most` at the longest; then as after MovePin. kCorruption: the WAL was
  // reset meanwhile, and commits may have gone with it; later captures say so, too.
  Result<CaptureOutcome> StepAside(CaptureSink& sink, std::chrono::milliseconds most);
  // Capture, move the pin, PASSIVE checkpoint, move the pin: the next writer can reset the WAL.
  Result<CheckpointOutcome> MakeRoom(CaptureSink& sink) { return MakeRoom(sink, nullptr); }
  // Captures, moves the pin, and begins a PASSIVE checkpoint in the background, such that nobody
  // else begins one in between: a busy writer asks for one after each commit, and would do the work
  // itself, with its fsync. `ran`: it runs, or has run; the pin stays where it is meanwhile.
  // Not so when somebody is in a checkpoint already: then the pin has not moved.
  Result<CheckpointOutcome> BeginCheckpoint(CaptureSink& sink);
  bool CheckpointRuns() const { return checkpoint_.running(); }
  // Waits for its end. OK also when there was none, when another connection's was in its way, or
  // when it failed of what last_checkpoint says.
  Status EndCheckpoint();
  // How our last checkpoint ended that had its lock; nullopt: there was none. Not OK: of its disk,
  // that it is full, for instance. Nothing is lost by it, only that the WAL stays. OK once the WAL
  // was begun anew.
  const std::optional<Status>& last_checkpoint() const { return last_checkpoint_; }
  bool CheckpointFailed() const { return last_checkpoint_ && !last_checkpoint_->ok(); }
  uint64_t failed_checkpoints() const { return failed_checkpoints_; }
  // Whether the pin is on slot 0, or was before the WAL was reset: whoever begins a checkpoint now
  // sorts all frames before it finds out that it can do nothing.
  bool PinIsOnSlot0() const { return pin_on_slot_0_ || pin_salt1_ != salt1_; }
  // The same as MakeRoom while the write lock is held, so that a busy writer cannot stay ahead; for
  // `bound` at most: then the lock is let go, and what was not done (`complete` says so) is left
  // for the next try. kUnavailable when the lock could not be had within `busy_timeout_ms`;
  // *held_us gets how long it was held.
  Result<CheckpointOutcome> MakeRoomUnderWriteLock(CaptureSink& sink, int busy_timeout_ms,
                                                   const Clock& clock,
                                                   std::chrono::microseconds bound,
                                                   int64_t* held_us);

  // Page as captured: its last captured frame in this WAL, else the file's. 1 <= page <=
  // page_count, or of an earlier size while MustHoldPin keeps it.
  Status ReadPage(PageNumber page, std::span<uint8_t> out);
  Status ReadFramePage(uint32_t frame, std::span<uint8_t> out);
  // The version before `big()`: only between Capture returning kBigCommit and FinishBigCommit.
  Status ReadPrevious(PageNumber page, std::span<uint8_t> out) { return ReadPage(page, out); }

  // kCorruption when the -wal or the database file is not the one at its path any more, or somebody
  // wrote to the database file since the last look and no checkpoint did.
  Status CheckFilesInPlace();

  // The live database as captured: what PassedThrough compares with.
  struct LiveDatabase {
    uint32_t page_count = 0;
    uint64_t checksum = 0;
    std::function<Result<uint64_t>(PageNumber)> hash;
  };
  // Whether a commit boundary in the WAL, or the file before it, had exactly this size and database
  // checksum. False when the WAL cannot tell. REQUIRES: everything is captured.
  Result<bool> PassedThrough(uint32_t page_count, uint64_t checksum, const LiveDatabase& live,
                             const PageHasher& hasher);

  // Frames committed but not captured.
  uint32_t PendingFrames();
  // True if anything was committed after the last captured frame (also a reset WAL).
  bool HasPending();

  // Whether another connection, of this process or another, is in a checkpoint; else we made a
  // PASSIVE one, or ours in the background is not over.
  bool AnotherConnectionCheckpoints();
  // A PASSIVE checkpoint by a capture that holds no pin any more (see ReleasePin).
  Status CheckpointUnpinned();
  // For a database at rest: gives back what only capturing needs. The pin stays unbroken. Whatever
  // is asked for next takes it again.
  void Rest();
  // After each look at one at rest: see WalIndexView::Unmap.
  void UnmapIndex();
  // Gives the pin up: nothing may be captured afterwards, only CheckpointUnpinned called.
  void ReleasePin();

  uint64_t frames_total() const { return frames_total_; }
  uint64_t wal_resets() const { return wal_resets_; }
  uint64_t salvaged_commits() const { return salvaged_; }
  // This WAL has a salvaged commit, which would not survive a crash: MakeRoom soon, again and again
  // until it has been reset.
  bool wants_room() const { return wants_room_; }

 private:
  static constexpr int kBusyTimeoutMs = 1000;
  struct TxFrame {
    PageNumber page;
    uint32_t frame;
    PagePtr content;
  };

  // A move of the pin whose old reader has yet to go.
  struct Move {
    bool pending = false;
    int next = 0;
    uint32_t frame = 0, salt1 = 0, backfilled = 0;
    bool on_slot_0 = false;
  };

  explicit WalCapture(const Config& config) : config_(config) {}
  Status OpenConnections();
  Status OpenConnection(int i);
  void CloseConnection(int i);
  Status CheckDatabase(Connection& connection);
  Status ReadExistingWal(const std::optional<WalPosition>& resume);
  Result<CheckpointOutcome> MakeRoom(CaptureSink& sink, BoundedWriteLock* lock);
  Result<CaptureOutcome> BeginMove(CaptureSink& sink, Move* move);
  void FinishMove(Move* move);
  Status OpenLockConnection();
  Status NoteCheckpoint(int rc, const Connection& connection);
  void EmptyWal(const Connection& idle);
  Status BeginRead(int which);
  bool WillBeInNobodysWay(const WalIndexHeader& header, uint32_t backfilled);
  void EndRead(int which);
  Result<WalIndexHeader> ReadIndex();
  Status OnReset(const WalIndexHeader& header);
  Status EnsureWalFile(const WalIndexHeader& header);
  // What SQLite says of the checkpoints so far, and what the file system says of the file that they
  // write to.
  struct Checkpoints {
    uint32_t salt1 = 0, attempted = 0, done = 0;
    bool operator==(const Checkpoints&) const = default;
  };
  struct FileWritten {
    Checkpoints checkpoints;
    int64_t time_ns = 0;
    int64_t size_bytes = 0;
    // For a checkpoint that did not end: whether somebody is in one, how many frames the WAL has,
    // when it was written last, failed_checkpoints.
    bool runs = false;
    uint32_t frames = 0;
    int64_t wal_time_ns = 0;
    uint64_t failed_tries = 0;
  };
  Status CheckNobodyElseWrote();
  bool MayBeUnfinishedCheckpoint(const FileWritten& before, const FileWritten& now) const;
  Status WrittenOver() const;
  Checkpoints LookAtCheckpoints() const;
  // nullopt: a checkpoint began or ended meanwhile.
  Result<std::optional<FileWritten>> LookAtFile() const;
  Result<CaptureOutcome> CaptureCommit(CaptureSink& sink, const WalIndexHeader& header);
  Status CheckFrame(const WalIndexHeader& header, uint32_t frame, const uint8_t* bytes);
  Result<const uint8_t*> FrameBytes(uint32_t frame, uint32_t last);
  Status Emit(CaptureSink& sink, std::vector<TxFrame>& tx, uint32_t frame, uint32_t commit_pages);
  void EmitBig(CaptureSink& sink, std::vector<TxFrame>& tx, uint32_t frame, uint32_t commit_pages);
  Result<PagePtr> PreviousVersion(PageNumber page, bool* was_read);
  void Remember(PageNumber page, const PagePtr& content);
  WalPosition PositionAt(uint32_t frame) const;

  Config config_;
  std::string wal_path_;
  Connection connections_[2];
  Connection lock_connection_;       // beside the pin's; opened when it is first needed
  BackgroundCheckpoint checkpoint_;  // on lock_connection_
  std::optional<Status> last_checkpoint_;
  uint64_t failed_checkpoints_ = 0;
  Statement begin_[2], read_[2], end_[2];
  int pinned_ = 0;  // which connection holds the read transaction; -1 after ReleasePin
  uint32_t pin_frame_ = 0, pin_salt1_ = 0, pin_backfilled_ = 0;  // when it was last moved
  bool pin_on_slot_0_ = false;
  bool pin_lost_ = false;  // StepAside failed: what comes next in the WAL may not be what was next
  WalIndexView index_;
  std::optional<WalFile> wal_;

  uint64_t database_inode_ = 0;
  std::optional<FileWritten> file_written_;
  bool written_over_ = false;  // by somebody else: what is captured next may have no base
  uint32_t page_size_ = 0;
  uint32_t page_count_ = 0;
  uint32_t salt1_ = 0, salt2_ = 0;
  bool big_endian_ = false;
  uint32_t frame_ = 0;             // last captured frame
  uint32_t untrusted_until_ = 0;   // commits that end at or before this frame have no sure bases
  WalChecksum running_;            // at frame_, or at the frame being read
  uint32_t unverified_until_ = 0;  // salvage: frames up to here have no usable checksum
  WalChecksum reseed_;             // what the wal-index says the checksum is there
  bool wal_checksums_usable_ = true;
  WalPosition position_;
  std::optional<WalPosition> wal_before_;
  bool resumed_ = false;
  bool wants_room_ = false;

  std::unordered_map<PageNumber, uint32_t> last_frame_;  // page -> last captured frame in this WAL
  std::unordered_map<PageNumber, PagePtr> cache_;        // latest captured version of hot pages
  std::vector<PageNumber> cache_order_;                  // ring: oldest first from cache_next_
  size_t cache_next_ = 0;
  std::optional<BigCommit> big_;
  bool in_commit_ = false;     // running checksum and maps are at neither end of a commit
  Bytes buffer_;               // frames read ahead
  uint32_t buffer_first_ = 0;  // 0: nothing buffered
  uint32_t buffer_count_ = 0;

  uint64_t frames_total_ = 0;
  uint64_t wal_resets_ = 0;
  uint64_t salvaged_ = 0;
};

}  // namespace sqlite_s3

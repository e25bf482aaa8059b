#pragma once
// EngineImpl: the threads and state behind engine.h. Private to agent/ship.
//
//   application thread --OnCommit--> SharedBlock <--tickets-- anybody who waits
//   worker     capture (capture_mutex_) -> queue_ -> encode -> cut -> Spool; pin, scan, start
//   uploader   Spool -> store, one at a time -> acknowledge
//   image      pages under capture_mutex_ in short turns -> parts -> manifest
//
// Each of them is cut into steps (WorkerStep, UploadStep, ImageStep), run one after the other by a
// thread of its own, or by a WorkPool's.
//
// Lock order: capture_mutex_ before state_mutex_; neither is held while the store is asked.

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "agent/ship/engine.h"
#include "agent/ship/engine_steps.h"
#include "agent/ship/file_times.h"
#include "agent/ship/image_job.h"
#include "agent/ship/image_run.h"
#include "agent/ship/page_hashes.h"
#include "agent/ship/pin_watch.h"
#include "agent/ship/policy.h"
#include "agent/ship/request_budget.h"
#include "agent/ship/segment_encoder.h"
#include "agent/ship/shared_block.h"
#include "agent/ship/spool.h"
#include "agent/ship/state_dir.h"
#include "agent/ship/statement_inbox.h"
#include "agent/ship/wal_capture.h"
#include "common/format/image_part.h"
#include "common/format/keys.h"
#include "common/replica/replica.h"
#include "common/store/rate_limiter.h"
#include "common/store/retrying_store.h"
#include "common/store/throttled_store.h"

namespace sqlite_s3 {

class EngineImpl final : public Engine, private CaptureSink {
 public:
  explicit EngineImpl(const EngineConfig& config);
  ~EngineImpl() override;
  Status Init();  // the part of Start that can fail

  void OnCommit(uint32_t frames) override;
  void Notify(bool files_changed) override;
  void LookUnasked(bool unasked) override;
  uint32_t FramesPerSecond() const override;
  void AttachConnection() override;
  bool DetachConnection() override;
  void SetHookDisplaced(bool displaced) override { hook_displaced_ = displaced; }
  void SetCheckpointPages(uint32_t pages) override { checkpoint_pages_ = pages; }
  uint64_t UnannouncedCommits() const override { return unannounced_; }
  StatementInbox* statement_inbox() override { return inbox_.get(); }
  void AddTraceDisplaced(int difference) override { trace_displaced_ += difference; }
  Status Sync(std::chrono::milliseconds timeout, Txid* txid) override;
  Status Wait(Txid txid, std::chrono::milliseconds timeout) override;
  Result<Txid> Mark(const std::string& name, std::chrono::milliseconds timeout) override;
  Result<Txid> MakeImage(std::chrono::milliseconds timeout) override;
  EngineStatus GetStatus(bool force_capture) override;
  EngineStatus GetPulse() override;
  Status Stop(std::chrono::milliseconds timeout) override;
  void PrepareFork() override;
  void ParentAfterFork() override;
  void ChildAfterFork() override;

 private:
  using SessionEnd = EngineSessionEnd;
  using CaptureMode = EngineCaptureMode;
  using Phase = EnginePhase;
  using Pause = EnginePause;
  using Lane = WorkPool::Lane;
  enum class CheckpointTrouble { kFails, kTooSlow };

  // engine_session.cc
  Status OpenSession();  // store and database are looked at; nothing is written but replica.json
  Status OpenReplica(bool been_there);
  Status ReconcileSpool(Head* head);
  Result<bool> HasItsParts(const Segment& segment, const std::map<std::string, SpoolItem>& spooled);
  void NoteImage(const std::optional<ImageManifest>& image);

  // engine_scan.cc
  Status Scan();  // compares the database with the replica and decides
  Status ScanSlice(int64_t most_us, bool* done);  // some of it
  Status BeginScan();
  Status ScanPages(int64_t most_us, bool* done);
  Status DecideAfterScan();
  Status ScanSomePages(uint32_t most);
  Status CatchUpScan();
  Result<std::optional<Txid>> FindOlder(uint32_t page_count, uint64_t checksum);
  Status LoadFallbackHashes();

  // engine_start.cc
  Status ActOnStart(StartAction action);
  Result<bool> VerifyTail();
  Result<std::vector<PageNumber>> DifferingPages();
  Status StartResync();
  Status KeepToldTxids();
  Status StartTimeline(Txid parent, TimelineReason reason, bool supersedes);
  Status CloseLine();
  Status PushPart(const PartRef& ref, Bytes bytes);
  Status AwaitSpool(uint64_t bytes);
  SegmentEncoder::Config EncoderConfig() const;
  void MakeEncoder();
  void CloseSession();
  Result<TimelineId> OurTimeline(const std::vector<TimelineDocument>& timelines);

  // engine_worker.cc
  Pause Await(std::chrono::milliseconds wait, std::chrono::milliseconds flush_wait);
  Pause AwaitRetry();
  Pause WaitLeft(Lane lane) const;
  Pause WorkerStep(Lane lane);
  Pause Step(Lane lane);
  SessionEnd EndFor(const Status& status);
  Status OpenForShipping();
  Pause EndSession(SessionEnd end);
  Pause AfterSession();
  void WorkerMain();
  WorkPool::Next PooledStep(Lane lane);
  void WorkerEnded();
  void RingWorker();
  void RingWorkerIfIdle();
  void WakeWorker();

  // engine_loop.cc
  std::optional<SessionEnd> ShipRound(Lane lane, Pause* pause);
  SessionEnd EndFenced();
  SessionEnd EndInterrupted();
  bool InLane(Lane wanted);
  Status CaptureSome(bool* caught_up);
  struct Tickets {
    uint64_t sync, capture, room;
  };
  void NoteRate(uint64_t frames, int64_t now);
  void ServeTickets(const Tickets& tickets);
  bool Flushed();
  Pause PauseAfterRound(SharedBlock::Seen seen);
  void Rest();
  bool IsUndisturbed();
  Status CheckFiles(bool now);

  // engine_encode.cc
  Status EncodeQueue(size_t max_commits);
  Status EncodeRest();
  Status EncodeBig();
  CutInputs CutState();
  Status CutIfDue(bool* full);
  void SetSpoolFull(bool full);
  void TellOfBudget();
  Status CutNow();

  // engine_room.cc
  Status MakeRoomIfDue();
  Status MakeRoomIfDueLocked();
  bool CheckpointsFail();
  bool IsBusy() const;
  Status KeepAheadOfWriter(uint32_t frames);
  Status ResetBusyWal(uint32_t frames);
  Status FreshenPin();
  Status FreshenPinLocked();
  std::unique_ptr<PinWatch> WatchPin(std::chrono::milliseconds every);
  bool MayWaitForPin();
  Status GiveWayIfAwaited();
  bool IsAwaited();
  Status EnterGap(std::string_view why);

  // engine_upload.cc
  void StartUploader();
  void StopUploader();
  void WakeUploader();
  std::optional<std::chrono::microseconds> GuardedUploadStep();
  std::optional<std::chrono::microseconds> UploadStep();
  void ShowUploads(const Status& status);
  Status UploadFront(const SpoolItem& item);
  Status CheckConflict(const SpoolItem& item, const Bytes& ours);
  void Acknowledge(const SpoolItem& item);
  void PublishAcknowledged();

  // engine_image.cc
  void NoteEncoded(int64_t time_us);
  void MaybeStartImage();
  void StartImageLocked();
  void StartImageDriver();
  void WakeImage();
  std::optional<std::chrono::microseconds> ImageStep();
  void EndImage(const Status& status);
  Status SetAsideCutOff();
  Status SetAsideSome(uint32_t most);

  // engine_image_objects.cc
  Status BeginImage();
  Status CopyImage(std::chrono::microseconds* wait, bool* done);
  size_t PartBytes() const;
  Result<Bytes> MakeImageObject(ImageRun& run);
  Result<Bytes> CopyPart(ImageRun& run);
  Status FillImageFrame(std::vector<PageNumber>* pages, Bytes* content, bool* done);
  Result<bool> PutImageObject(const std::string& key, ByteSpan bytes);
  Status FindImageObject(const std::string& key);
  Result<Bytes> MakeManifest(ImageRun& run);
  Status EndOfImage(const ImageManifest& manifest);
  void JoinImage();

  // CaptureSink, with capture_mutex_ held
  void OnCapturedCommit(CapturedCommit commit) override;
  int64_t CommitTime(uint32_t frame, bool* upper_bound) override;
  bool WantsBases() override { return mode_ != CaptureMode::kDrop; }
  bool WantsPrevious(PageNumber page) override { return image_ && image_->Wants(page); }
  void SetAside(PageNumber page, PagePtr previous) override;
  bool MustHoldPin() override { return image_ && image_->hold_pin; }
  void OnShrink(uint32_t before, uint32_t after) override;
  bool HasRoom() override;
  void ScanSees(PageNumber page, ByteSpan content);

  // engine_hook.cc
  Result<CheckpointOutcome> MakeRoomUnderWriteLock(int busy_timeout_ms);
  bool AwaitMemory(std::unique_lock<std::mutex>& lock);
  bool MayMerge() const;
  std::chrono::milliseconds HookPatience(uint32_t frames) const;
  bool TryLockCapture(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds patience);
  void MakeRoomInHook(uint32_t frames);
  void WaitForRoom();
  void WaitForCommit();

  // engine.cc
  void StopThreads(bool flush, std::chrono::milliseconds timeout);
  void StartThreads();
  Status AwaitTicket(std::atomic<uint64_t>& ticket, std::atomic<uint64_t>& done,
                     std::chrono::milliseconds timeout);

  // engine_status.cc
  // Whether it told the log: not of what the log was told last.
  bool SetState(EngineState state, const Status& why = Status::Ok());
  void SetCheckpointError(CheckpointTrouble of, const std::string& why);
  void NoteWalEmptied();
  void NoteWriteLock(int64_t held_us, bool complete);
  EngineState state() const { return static_cast<EngineState>(state_.load()); }
  EngineState StateNow() const { return dead_ ? EngineState::kStopped : state(); }
  EngineState StateOfShipper();
  Status WhyNotFor(EngineState s);
  bool IsOfStore(const Status& why) const;
  void FillFigures(EngineStatus* s);
  void Log(LogLevel level, const std::string& message);

  int64_t Now() const { return config_.clock->WallMicros(); }
  int64_t Monotonic() const { return config_.clock->MonotonicMicros(); }
  bool Interrupted() const { return stop_now_.load(); }

  const EngineConfig config_;
  std::atomic<uint32_t> checkpoint_pages_;
  RequestBudget budget_;
  std::shared_ptr<Throttle> throttle_;
  std::shared_ptr<RetryingStore> patient_store_;  // start, marks, heads: retried for a while
  std::shared_ptr<RetryingStore> upload_store_;   // one try a call: the uploader's own patience
  StateDir state_dir_;
  std::unique_ptr<SharedBlock> shared_;
  const std::unique_ptr<StatementInbox> inbox_;  // null: statements=off

  std::thread worker_, uploader_, image_thread_;  // without a pool
  std::mutex task_mutex_;                         // a leaf: held for a copy of a pointer
  std::shared_ptr<WorkPool::Task> worker_task_, upload_task_, image_task_;  // with one
  std::atomic<bool> stop_now_{false};  // threads end as soon as they can
  std::atomic<bool> flushing_{false};  // ship everything, then end
  std::atomic<bool> threads_running_{false};
  std::atomic<bool> dead_{false};  // stopped, or a child of fork
  std::mutex stop_mutex_;          // one Stop at a time
  std::atomic<int> connections_{0}, trace_displaced_{0};
  bool session_open_ = false, scanned_ = false;                   // by Init: the worker need not
  std::atomic<bool> started_{false};                              // the session's scan is through
  std::atomic<bool> uploader_stop_{false}, uploads_fail_{false};  // the last try did

  // --- guarded by capture_mutex_ ---
  std::mutex capture_mutex_;
  MemoryAccount account_;
  std::unique_ptr<WalCapture> capture_;
  Connection spare_connection_;  // checkpoints while there is no capture
  CaptureMode mode_ = CaptureMode::kDrop;
  std::deque<CapturedCommit> queue_;
  int64_t queue_since_us_ = 0;  // monotonic, of the oldest commit in queue_
  bool merging_ = false;
  std::atomic<bool> encodes_big_{false};      // the worker holds the mutex for a whole big commit
  int64_t last_told_us_ = 0;                  // hook's time of an earlier commit
  std::atomic<int64_t> last_activity_us_{0};  // monotonic, of the last commit captured
  std::optional<HashTableFile> scan_;
  PageNumber scan_cursor_ = 0;  // pages below it are in scan_
  uint64_t scan_sum_ = 0;
  Status scan_status_;
  std::unique_ptr<ImageJob> image_;
  bool gap_ = false;  // the pin is given up until the store is back

  // --- the worker's own ---
  Phase phase_ = Phase::kLock;
  SessionEnd session_end_ = SessionEnd::kStop;
  int64_t not_before_us_ = 0, flush_not_before_us_ = 0;     // monotonic: a next step that waits
  std::chrono::milliseconds retry_pause_{0};                // after the session that failed last
  bool retry_is_local_ = false;                             // for what it failed of
  int64_t shipping_since_us_ = 0, last_file_check_us_ = 0;  // monotonic
  Lane lane_ = Lane::kShip, wants_lane_ = Lane::kShip;
  bool scan_begun_ = false;
  std::unique_ptr<PinWatch> pin_watch_;  // between the steps of a start
  std::atomic<bool> woken_{false};       // by somebody, not by time
  int64_t looked_us_ = 0;                // monotonic, of the last whole look
  FileTimes files_;                      // at that look; of a database at rest
  // last_activity_us_ when it came to rest; -1: not since the session began
  std::atomic<int64_t> rested_at_us_{-1};
  std::unique_ptr<Replica> replica_;
  std::vector<TimelineDocument> timelines_;
  bool replica_is_new_ = false, ours_ = false;
  Identity identity_;
  std::optional<Identity> shipped_as_;  // by a session of this engine's
  TimelineId timeline_;
  Head head_;  // in the store or on its way there through the spool
  std::optional<PageHasher> hasher_;
  std::optional<PageHashes> hashes_;
  std::unique_ptr<SegmentEncoder> encoder_;
  std::atomic<int64_t> segment_since_us_{0};  // monotonic, of its first commit's capture
  std::atomic<bool> spool_full_{false};
  int64_t last_commit_time_us_ = 0;                              // of the last encoded commit
  uint32_t worker_room_retry_at_ = 0, worker_room_done_at_ = 0;  // frames
  int64_t busy_not_before_us_ = 0;  // monotonic; somebody was in a checkpoint
  uint64_t encoded_commits_ = 0, checkpoints_failed_ = 0;
  int64_t checkpoint_retry_us_ = 0;  // monotonic, after the last of them
  int slow_holds_ = 0;               // of the write lock, in a row, that were too short
  int64_t slow_told_us_ = -1;        // monotonic; -1: never
  bool last_capture_ok_ = true;
  uint64_t quiet_frames_ = 0;     // captured in all, a round ago
  bool freshens_soon_ = false;    // the next look moves the pin, unless there are new frames
  int64_t freshen_wait_us_ = 0;   // above 0: when to try again to freshen the pin
  int64_t freshen_since_us_ = 0;  // monotonic, when that began because of a checkpoint that copies
  int64_t unsafe_wait_us_ = 0, unsafe_not_before_us_ = 0;  // a WAL with salvaged commits; 0: none
  bool stuck_ = false;  // the spool is full, and there is more than memory holds
  uint32_t stuck_at_frames_ = 0;
  int64_t awaited_since_us_ = 0;  // monotonic, when somebody began to wait for the pin, at most
  bool big_waits_ = false;        // a commit too big for what is left of the spool
  int64_t nap_us_ = 2000, nap_since_us_ = 0;
  uint64_t nap_frames_ = 0;             // frames_total at nap_since_us_
  std::optional<int64_t> last_cut_us_;  // monotonic
  std::vector<CapturedCommit> encode_batch_;
  bool queue_left_ = false;  // captured, not yet encoded, and there is room to
  std::atomic<int64_t> last_notify_us_{-1'000'000'000};  // monotonic; at first: long ago
  std::atomic<bool> files_changed_{false}, looks_unasked_{false};
  std::atomic<uint32_t> frames_per_second_{0}, room_retry_at_{0};
  int64_t last_restart_us_ = -1'000'000'000;  // monotonic; at first: long ago
  uint64_t told_txid_ = 0;                    // of this line, by an earlier session; 0: none
  bool table_valid_ = false;                  // hashes_ is the head's
  std::vector<uint64_t> fallback_hashes_;     // else: what the head surely has, 0 where unsure
  bool asked_older_ = false, asked_fallback_ = false;
  bool conflict_resolved_ = false;  // on_conflict was acted upon by this process

  // --- the uploader's own ---
  std::chrono::milliseconds upload_backoff_{0};
  int64_t upload_not_before_us_ = 0;
  std::unique_ptr<Throttle::Turn> upload_turn_;  // of the front of the spool

  // --- between worker and uploader ---
  std::atomic<bool> uploading_{false}, fenced_{false};
  std::unique_ptr<Spool> spool_;
  std::mutex state_mutex_;
  std::condition_variable upload_cv_;
  std::deque<EnginePendingSync> pending_syncs_;
  std::string last_error_, fenced_reason_, checkpoint_errors_[2];  // of each CheckpointTrouble
  StatusCode last_error_code_ = StatusCode::kOk;
  std::string told_state_;  // the state, and why, that the log has heard of last
  bool worker_done_ = false;
  std::atomic<int64_t> last_ack_store_us_{0};
  std::atomic<uint64_t> acked_txid_{0}, assigned_txid_{0};  // assigned: of the last captured commit
  std::deque<std::pair<uint64_t, int64_t>> lag_;  // (txid, monotonic capture time) of cut segments

  // --- images ---
  std::mutex image_mutex_;
  Txid image_txid_;
  uint64_t image_bytes_ = 0;
  int64_t image_made_us_ = 0;
  std::atomic<bool> has_image_{false};
  // The worker's, then of who waited for its end.
  bool flushed_ = false, ended_behind_ = false, image_thread_done_ = true;
  std::condition_variable image_ended_;
  std::atomic<bool> image_woken_{false}, image_requested_{false};
  std::unique_ptr<ImageRun> image_run_;                   // the image's own
  std::optional<EngineImageExpectation> image_expected_;  // of image_wait_txid_, once it is encoded
  int64_t image_retry_us_ = 0;
  std::atomic<uint64_t> image_wait_txid_{0}, log_bytes_since_image_{0};
  std::atomic<bool> image_disagrees_{false};  // with the commit that it is of: look at every page

  // --- status ---
  std::atomic<int> state_{static_cast<int>(EngineState::kStarting)};
  std::atomic<bool> hook_displaced_{false}, away_by_machine_{false};
  std::atomic<uint64_t> unannounced_{0}, bytes_shipped_{0}, bytes_captured_{0}, segments_{0},
      images_{0}, merged_commits_{0}, resyncs_{0}, salvaged_{0}, checkpoints_{0}, wal_resets_{0},
      write_locks_{0}, write_lock_max_us_{0}, commit_timeouts_{0}, looks_{0};
};

}  // namespace sqlite_s3

#include "agent/ship/wal_capture.h"

#include <algorithm>
#include <utility>

namespace sqlite_s3 {
namespace {

constexpr uint32_t kReadAheadBytes = 256 << 10;

}  // namespace

Result<WalIndexHeader> WalCapture::ReadIndex() {
  auto header = index_.ReadHeader();
  if (!header) {
    return UnavailableError("the wal-index of '" + config_.database_path + "' is being rebuilt");
  }
  return *header;
}

WalPosition WalCapture::PositionAt(uint32_t frame) const {
  if (frame < unverified_until_) {
    return {};  // inside a salvaged stretch: no checksum to name the place by
  }
  return {salt1_, salt2_, frame, running_.s0, running_.s1};
}

Status WalCapture::EnsureWalFile(const WalIndexHeader& header) {
  if (!wal_) {
    ASSIGN_OR_RETURN(wal_, WalFile::Open(wal_path_));
  }
  ASSIGN_OR_RETURN(WalHeader file, wal_->ReadHeader());
  if (file.salt1 != header.salt1 || file.salt2 != header.salt2) {
    return CorruptionError(wal_path_ + " has other salts than the wal-index");
  }
  if (file.page_size != page_size_) {
    return FailedPreconditionError(wal_path_ + " has page size " + std::to_string(file.page_size) +
                                   ", the database had " + std::to_string(page_size_));
  }
  running_ = file.checksum;
  big_endian_ = file.big_endian_words;
  buffer_first_ = 0;
  unverified_until_ = 0;
  return Status::Ok();
}

Status WalCapture::OnReset(const WalIndexHeader& header) {
  if (frame_ < untrusted_until_) {
    return CorruptionError("the WAL was reset before all of it was read");
  }
  ++wal_resets_;
  wants_room_ = false;
  last_checkpoint_ = Status::Ok();  // ours, or another connection's after it
  wal_before_ = WalPosition{salt1_, salt2_, frame_, 0, 0};
  salt1_ = header.salt1;
  salt2_ = header.salt2;
  frame_ = 0;
  untrusted_until_ = 0;
  last_frame_.clear();
  running_ = {};
  position_ = PositionAt(0);
  return CheckNobodyElseWrote();  // before checkpoints of the new one hide it
}

Result<const uint8_t*> WalCapture::FrameBytes(uint32_t frame, uint32_t last) {
  const uint32_t frame_bytes = page_size_ + kWalFrameHeaderBytes;
  if (buffer_first_ == 0 || frame < buffer_first_ || frame >= buffer_first_ + buffer_count_) {
    buffer_count_ = std::min(std::max(kReadAheadBytes / frame_bytes, 1U), last - frame + 1);
    buffer_first_ = 0;
    if (buffer_.size() < size_t{buffer_count_} * frame_bytes) {
      buffer_.clear();  // nothing of it is worth a copy
      buffer_.resize(size_t{buffer_count_} * frame_bytes);
    }
    RETURN_IF_ERROR(wal_->ReadFrames(
        frame, page_size_,
        std::span<uint8_t>(buffer_.data(), static_cast<size_t>(buffer_count_) * frame_bytes)));
    buffer_first_ = frame;
  }
  return buffer_.data() + static_cast<size_t>(frame - buffer_first_) * frame_bytes;
}

// Salts and the running checksum are the alarm, mxFrame is the truth. SQLite can commit frames with
// zero salts and checksums (cache spill, overwrite in place, then ROLLBACK TO or a failed
// statement; seen up to 3.46): below a stable mxFrame their page numbers and commit marks are still
// right, which the wal-index confirms, and the checksum chain goes on at mxFrame from the index's
// own copy.
Status WalCapture::CheckFrame(const WalIndexHeader& header, uint32_t frame, const uint8_t* bytes) {
  WalFrameHeader h = ParseWalFrameHeader(bytes);
  if (frame > unverified_until_) {
    WalChecksum next = ExtendWalChecksum(running_, ByteSpan(bytes, 8), big_endian_);
    next = ExtendWalChecksum(next, ByteSpan(bytes + kWalFrameHeaderBytes, page_size_), big_endian_);
    if (h.salt1 == salt1_ && h.salt2 == salt2_ && h.checksum == next) {
      running_ = next;
      return Status::Ok();
    }
    unverified_until_ = header.max_frame;
    reseed_ = header.frame_checksum;
    wants_room_ = true;
    ++salvaged_;
  }
  // Before the first pin stands on frames of its own, a writer may reset the WAL while we read it:
  // then these bytes are of the next one. It changes the index before it writes.
  if (index_.PeekSalt1() != salt1_) {
    return CorruptionError("the WAL was reset while it was read");
  }
  PageNumber indexed = index_.PageOfFrame(frame);
  if (indexed != h.page || h.page == 0) {
    return CorruptionError("frame " + std::to_string(frame) + " of " + wal_path_ + " is of page " +
                           std::to_string(h.page) + ", the wal-index says " +
                           std::to_string(indexed));
  }
  if (frame == unverified_until_) {
    running_ = reseed_;
  }
  return Status::Ok();
}

Result<CaptureOutcome> WalCapture::Capture(CaptureSink& sink, uint32_t max_frames) {
  if (big_) {
    return CaptureOutcome::kBigCommit;
  }
  if (written_over_) {
    return WrittenOver();
  }
  if (pin_lost_) {
    return CorruptionError("'" + wal_path_ + "' was without a pin, and may have lost commits");
  }
  ASSIGN_OR_RETURN(WalIndexHeader header, ReadIndex());
  if (header.salt1 != salt1_ || header.salt2 != salt2_) {
    RETURN_IF_ERROR(OnReset(header));
  }
  if (header.max_frame < frame_) {
    return CorruptionError("the WAL went back from frame " + std::to_string(frame_) + " to " +
                           std::to_string(header.max_frame));
  }
  const uint32_t start = frame_;
  while (frame_ < header.max_frame) {
    if (frame_ - start >= max_frames) {
      return CaptureOutcome::kMore;
    }
    if (!sink.HasRoom()) {
      return CaptureOutcome::kNoRoom;
    }
    if (frame_ == 0) {
      RETURN_IF_ERROR(EnsureWalFile(header));
    }
    if (std::exchange(in_commit_, true)) {
      return CorruptionError("an earlier capture of " + wal_path_ + " ended within a commit");
    }
    ASSIGN_OR_RETURN(CaptureOutcome outcome, CaptureCommit(sink, header));
    in_commit_ = false;
    if (outcome == CaptureOutcome::kBigCommit) {
      return outcome;
    }
  }
  return CaptureOutcome::kCaughtUp;
}

Result<CaptureOutcome> WalCapture::CaptureCommit(CaptureSink& sink, const WalIndexHeader& header) {
  std::vector<TxFrame> tx;
  size_t bytes_held = 0;
  bool big = false;
  for (uint32_t frame = frame_ + 1; frame <= header.max_frame; ++frame) {
    ASSIGN_OR_RETURN(const uint8_t* bytes, FrameBytes(frame, header.max_frame));
    RETURN_IF_ERROR(CheckFrame(header, frame, bytes));
    WalFrameHeader h = ParseWalFrameHeader(bytes);
    TxFrame& held = tx.emplace_back(TxFrame{h.page, frame, {}});
    if (!big) {
      held.content = PagePtr::Make(page_size_, *config_.account);
      std::memcpy(held.content.writable().data(), bytes + kWalFrameHeaderBytes, page_size_);
      bytes_held += page_size_;
      if (bytes_held > config_.big_commit_bytes) {
        big = true;
        for (TxFrame& t : tx) {
          t.content = {};
        }
      }
    }
    ++frames_total_;
    if (h.commit_page_count != 0) {
      if (big) {
        EmitBig(sink, tx, frame, h.commit_page_count);
        return CaptureOutcome::kBigCommit;
      }
      RETURN_IF_ERROR(Emit(sink, tx, frame, h.commit_page_count));
      return CaptureOutcome::kCaughtUp;
    }
  }
  return CorruptionError("mxFrame " + std::to_string(header.max_frame) + " of " + wal_path_ +
                         " is not a commit frame");
}

namespace {

// Last frame of each page, ascending by page, without pages beyond the size after the commit (a
// transaction can write a page and then shrink the database under it).
template <typename Frame>
void KeepLastOfEachPage(std::vector<Frame>& tx, uint32_t page_count) {
  std::sort(tx.begin(), tx.end(), [](const Frame& a, const Frame& b) {
    return a.page != b.page ? a.page < b.page : a.frame > b.frame;
  });
  auto end = std::unique(tx.begin(), tx.end(),
                         [](const Frame& a, const Frame& b) { return a.page == b.page; });
  end = std::find_if(tx.begin(), end, [&](const Frame& f) { return f.page > page_count; });
  tx.erase(end, tx.end());
}

// SQLite writes every page it adds. A hole means that frames were missed somewhere.
template <typename Frame>
bool HasAllNewPages(const std::vector<Frame>& tx, uint32_t before, uint32_t after,
                    uint32_t page_size) {
  if (after <= before) {
    return true;
  }
  auto first = std::find_if(tx.begin(), tx.end(), [&](const Frame& f) { return f.page > before; });
  uint32_t expected = after - before;
  PageNumber lock_page = LockBytePage(page_size);
  if (lock_page > before && lock_page <= after) {
    --expected;
  }
  return static_cast<uint64_t>(tx.end() - first) == expected;
}

}  // namespace

Result<PagePtr> WalCapture::PreviousVersion(PageNumber page, bool* was_read) {
  auto cached = cache_.find(page);
  *was_read = cached == cache_.end() || !cached->second;
  if (!*was_read) {
    return cached->second;
  }
  PagePtr p = PagePtr::Make(page_size_, *config_.account);
  RETURN_IF_ERROR(ReadPage(page, p.writable()));
  return p;
}

void WalCapture::Remember(PageNumber page, const PagePtr& content) {
  auto [it, inserted] = cache_.try_emplace(page, content);
  if (!inserted) {
    it->second = content;
    return;
  }
  const size_t capacity = std::max<size_t>(config_.cache_bytes / page_size_, 1);
  if (cache_order_.size() < capacity) {
    cache_order_.push_back(page);
    return;
  }
  cache_.erase(cache_order_[cache_next_]);
  cache_order_[cache_next_] = page;
  cache_next_ = (cache_next_ + 1) % capacity;
}

Status WalCapture::Emit(CaptureSink& sink, std::vector<TxFrame>& tx, uint32_t frame,
                        uint32_t commit_pages) {
  CapturedCommit commit;
  commit.wal_frames = frame - frame_;
  commit.page_count_before = page_count_;
  commit.page_count = commit_pages;
  commit.whole_pages = frame <= untrusted_until_;
  commit.time_us = sink.CommitTime(frame, &commit.time_is_upper_bound);
  if (commit_pages < page_count_) {
    sink.OnShrink(page_count_, commit_pages);
  }
  KeepLastOfEachPage(tx, commit_pages);
  if (!HasAllNewPages(tx, page_count_, commit_pages, page_size_)) {
    return CorruptionError("the commit that ends at frame " + std::to_string(frame) + " of " +
                           wal_path_ + " grew the database without writing all new pages");
  }
  const bool bases = sink.WantsBases() && !commit.whole_pages;
  commit.pages.reserve(tx.size());
  for (TxFrame& t : tx) {
    CapturedPage& page =
        commit.pages.emplace_back(CapturedPage{t.page, std::move(t.content), {}, false});
    bool aside = sink.WantsPrevious(t.page);
    bool based = bases && t.page <= page_count_;
    if (aside || based) {
      ASSIGN_OR_RETURN(PagePtr previous, PreviousVersion(t.page, &page.base_was_read));
      if (aside) {
        sink.SetAside(t.page, previous);
      }
      if (based) {
        page.base = std::move(previous);
      }
    }
  }
  // All previous versions are taken: now the maps may say what is current.
  for (const TxFrame& t : tx) {
    last_frame_[t.page] = t.frame;
  }
  for (const CapturedPage& page : commit.pages) {
    Remember(page.number, page.content);
  }
  frame_ = frame;
  page_count_ = commit_pages;
  position_ = PositionAt(frame);
  commit.end = position_;
  commit.wal_before = wal_before_;
  sink.OnCapturedCommit(std::move(commit));
  return Status::Ok();
}

void WalCapture::EmitBig(CaptureSink& sink, std::vector<TxFrame>& tx, uint32_t frame,
                         uint32_t commit_pages) {
  BigCommit big;
  big.wal_frames = frame - frame_;
  big.page_count_before = page_count_;
  big.page_count = commit_pages;
  big.whole_pages = frame <= untrusted_until_;
  big.time_us = sink.CommitTime(frame, &big.time_is_upper_bound);
  if (commit_pages < page_count_) {
    sink.OnShrink(page_count_, commit_pages);
  }
  KeepLastOfEachPage(tx, commit_pages);
  big.pages.reserve(tx.size());
  for (const TxFrame& t : tx) {
    big.pages.emplace_back(t.page, t.frame);
  }
  big.end = PositionAt(frame);
  big.wal_before = wal_before_;
  big_ = std::move(big);
}

void WalCapture::FinishBigCommit(CaptureSink& sink) {
  (void)sink;
  for (const auto& [page, frame] : big_->pages) {
    last_frame_[page] = frame;
    auto cached = cache_.find(page);
    if (cached != cache_.end()) {
      // Not straight from the frame: of a tail that was in the file before we came, the WAL may
      // have been started anew meanwhile.
      PagePtr latest = PagePtr::Make(page_size_, *config_.account);
      if (ReadPage(page, latest.writable()).ok()) {
        cached->second = std::move(latest);
      } else {
        cached->second = {};  // read again when it is asked for
      }
    }
  }
  frame_ += big_->wal_frames;
  page_count_ = big_->page_count;
  position_ = big_->end;
  big_.reset();
}

Status WalCapture::ReadFramePage(uint32_t frame, std::span<uint8_t> out) {
  return wal_->ReadPage(frame, page_size_, out);
}

Status WalCapture::ReadPage(PageNumber page, std::span<uint8_t> out) {
  auto it = last_frame_.find(page);
  if (it != last_frame_.end()) {
    Status status = ReadFramePage(it->second, out);
    // A pin on slot 0 does not keep a writer from resetting the WAL, and from writing over what was
    // just read: it changes the index before. But then everything captured is in the database file,
    // and stays as it is there while the pin is held (SQLite, walRestartLog and walCheckpoint).
    if (index_.PeekSalt1() == salt1_) {
      return status;
    }
  }
  return index_.ReadDatabaseFile(uint64_t{page - 1} * page_size_, out);
}

uint32_t WalCapture::PendingFrames() {
  auto header = index_.ReadHeader();
  if (!header) {
    return 0;
  }
  if (header->salt1 != salt1_ || header->salt2 != salt2_) {
    return header->max_frame;
  }
  return header->max_frame > frame_ ? header->max_frame - frame_ : 0;
}

bool WalCapture::HasPending() { return PendingFrames() > 0; }

}  // namespace sqlite_s3

// The objects of an image: parts of pages, the pages' hashes, and the manifest that makes it exist.

#include <fmt/format.h>

#include <algorithm>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kPartBytes = 16 << 20;
constexpr size_t kLeastPartBytes = 1 << 20;
constexpr uint64_t kPartSeconds = 4;       // of the rate, where it is limited
constexpr uint64_t kManifestBytes = 4096;  // about
constexpr int kImageLevel = 1;
constexpr auto kRetry = std::chrono::milliseconds(1000);
constexpr auto kMostBackoff = std::chrono::milliseconds(10'000);
constexpr auto kSegmentPoll = std::chrono::milliseconds(1000);  // Acknowledge wakes it

}  // namespace

Status EngineImpl::BeginImage() {
  image_run_ = std::make_unique<ImageRun>(replica_->document().checksum_key);
  ImageRun& run = *image_run_;
  ImageManifest& manifest = run.manifest;
  {
    std::lock_guard lock(capture_mutex_);
    manifest.txid = image_->txid;
    manifest.page_size = image_->page_size;
    manifest.page_count = image_->page_count;
  }
  manifest.database_id = identity_.database_id;
  manifest.timeline = timeline_;
  manifest.created_us = Now();
  manifest.sqlite_version = static_cast<uint32_t>(sqlite3_libversion_number());
  uint8_t random[8];
  RETURN_IF_ERROR(FillRandom(random));
  manifest.nonce = LoadLe64(random);
  run.hashes = PutAside(state_dir_.path("image.hashes"));
  run.object = PutAside(state_dir_.path("image.object"));
  run.copied = manifest.page_count == 0;
  return Status::Ok();
}

// Smaller where the rate is: a part goes at once, when enough was saved for it.
size_t EngineImpl::PartBytes() const {
  const uint64_t rate = throttle_->BytesPerSecond();
  return rate == 0 ? kPartBytes
                   : static_cast<size_t>(
                         std::clamp<uint64_t>(rate * kPartSeconds, kLeastPartBytes, kPartBytes));
}

// One step: makes the next object and puts it. Never longer than one part takes. What waits (for
// its turn, for the store, for the log) has no object in memory: images are many, threads few, and
// so the threads bound the memory.
Status EngineImpl::CopyImage(std::chrono::microseconds* wait, bool* done) {
  if (uploader_stop_ || Interrupted()) {
    return CancelledError("stopping");
  }
  if (!image_run_) {
    RETURN_IF_ERROR(BeginImage());
  }
  ImageRun& run = *image_run_;
  // An image of a TXID that the log does not have must not exist: wait for its segment.
  if (run.key.empty() && run.has_hashes && acked_txid_ < run.manifest.txid.value) {
    *wait = kSegmentPoll;
    return Status::Ok();
  }
  if (!run.turn) {
    const uint64_t bytes = !run.key.empty() ? run.object.size_bytes()
                           : !run.copied    ? PartBytes()
                           : run.has_hashes ? kManifestBytes
                                            : size_t{run.manifest.page_count} * 8;
    run.turn = std::make_unique<Throttle::Turn>(*throttle_, RequestKind::kImage, bytes);
  }
  *wait = run.turn->Ask();
  if (wait->count() > 0) {
    return Status::Ok();
  }
  const std::unique_ptr<Throttle::Turn> turn = std::move(run.turn);
  ASSIGN_OR_RETURN(Bytes bytes, run.key.empty() ? MakeImageObject(run) : run.object.Read());
  if (run.key.empty()) {
    return Status::Ok();  // what was left to copy was no page with content
  }
  const int64_t begun = Monotonic();
  bool put = false;
  {
    const PaidScope paid(*turn);
    ASSIGN_OR_RETURN(put, PutImageObject(run.key, bytes));
  }
  if (!put) {
    // A store that hangs takes a thread for as long as a request may: at most half of the time.
    run.backoff = std::clamp(2 * run.backoff, kRetry, kMostBackoff);
    *wait = std::max<std::chrono::microseconds>(run.backoff,
                                                std::chrono::microseconds(Monotonic() - begun));
    return run.object.empty() ? run.object.Append(bytes) : Status::Ok();
  }
  run.backoff = std::chrono::milliseconds(0);
  run.key.clear();
  run.object.Clear();
  if (run.has_manifest) {
    *done = true;
    return EndOfImage(run.manifest);
  }
  return Status::Ok();
}

Result<Bytes> EngineImpl::MakeImageObject(ImageRun& run) {
  if (!run.copied) {
    return CopyPart(run);
  }
  if (run.has_hashes) {
    return MakeManifest(run);
  }
  ASSIGN_OR_RETURN(Bytes hashes, run.hashes.Read());
  run.hashes.Clear();
  run.manifest.hashes_size_bytes = hashes.size();
  run.manifest.hashes_digest = ComputeDigest(hashes);
  run.key = keys::ImageHashes(timeline_, run.manifest.txid, run.manifest.nonce);
  run.has_hashes = true;
  return hashes;
}

// Copies pages until a part is full, or there are no more.
Result<Bytes> EngineImpl::CopyPart(ImageRun& run) {
  ImageManifest& manifest = run.manifest;
  ImagePartBuilder builder(manifest.page_size, kImageLevel);
  const size_t full = PartBytes();
  std::vector<PageNumber> pages;
  Bytes content, hashes;
  const uint64_t hashed = run.hashes.size_bytes() / 8;  // pages
  while (!run.copied && builder.size_bytes() < full) {
    if (uploader_stop_ || Interrupted()) {
      return CancelledError("stopping");
    }
    RETURN_IF_ERROR(FillImageFrame(&pages, &content, &run.copied));
    for (size_t i = 0; i < pages.size(); ++i) {
      uint64_t hash = run.hasher.Hash(
          pages[i], ByteSpan(content).subspan(i * manifest.page_size, manifest.page_size));
      manifest.db_checksum ^= hash;
      hashes.resize((pages[i] - hashed) * 8);  // the lock-byte page's stays zero
      StoreLe64(&hashes[hashes.size() - 8], hash);
    }
    if (!pages.empty()) {
      RETURN_IF_ERROR(builder.AddFrame(pages, content));
    }
  }
  if (run.copied) {
    hashes.resize((manifest.page_count - hashed) * 8);
  }
  RETURN_IF_ERROR(run.hashes.Append(hashes));
  if (builder.page_count() == 0) {
    return Bytes();
  }
  ImagePartInfo part;
  part.number = static_cast<uint32_t>(manifest.parts.size());
  part.page_count = builder.page_count();
  Bytes bytes = builder.Finish();
  part.size_bytes = bytes.size();
  part.digest = ComputeDigest(bytes);
  run.key = keys::ImagePart(timeline_, manifest.txid, manifest.nonce, part.number);
  manifest.parts.push_back(part);
  return bytes;
}

// One turn under the lock: the next pages as of the image's TXID.
Status EngineImpl::FillImageFrame(std::vector<PageNumber>* pages, Bytes* content, bool* done) {
  std::lock_guard lock(capture_mutex_);
  ImageJob& job = *image_;
  RETURN_IF_ERROR(job.status);
  const PageNumber lock_page = LockBytePage(job.page_size);
  const uint32_t limit = PagesPerImageFrame(job.page_size);
  pages->clear();
  content->resize(static_cast<size_t>(limit) * job.page_size);
  while (pages->size() < limit && job.cursor <= job.page_count) {
    PageNumber page = job.cursor;
    if (page != lock_page) {
      std::span<uint8_t> out(content->data() + pages->size() * job.page_size, job.page_size);
      ASSIGN_OR_RETURN(bool aside, job.Take(page, out));
      if (!aside) {
        RETURN_IF_ERROR(capture_->ReadPage(page, out));
      }
      pages->push_back(page);
    }
    ++job.cursor;
  }
  content->resize(pages->size() * job.page_size);
  *done = job.cursor > job.page_count;
  if (*done) {
    job.hold_pin = false;
  }
  return Status::Ok();
}

// After "it exists". The names of parts are random, so it is what an earlier try of ours put there;
// an image of this TXID whose manifest was there before is as good. But stores have said so of what
// they do not have, and then the image would lack a part.
Status EngineImpl::FindImageObject(const std::string& key) {
  Status found = upload_store_->Head(key).status();
  return found.code() == StatusCode::kNotFound
             ? UnavailableError(key + " exists, says the store, and is not there")
             : found;
}

// False: not now. It is tried again for as long as the store is away: what was set aside is bounded
// by the database's size, and giving up would cost the restore points since the image's TXID.
Result<bool> EngineImpl::PutImageObject(const std::string& key, ByteSpan bytes) {
  std::optional<StoreWatch::Visit> visit;
  if (config_.store_watch) {
    visit = config_.store_watch->Enter(StoreWatch::For::kImage);
    if (!visit) {
      return false;
    }
  }
  Status put = upload_store_->PutIfAbsent(key, bytes).status();
  if (visit) {
    visit->Ended(put);
  }
  if (put.code() == StatusCode::kAlreadyExists) {
    put = FindImageObject(key);
  }
  if (put.ok()) {
    bytes_shipped_ += bytes.size();
    return true;
  }
  if (put.code() == StatusCode::kInvalidArgument || put.code() == StatusCode::kCorruption) {
    return put;
  }
  return false;
}

Result<Bytes> EngineImpl::MakeManifest(ImageRun& run) {
  std::optional<EngineImageExpectation> expected;
  {
    std::lock_guard lock(image_mutex_);
    expected = image_expected_;
  }
  if (!expected || expected->checksum != run.manifest.db_checksum) {
    image_requested_ = true;  // the next session makes it
    image_disagrees_ = true;
    return CorruptionError(fmt::format(
        "the copy of TXID {} has checksum {:016x}, its commit says {:016x}; it is not used",
        FormatTxid(run.manifest.txid), run.manifest.db_checksum,
        expected ? expected->checksum : 0));
  }
  run.manifest.commit_time_us = expected->time_us;
  const std::string json = FormatImageManifest(run.manifest);
  // Last: the image exists when its manifest does.
  run.key = keys::ImageManifest(timeline_, run.manifest.txid);
  run.has_manifest = true;
  return Bytes(json.begin(), json.end());
}

Status EngineImpl::EndOfImage(const ImageManifest& manifest) {
  {
    std::lock_guard lock(image_mutex_);
    ++images_;
    log_bytes_since_image_ = 0;
  }
  NoteImage(manifest);
  PublishAcknowledged();
  return Status::Ok();
}

}  // namespace sqlite_s3

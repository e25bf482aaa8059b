#include "restore/image_loader.h"

#include <atomic>
#include <vector>

#include "common/format/image_part.h"
#include "common/format/keys.h"
#include "common/os/file.h"
#include "common/replica/ordered_fetch.h"

namespace sqlite_s3 {
namespace {

// Parts held at once; a part is at most kMaxImagePartBytes, usually 16 to 64 MiB.
constexpr uint64_t kPartsAheadBytes = uint64_t{512} << 20;

class Loader {
 public:
  Loader(Replica& replica, const ImageManifest& image, PageStore& pages, Progress& progress)
      : replica_(replica),
        image_(image),
        pages_(pages),
        progress_(progress),
        page_size_(image.page_size),
        seen_((uint64_t{image.page_count} + 63) / 64) {}

  // Of one part: XOR of its pages' hashes.
  Result<uint64_t> LoadPart(const ImagePartInfo& info) {
    const std::string key =
        keys::ImagePart(image_.timeline, image_.txid, image_.nonce, info.number);
    // The digest is left out, a quarter of the work: the frames have checksums, and what the pages
    // are is proved by the database checksum. Only if that fails, digests say whose fault it was.
    ASSIGN_OR_RETURN(const Bytes part, replica_.ReadImagePartUnchecked(image_, info));
    ASSIGN_OR_RETURN(const auto frames, ParseImagePart(part, page_size_, key));
    Bytes content;
    uint64_t checksum = 0;
    for (const ImageFrame& frame : frames) {
      content.resize(size_t{frame.page_count} * page_size_);
      RETURN_IF_ERROR(DecodeImageFrame(part, frame, page_size_, content, key));
      size_t at = 0;
      for (const PageRun& run : frame.runs) {
        const ByteSpan pages = ByteSpan(content).subspan(at, size_t{run.count} * page_size_);
        at += pages.size();
        RETURN_IF_ERROR(WriteRun(run, pages, key, &checksum));
      }
      progress_.Add(frame.size_bytes);
    }
    return checksum;
  }

  // Every page but the lock-byte page was there; none was twice.
  bool Complete() const {
    const PageNumber lock_page = LockBytePage(page_size_);
    return pages_seen_ == image_.page_count - (lock_page <= image_.page_count ? 1 : 0);
  }

 private:
  Status WriteRun(const PageRun& run, ByteSpan pages, const std::string& key, uint64_t* checksum) {
    for (uint32_t i = 0; i < run.count; ++i) {
      const uint64_t number = uint64_t{run.first} + i;
      if (number == 0 || number > image_.page_count || number == LockBytePage(page_size_)) {
        return CorruptionError(key + ": page " + std::to_string(number) +
                               " is none of the image's");
      }
      const uint64_t bit = uint64_t{1} << ((number - 1) % 64);
      if (seen_[(number - 1) / 64].fetch_or(bit, std::memory_order_relaxed) & bit) {
        return CorruptionError(key + ": page " + std::to_string(number) + " is there twice");
      }
      *checksum ^= pages_.hasher().Hash(static_cast<PageNumber>(number),
                                        pages.subspan(size_t{i} * page_size_, page_size_));
    }
    pages_seen_ += run.count;
    return pages_.WriteRun(run.first, pages);
  }

  Replica& replica_;
  const ImageManifest& image_;
  PageStore& pages_;
  Progress& progress_;
  const uint32_t page_size_;
  std::vector<std::atomic<uint64_t>> seen_;  // a bit per page
  std::atomic<uint64_t> pages_seen_{0};
};

}  // namespace

Status LoadImage(Replica& replica, const ImageManifest& image, PageStore& pages,
                 const std::string& path, Progress& progress, Damage* damage) {
  // Not fallocate: measured, the restore gets no faster by it.
  RETURN_IF_ERROR(TruncateFile(pages.file(), 0, path));
  RETURN_IF_ERROR(TruncateFile(pages.file(), uint64_t{image.page_count} * image.page_size, path));
  uint64_t total_bytes = 0;
  for (const ImagePartInfo& info : image.parts) {
    total_bytes += info.size_bytes;
  }
  progress.Begin("image", total_bytes);
  const auto damaged = [&](Status status, const std::string& key) {
    if (status.code() == StatusCode::kCorruption || status.code() == StatusCode::kNotFound) {
      *damage = {key, status.code() == StatusCode::kNotFound, std::nullopt, image.txid};
    }
    return status;
  };
  Loader loader(replica, image, pages, progress);
  uint64_t checksum = 0;
  {
    OrderedFetch<uint64_t> parts(replica.parallelism(), kPartsAheadBytes);
    for (const ImagePartInfo& info : image.parts) {
      parts.Push([&loader, info] { return loader.LoadPart(info); }, info.size_bytes);
    }
    for (const ImagePartInfo& info : image.parts) {
      auto part = parts.Pop();
      if (!part.ok()) {
        return damaged(part.status(),
                       keys::ImagePart(image.timeline, image.txid, image.nonce, info.number));
      }
      checksum ^= *part;
    }
  }
  if (!loader.Complete() || checksum != image.db_checksum) {
    for (const ImagePartInfo& info : image.parts) {
      if (auto part = replica.ReadImagePart(image, info); !part.ok()) {
        return damaged(part.status(),
                       keys::ImagePart(image.timeline, image.txid, image.nonce, info.number));
      }
    }
    const std::string manifest = keys::ImageManifest(image.timeline, image.txid);
    return damaged(CorruptionError(manifest + ": its parts do not hold the pages that it tells of"),
                   manifest);
  }
  pages.SetState(image.page_count, checksum);
  return Status::Ok();
}

}  // namespace sqlite_s3

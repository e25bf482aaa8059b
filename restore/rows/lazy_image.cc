#include "restore/rows/lazy_image.h"

#include <algorithm>

#include "common/format/keys.h"
#include "common/os/file.h"
#include "common/replica/ordered_fetch.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kTailBytes = 32 << 10;    // holds the index of most parts
constexpr uint64_t kRequestBytes = 4 << 20;  // of one request
constexpr uint64_t kGapBytes = 64 << 10;     // cheaper to read than to ask again
constexpr uint64_t kAheadBytes = uint64_t{64} << 20;

}  // namespace

LazyImage::LazyImage(Replica& replica, const ImageManifest& image, const Fd& file, std::string path,
                     const PageHasher& hasher, Damage* damage)
    : replica_(replica),
      image_(image),
      file_(file),
      path_(std::move(path)),
      hasher_(hasher),
      damage_(damage) {}

std::string LazyImage::PartKey(size_t part) const {
  return keys::ImagePart(image_.timeline, image_.txid, image_.nonce, image_.parts[part].number);
}

Status LazyImage::Damaged(Status status, const std::string& key) {
  // Of a format that there is not yet: so says a version that was damaged, too.
  if (status.code() == StatusCode::kCorruption || status.code() == StatusCode::kNotFound ||
      status.code() == StatusCode::kUnimplemented) {
    *damage_ = {key, status.code() == StatusCode::kNotFound, std::nullopt, image_.txid};
  }
  return status;
}

Result<std::vector<ImageFrame>> LazyImage::ReadIndex(size_t part) {
  const std::string key = PartKey(part);
  const uint64_t size = image_.parts[part].size_bytes;
  const auto read_tail = [&](uint64_t bytes) -> Result<Bytes> {
    bytes = std::min(bytes, size);
    auto tail = replica_.store().Get(key, bytes, ByteRange{size - bytes, bytes});
    RETURN_IF_ERROR(tail.status().WithContext("read " + key));
    if (tail->size() != bytes) {
      return CorruptionError(key + ": is shorter than its manifest says");
    }
    return tail;
  };
  ASSIGN_OR_RETURN(Bytes tail, read_tail(kTailBytes));
  ASSIGN_OR_RETURN(const uint64_t need, ImagePartTailBytes(tail, size, key));
  if (need > tail.size()) {
    ASSIGN_OR_RETURN(tail, read_tail(need));
  }
  return ParseImagePartTail(tail, size, image_.page_size, key);
}

Status LazyImage::Open() {
  const std::string hashes_key = keys::ImageHashes(image_.timeline, image_.txid, image_.nonce);
  auto hashes = replica_.ReadImageHashes(image_);
  if (!hashes.ok()) {
    return Damaged(hashes.status(), hashes_key);
  }
  hashes_ = std::move(*hashes);
  uint64_t checksum = 0;
  for (const uint64_t hash : hashes_) {
    checksum ^= hash;
  }
  if (checksum != image_.db_checksum) {
    return Damaged(CorruptionError(hashes_key + ": its hashes do not make up the image's checksum"),
                   hashes_key);
  }
  frame_of_.assign(image_.page_count, 0);
  present_.assign(image_.page_count, false);
  if (const PageNumber lock_page = LockBytePage(image_.page_size); lock_page <= image_.page_count) {
    present_[lock_page - 1] = true;  // a hole of the file: zeros
  }
  OrderedFetch<std::vector<ImageFrame>> indexes(replica_.parallelism(), UINT64_MAX);
  for (size_t part = 0; part < image_.parts.size(); ++part) {
    indexes.Push([this, part] { return ReadIndex(part); }, 0);
  }
  uint64_t pages = 0;
  for (size_t part = 0; part < image_.parts.size(); ++part) {
    auto index = indexes.Pop();
    if (!index.ok()) {
      return Damaged(index.status(), PartKey(part));
    }
    bytes_fetched_ += std::min(kTailBytes, image_.parts[part].size_bytes);
    for (ImageFrame& frame : *index) {
      for (const PageRun& run : frame.runs) {
        for (uint64_t number = run.first; number < uint64_t{run.first} + run.count; ++number) {
          if (number > image_.page_count || frame_of_[number - 1] != 0) {
            return Damaged(CorruptionError(PartKey(part) + ": page " + std::to_string(number) +
                                           " is none of the image's, or there twice"),
                           PartKey(part));
          }
          frame_of_[number - 1] = static_cast<uint32_t>(frames_.size() + 1);
        }
        pages += run.count;
      }
      frames_.push_back({part, std::move(frame)});
    }
  }
  const bool lock_inside = LockBytePage(image_.page_size) <= image_.page_count;
  if (pages + (lock_inside ? 1 : 0) != image_.page_count) {
    const std::string manifest = keys::ImageManifest(image_.timeline, image_.txid);
    return Damaged(CorruptionError(manifest + ": its parts do not hold all of its pages"),
                   manifest);
  }
  return Status::Ok();
}

Status LazyImage::Provide(PageNumber number) { return Prefetch(std::span(&number, 1)); }

void LazyImage::Supersede(PageNumber number) {
  if (number <= present_.size()) {
    present_[number - 1] = true;
  }
}

// Runs on other threads: nothing here changes what others see.
Result<LazyImage::Fetched> LazyImage::Fetch(size_t first, size_t last) {
  const std::string key = PartKey(frames_[first].part);
  const uint64_t begin = frames_[first].index.offset;
  const uint64_t bytes = frames_[last].index.offset + frames_[last].index.size_bytes - begin;
  auto range = replica_.store().Get(key, bytes, ByteRange{begin, bytes});
  RETURN_IF_ERROR(range.status().WithContext("read " + key));
  if (range->size() != bytes) {
    return CorruptionError(key + ": is shorter than its manifest says");
  }
  Fetched fetched;
  fetched.first = first;
  fetched.bytes = bytes;
  for (size_t i = first; i <= last; ++i) {
    ImageFrame frame = frames_[i].index;
    frame.offset -= begin;
    Bytes content(size_t{frame.page_count} * image_.page_size);
    RETURN_IF_ERROR(DecodeImageFrame(*range, frame, image_.page_size, content, key));
    size_t at = 0;
    for (const PageRun& run : frame.runs) {
      for (uint32_t k = 0; k < run.count; ++k, at += image_.page_size) {
        const PageNumber number = run.first + k;
        const ByteSpan page = ByteSpan(content).subspan(at, image_.page_size);
        if (hasher_.Hash(number, page) != hashes_[number - 1]) {
          return CorruptionError(key + ": page " + std::to_string(number) +
                                 " is not the one that the image's hashes tell of");
        }
      }
    }
    fetched.contents.push_back(std::move(content));
  }
  return fetched;
}

Status LazyImage::Store(const Fetched& fetched) {
  bytes_fetched_ += fetched.bytes;
  for (size_t i = 0; i < fetched.contents.size(); ++i) {
    Frame& frame = frames_[fetched.first + i];
    frame.fetched = true;
    size_t at = 0;
    for (const PageRun& run : frame.index.runs) {
      for (uint32_t k = 0; k < run.count; ++k, at += image_.page_size) {
        const PageNumber number = run.first + k;
        if (!present_[number - 1]) {  // else the file has a newer one, or will have
          RETURN_IF_ERROR(WriteAt(file_, uint64_t{number - 1} * image_.page_size,
                                  ByteSpan(fetched.contents[i]).subspan(at, image_.page_size),
                                  path_));
          present_[number - 1] = true;
        }
      }
    }
  }
  return Status::Ok();
}

Status LazyImage::Prefetch(std::span<const PageNumber> numbers) {
  std::vector<size_t> wanted;
  for (const PageNumber number : numbers) {
    if (number != 0 && number <= present_.size() && !present_[number - 1]) {
      wanted.push_back(frame_of_[number - 1] - 1);
    }
  }
  if (wanted.empty()) {
    return Status::Ok();
  }
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  struct Request {
    size_t first, last;
  };
  std::vector<Request> requests;
  for (const size_t frame : wanted) {
    if (!requests.empty()) {
      Request& open = requests.back();
      const ImageFrame& last = frames_[open.last].index;
      const ImageFrame& index = frames_[frame].index;
      if (frames_[open.last].part == frames_[frame].part &&
          index.offset - (last.offset + last.size_bytes) <= kGapBytes &&
          index.offset + index.size_bytes - frames_[open.first].index.offset <= kRequestBytes) {
        open.last = frame;
        continue;
      }
    }
    requests.push_back({frame, frame});
  }
  OrderedFetch<Fetched> fetch(requests.size() == 1 ? 1 : replica_.parallelism(), kAheadBytes);
  for (const Request& r : requests) {
    fetch.Push([this, r] { return Fetch(r.first, r.last); },
               uint64_t{r.last - r.first + 1} * kImageFrameBytes);
  }
  for (const Request& r : requests) {
    auto fetched = fetch.Pop();
    if (!fetched.ok()) {
      return Damaged(fetched.status(), PartKey(frames_[r.first].part));
    }
    RETURN_IF_ERROR(Store(*fetched));
  }
  return Status::Ok();
}

}  // namespace sqlite_s3

#pragma once
// LazyImage: the pages of an image, fetched when somebody reads them, by range: what looks at a few
// pages of a large database costs what those pages cost. Each page is proved by its hash in the
// image's hashes, which make up the image's database checksum.

#include <span>
#include <string>
#include <vector>

#include "common/format/image_part.h"
#include "common/replica/replica.h"
#include "restore/page_store.h"

namespace sqlite_s3 {

// One thread; fetches ahead on others, as many as the replica's parallelism.
class LazyImage : public OlderPages {
 public:
  // All must outlive it. `file` is the page store's; `damage` is filled by errors of any method
  // that are about an object.
  LazyImage(Replica& replica, const ImageManifest& image, const Fd& file, std::string path,
            const PageHasher& hasher, Damage* damage);

  // Reads hashes and indexes: a few requests a part. kCorruption and kNotFound name the object.
  Status Open();
  Status Provide(PageNumber number) override;
  void Supersede(PageNumber number) override;
  // Provides many at once: neighbours in one request, several requests in parallel. Numbers that
  // the image does not have are ignored.
  Status Prefetch(std::span<const PageNumber> numbers);

  uint64_t bytes_fetched() const { return bytes_fetched_; }

 private:
  struct Frame {
    size_t part = 0;  // of image_.parts
    ImageFrame index;
    bool fetched = false;
  };
  struct Fetched {  // frames first, first + 1, ... of frames_, decoded
    size_t first = 0;
    std::vector<Bytes> contents;
    uint64_t bytes = 0;
  };
  std::string PartKey(size_t part) const;
  Result<std::vector<ImageFrame>> ReadIndex(size_t part);
  Result<Fetched> Fetch(size_t first, size_t last);
  Status Store(const Fetched& fetched);
  Status Damaged(Status status, const std::string& key);

  Replica& replica_;
  const ImageManifest& image_;
  const Fd& file_;
  const std::string path_;
  const PageHasher& hasher_;
  Damage* const damage_;
  std::vector<uint64_t> hashes_;
  std::vector<Frame> frames_;       // by part, then by offset
  std::vector<uint32_t> frame_of_;  // by page number - 1: index in frames_ + 1; 0: the lock page
  std::vector<bool> present_;       // by page number - 1: nothing is to be read for it any more
  uint64_t bytes_fetched_ = 0;
};

}  // namespace sqlite_s3
